"""The requests with which Lithops reads an http(s) object in partitions.

As its version 3.8.0 makes them: HEAD in ``lithops/job/partitioner.py`` (``_split_objects_from_urls`` and
``_build_partitions``), the ranges in ``lithops/worker/jobrunner.py`` (``_load_object`` and ``_open_object_stream``),
read raw by ``WrappedStreamingBody``. Neither place looks at a status.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.wire.desk import Desk, sha256
from tests.zoo.files import DATA, stored_digest

KEY = "d/x.bin"
#: What a partition reads beyond its end to finish its last line (``CHUNK_THRESHOLD``).
OVERSHOOT = 128 * 1024
TABLE = b"".join(b"%d,%s\n" % (row, b"x" * (row % 97)) for row in range(60_000))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def size_of(url: str) -> int:
    """What the partitioner takes from HEAD: without Accept-Ranges it would make one partition of the whole."""
    metadata = requests.head(url)
    assert "accept-ranges" in metadata.headers
    return int(metadata.headers["content-length"])


def open_raw(url: str, byte_range: tuple[int, int] | None) -> bytes:
    """What a worker's function sees: the raw stream, read in pieces until there is no more."""
    headers = {"Range": f"bytes={byte_range[0]}-{byte_range[1]}"} if byte_range else {}
    stream = requests.get(url, headers=headers, stream=True).raw
    taken = []
    while piece := stream.read(64 * 1024):
        taken.append(piece)
    stream.release_conn()
    return b"".join(taken)


def plain_ranges(size: int, chunk: int) -> list[tuple[int, int] | None]:
    """Partitions of bytes; the last one asks for more than there is."""
    return [None] if size <= chunk else [(start, start + chunk - 1) for start in range(0, size, chunk)]


def line_ranges(size: int, chunk: int) -> list[tuple[int, int]]:
    """Partitions of lines: from one byte before the chunk to the overshoot behind it."""
    ranges = []
    for start in range(0, size, chunk):
        last = start + chunk >= size
        ranges.append((max(start - 1, 0), size - 1 if last else start + chunk + OVERSHOOT))
    return ranges


@pytest.mark.parametrize("chunk", [1_000_000, 5_000_002, 5_000_003, 9_000_000])
def test_partitions_of_bytes_are_the_whole(desk: Desk, chunk: int) -> None:
    url = desk.url(desk.stored(DATA))
    size = size_of(url)
    with ThreadPoolExecutor(4) as workers:
        parts = list(workers.map(lambda wanted: open_raw(url, wanted), plain_ranges(size, chunk)))
    assert len(parts) == -(-len(DATA) // chunk)
    assert hashlib.sha256(b"".join(parts)).hexdigest() == stored_digest(desk, KEY) == sha256(DATA)


def test_partitions_of_lines_are_the_whole(desk: Desk) -> None:
    url = desk.url(desk.stored(TABLE))
    chunk, digest = 700_000, hashlib.sha256()
    wanted = line_ranges(size_of(url), chunk)
    with ThreadPoolExecutor(4) as workers:
        parts = list(workers.map(lambda wanted: open_raw(url, wanted), wanted))
    assert len(parts) > 3
    for (start, stop), part in zip(wanted, parts, strict=True):
        assert part == TABLE[start : stop + 1]
        digest.update(own_lines(part, is_first=start == 0, is_last=stop == len(TABLE) - 1, chunk=chunk))
    assert digest.hexdigest() == stored_digest(desk, KEY) == sha256(TABLE)


def own_lines(part: bytes, *, is_first: bool, is_last: bool, chunk: int) -> bytes:
    """The lines that begin in the partition, as ``WrappedStreamingBodyPartition`` cuts them out."""
    begin = 0 if is_first else part.index(b"\n") + 1
    if is_last:
        return part[begin:]
    end = part.index(b"\n", chunk - (1 if is_first else 0)) + 1
    return part[begin:end]


def test_an_empty_object_is_no_partition(desk: Desk) -> None:
    assert size_of(desk.url(desk.stored(b""))) == 0
