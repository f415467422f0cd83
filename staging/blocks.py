"""Blocks: a CRC-32C of each MiB of an object, by which damaged bytes are known before anybody is given them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import google_crc32c

#: The size in bytes of every block but the last. Sums that are stored mean blocks of this size.
BLOCK_BYTES = 1024 * 1024
#: Smaller objects are one block, whose sum is their SHA-256: it is compared sooner than stored sums were fetched.
WHOLE_BYTES = 64 * 1024
#: How many bytes the stored sum of a block takes.
SUM_BYTES = 4
#: What a ``Hasher`` calls the sums of all blocks, one after the other.
BLOCK_SUMS = "crc32c-blocks"


class Summer:
    """The sums of a stream's blocks, however it is cut into chunks; used as one of ``hashlib``'s digests is."""

    def __init__(self) -> None:
        self._sums = bytearray()
        self._filled = self._sum = 0

    def update(self, chunk: bytes) -> None:
        at = 0
        while at < len(chunk):
            piece = chunk[at : at + BLOCK_BYTES - self._filled]
            at += len(piece)
            self._filled += len(piece)
            self._sum = google_crc32c.extend(self._sum, piece)
            if self._filled == BLOCK_BYTES:
                self._sums += self._sum.to_bytes(SUM_BYTES)
                self._filled = self._sum = 0

    def digest(self) -> bytes:
        return bytes(self._sums) + (self._sum.to_bytes(SUM_BYTES) if self._filled else b"")


@dataclass(frozen=True, slots=True)
class Content:
    """What came of a body: its size in bytes, its digest, and the sums of its blocks."""

    size: int
    sha256: str
    sums: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """What consecutive blocks of a version must be, from the block ``first`` on: ``width`` bytes of digest each."""

    first: int
    sums: bytes
    width: int
    digest: Callable[[bytes], bytes]

    def fits(self, number: int, block: bytes) -> bool:
        """Whether these are the bytes of the version's block ``number``."""
        at = (number - self.first) * self.width
        return self.sums[at : at + self.width] == self.digest(block)


def whole(sha256: str) -> Proof:
    """Of an object that is one block."""
    return Proof(0, bytes.fromhex(sha256), hashlib.sha256().digest_size, lambda block: hashlib.sha256(block).digest())


def stored(first: int, sums: bytes) -> Proof:
    """Of blocks whose sums were stored when they were received."""
    return Proof(first, sums, SUM_BYTES, lambda block: int(google_crc32c.value(block)).to_bytes(SUM_BYTES))


def between(start: int, stop: int) -> range:
    """The numbers of the blocks in which the bytes ``[start, stop)`` lie."""
    return range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES))
