"""The pump: everything moves once and in order, errors of either end pass, memory is bounded."""

import hashlib
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from staging.pump import HASH_BACKLOG, Hasher, pump
from tests.staging.bodies import Body, raising


@given(st.binary(max_size=300), st.integers(1, 50))
def test_all_bytes_arrive_in_order_and_are_hashed(data: bytes, piece: int) -> None:
    arrived = bytearray()
    progress: list[int] = []
    with Hasher(["sha256", "md5"]) as hasher:
        moved = pump(Body(data, piece=piece), arrived.extend, hasher, on_progress=progress.append, chunk_bytes=7)
        digests = hasher.finish()
    assert (moved, bytes(arrived)) == (len(data), data)
    assert digests == {"sha256": hashlib.sha256(data).digest(), "md5": hashlib.md5(data).digest()}
    assert progress == sorted(set(progress))
    assert progress[-1:] == ([len(data)] if data else [])


@pytest.mark.parametrize("end", ["source", "sink", "progress"])
def test_errors_of_either_end_pass_through_and_leave_no_thread(end: str) -> None:
    fails = raising(ZeroDivisionError())
    calls = iter(range(10))

    def third_time(*_: object) -> None:
        if next(calls) == 2:
            fails()

    source = Body(b"x" * 100, piece=10, between=third_time if end == "source" else lambda: None)
    nothing = bytearray().extend
    with pytest.raises(ZeroDivisionError), Hasher(["sha256"]) as hasher:
        pump(
            source,
            third_time if end == "sink" else nothing,
            hasher,
            on_progress=third_time if end == "progress" else lambda _: None,
        )
    assert not [thread for thread in threading.enumerate() if thread.name == "hasher"]


def test_a_small_body_needs_no_thread() -> None:
    with Hasher(["sha256"]) as hasher:
        pump(Body(b"small"), lambda _: None, hasher, on_progress=lambda _: None)
        assert not [thread for thread in threading.enumerate() if thread.name == "hasher"]


def test_no_digest_needs_no_thread() -> None:
    with Hasher(()) as hasher:
        pump(Body(b"several", piece=1), lambda _: None, hasher, on_progress=lambda _: None)
        assert not [thread for thread in threading.enumerate() if thread.name == "hasher"]


def test_a_slow_hasher_holds_the_reader_back(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    hash_at_once = Hasher._hash

    def hash_later(self: Hasher, chunk: bytes) -> None:
        if threading.current_thread().name == "hasher":
            goes_on.wait(30)
        hash_at_once(self, chunk)

    monkeypatch.setattr(Hasher, "_hash", hash_later)
    progress: list[int] = []
    with Hasher(["sha256"]) as hasher:
        mover = threading.Thread(
            target=lambda: pump(Body(b"x" * 100, piece=1), lambda _: None, hasher, on_progress=progress.append)
        )
        mover.start()
        with suppress(RuntimeError):
            mover.join(0.3)
        assert len(progress) <= HASH_BACKLOG + 3
        goes_on.set()
        mover.join()
        assert hasher.finish()["sha256"] == hashlib.sha256(b"x" * 100).digest()
