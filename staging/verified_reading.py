"""Verified reading: the bytes of a replica are handed out once their whole block is what was stored."""

import uuid
from collections.abc import Callable

import structlog
from django.db import DatabaseError, connection

from adapters.base import CHUNK_BYTES, ReadStream
from adapters.errors import Damaged, Truncated
from staging import blocks, cached_blocks, replication, sharing
from staging.blocks import BLOCK_BYTES, SUM_BYTES, WHOLE_BYTES, Proof
from staging.connections import release
from staging.models import BlockSums, CachedBlock, Object, Replica

log = structlog.get_logger(__name__)


def is_verifiable(version: Object) -> bool:
    """Whether what a replica of the version returns can be compared block by block."""
    return version.size <= WHOLE_BYTES or BlockSums.objects.filter(pk=version.pk).exists()


def proof_of(object_id: uuid.UUID, *, size: int, sha256: str, start: int, stop: int) -> Proof | None:
    """By what the blocks around ``[start, stop)`` of a version are known; None where their sums were never stored."""
    if size <= WHOLE_BYTES:
        return blocks.whole(sha256)
    numbers, table = blocks.between(start, stop), BlockSums._meta
    # Django takes longer to make this SQL than the database to answer it.
    query = f"SELECT substr(sums, %s, %s) FROM {connection.ops.quote_name(table.db_table)} WHERE object_id = %s"  # noqa: S608  no value is in it
    place = numbers.start * SUM_BYTES + 1, len(numbers) * SUM_BYTES
    with connection.cursor() as cursor:
        cursor.execute(query, [*place, table.pk.get_db_prep_value(object_id, connection)])
        row = cursor.fetchone()
    return blocks.stored(numbers.start, bytes(row[0])) if row else None


class VerifiedRead(ReadStream):
    """The bytes ``[start, stop)`` of a version of ``size`` bytes, read in whole blocks from a replica or a cached part.

    ``open_at(start, stop)`` opens it there. A block that is not what was stored is read once more, from anew; one
    that is still another condemns where it lies, and ``read`` raises Damaged. One block is in memory.
    """

    def __init__(
        self,
        place: Replica | CachedBlock,
        proof: Proof,
        *,
        open_at: Callable[[int, int], ReadStream],
        size: int,
        start: int,
        stop: int,
    ) -> None:
        self.start, self.stop = start, stop
        self._place, self._proof, self._open_at, self._size = place, proof, open_at, size
        self._blocks = iter(blocks.between(start, stop))
        self._end = min(size, blocks.between(start, stop).stop * BLOCK_BYTES)
        self._stream = open_at(start // BLOCK_BYTES * BLOCK_BYTES, self._end)
        self.stat = self._stream.stat
        self._ready = b""

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if not self._ready and (number := next(self._blocks, None)) is not None:
            begin = number * BLOCK_BYTES
            self._ready = self._block(number)[max(0, self.start - begin) : self.stop - begin]
        taken, self._ready = self._ready[:max_bytes], self._ready[max_bytes:]
        return taken

    def close(self) -> None:
        self._stream.close()

    def _block(self, number: int) -> bytes:
        begin = number * BLOCK_BYTES
        length = min(BLOCK_BYTES, self._size - begin)
        block = self._gather(length)
        if self._proof.fits(number, block):
            return block
        # A line or a memory may have changed it as well, and then it is right the next time.
        place, kind = self._place, "replica" if isinstance(self._place, Replica) else "cached_block"
        told = {kind: place.pk, "storage": place.storage.name, "block": number}
        log.warning("replica.misread", **told)
        self._stream.close()
        self._stream = self._open_at(begin, self._end)
        block = self._gather(length)
        if self._proof.fits(number, block):
            return block
        log.error("replica.damaged", **told)
        self._condemn(number)
        raise Damaged(f"block {number}", storage=place.storage.name, key=place.key)

    def _gather(self, length: int) -> bytes:
        block = self._stream.read(length)
        if len(block) == length:
            return block
        pieces, left = [block], length - len(block)
        while left:
            pieces.append(self._stream.read(left))
            if not pieces[-1]:
                raise Truncated(f"{left} bytes are missing", storage=self._place.storage.name, key=self._place.key)
            left -= len(pieces[-1])
        return b"".join(pieces)

    def _condemn(self, number: int) -> None:
        """Without the catalog, another replica can still serve."""
        try:
            if isinstance(self._place, CachedBlock):
                cached_blocks.let_go(self._place)
            elif sharing.condemn(self._place, f"block {number} is not what was stored"):
                replication.settle(self._place.object)
        except DatabaseError as exc:
            log.warning("replica.not_condemned", place=self._place.pk, error=type(exc).__name__)
        finally:
            release()
