"""The pump: the only loop over bytes. It reads, hashes and writes, and hashing overlaps with the other two."""

import hashlib
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from adapters.base import CHUNK_BYTES
from staging.blocks import BLOCK_SUMS, Summer

#: Chunks that may wait for the hasher; with the one being read and the one being hashed this bounds memory.
HASH_BACKLOG = 3


class Source(Protocol):
    """Bytes on their way: at most ``max_bytes`` at a time, ``b""`` at the true end, an exception at a false one."""

    def read(self, max_bytes: int, /) -> bytes: ...


class Hasher:
    """Digests of a stream, by algorithm name as ``hashlib`` spells it; ``BLOCK_SUMS`` is one of them.

    The first chunk is hashed in place, so that small bodies need no thread; from the second on a thread does it while
    the caller reads and writes (hashlib releases the interpreter's lock). Use as a context manager: leaving it ends
    the thread whatever happened.
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._sums = {
            name: Summer() if name == BLOCK_SUMS else hashlib.new(name, usedforsecurity=False) for name in algorithms
        }
        self._chunks: queue.Queue[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._started = False

    def update(self, chunk: bytes) -> None:
        """Take the next bytes; blocks while the backlog is full."""
        if not self._started or not self._sums:
            self._started = True
            self._hash(chunk)
            return
        if self._chunks is None:
            self._chunks = queue.Queue(HASH_BACKLOG)
            self._thread = threading.Thread(target=self._run, args=(self._chunks,), name="hasher", daemon=True)
            self._thread.start()
        self._chunks.put(chunk)

    def finish(self) -> Mapping[str, bytes]:
        """Wait for the backlog and return the digests."""
        self.__exit__()
        return {name: total.digest() for name, total in self._sums.items()}

    def __enter__(self) -> "Hasher":
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None and self._chunks is not None:
            self._chunks.put(b"")
            self._thread.join()
            self._thread = self._chunks = None

    def _run(self, chunks: "queue.Queue[bytes]") -> None:
        while chunk := chunks.get():
            self._hash(chunk)

    def _hash(self, chunk: bytes) -> None:
        for total in self._sums.values():
            total.update(chunk)


def pump(
    source: Source,
    write: Callable[[bytes], None],
    hasher: Hasher,
    *,
    on_progress: Callable[[int], None],
    chunk_bytes: int = CHUNK_BYTES,
) -> int:
    """Move everything from ``source`` to ``write`` and return the number of bytes.

    ``on_progress`` is called with the bytes so far before each write; what it raises stops the pump. Errors of either
    end pass through unchanged. No more than ``HASH_BACKLOG + 2`` chunks are in memory.
    """
    moved = 0
    while chunk := source.read(chunk_bytes):
        moved += len(chunk)
        on_progress(moved)
        hasher.update(chunk)
        write(chunk)
    return moved
