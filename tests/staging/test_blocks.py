"""The sums of a body's blocks are those of the whole, however it comes."""

from itertools import pairwise

import google_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from staging.blocks import BLOCK_BYTES, BLOCK_SUMS, Summer, between
from staging.pump import Hasher

DATA = bytes(range(251)) * (5 * BLOCK_BYTES // 2 // 251)


def expected(data: bytes) -> bytes:
    blocks = [data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES)]
    return b"".join(google_crc32c.value(block).to_bytes(4) for block in blocks)


def test_a_sum_is_the_crc_32c_that_everybody_knows() -> None:
    summer = Summer()
    summer.update(b"123456789")
    assert summer.digest().hex() == "e3069283"


near_an_edge = st.builds(lambda block, off: block * BLOCK_BYTES + off, st.integers(0, 2), st.integers(-1, 1))
places = st.one_of(near_an_edge, st.integers(0, len(DATA))).map(lambda place: max(0, min(place, len(DATA))))


@settings(max_examples=40)
@given(size=places, cuts=st.lists(places, max_size=6))
def test_the_sums_do_not_depend_on_the_chunks(size: int, cuts: list[int]) -> None:
    data, edges = DATA[:size], sorted({0, size, *(cut for cut in cuts if cut < size)})
    with Hasher([BLOCK_SUMS]) as hasher:
        for start, stop in pairwise(edges):
            hasher.update(data[start:stop])
        assert hasher.finish()[BLOCK_SUMS] == expected(data)
    assert len(expected(data)) == 4 * len(between(0, size))
