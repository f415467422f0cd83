"""The read cache: what is read of an object comes to a fast storage block by block, once for all who read it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog
from django.db import DatabaseError

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import AdapterError, Damaged, NotFound, RangeInvalid, Truncated, Unavailable
from staging import cached_blocks, filling, reading
from staging.blocks import Proof
from staging.cached_blocks import Place
from staging.connections import release
from staging.errors import StagingError
from staging.filling import Coming, NotComing, TooSlow
from staging.models import CachedBlock, Storage
from staging.reading import Found
from staging.states import BlockState
from staging.storages import adapter_for
from staging.verified_reading import VerifiedRead

log = structlog.get_logger(__name__)

#: Told how each block that somebody reads is come by: ``hit``, ``filled``, ``shared`` or ``past``; metrics set it.
tell: Callable[[str], None] | None = None

#: So often a reader looks for a block: on its way, ready, and once more; then it reads past the cache.
_TRIES = 3


def open_stream(found: Found, fast: Storage, start: int, stop: int) -> ReadStream:
    """The bytes ``[start, stop)`` of a managed version, by its blocks on the fast storage, which are brought there.

    Whatever fails on that storage, the bytes come from a copy at the same place. Raises what ``reading.open_stream``
    does.
    """
    block = cached_blocks.BLOCK_BYTES
    proof = reading.proof_of(found, start // block * block, min(found.size, -(-stop // block) * block))
    release()
    if proof is None or start == stop:
        return reading.open_proven(found, proof, start, stop)
    return _CachedRead(found, fast, proof, start, stop)


class _CachedRead(ReadStream):
    """Block after block, each from where it is at that moment."""

    def __init__(self, found: Found, fast: Storage, proof: Proof, start: int, stop: int) -> None:
        self.start, self.stop, self._offset = start, stop, start
        self._found, self._fast, self._proof = found, fast, proof
        self._version = found.copies[0].replica.object
        self.stat = ObjectStat(found.copies[0].replica.key, found.size, found.modified, found.etag, True)
        self._place: Place | None = None
        self._tries, self._patience_s = 0, filling.PATIENCE_S
        self._source: ReadStream | None = None

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        while self._offset < self.stop:
            if self._source is None:
                self._source = self._open()
            try:
                chunk = self._source.read(max_bytes)
            except NotComing as exc:
                self._tries = _TRIES
                if isinstance(exc, TooSlow):
                    self._patience_s /= 4
            except (AdapterError, DatabaseError) as exc:
                if self._tries > _TRIES:
                    raise
                self._doubt(exc)
            else:
                self._offset += len(chunk)
                if self._offset == self._source.stop:
                    self.close()
                if chunk:
                    return chunk
            self.close()
        return b""

    def close(self) -> None:
        if self._source is not None:
            source, self._source = self._source, None
            source.close()

    def _open(self) -> ReadStream:
        begin = self._offset // cached_blocks.BLOCK_BYTES * cached_blocks.BLOCK_BYTES
        if self._place is None or self._place.start != begin:
            self._place, self._tries = Place(self._version, self._fast, begin), 0
        stop = min(self.stop, begin + self._place.size)
        while self._tries < _TRIES and not filling.rests(self._fast):
            self._tries += 1
            try:
                return self._open_cached(self._place, stop)
            except (AdapterError, StagingError, DatabaseError) as exc:
                self._doubt(exc)
            finally:
                release()
        self._tries = _TRIES + 1
        _tell("past")
        return self._open_past(stop)

    def _open_cached(self, place: Place, stop: int) -> ReadStream:
        block = cached_blocks.find(place)
        if block is None or block.state != BlockState.READY:
            coming, is_mine = filling.join(place, self._found, self._proof, patience_s=self._patience_s)
            _tell("filled" if is_mine else "shared")
            return _LiveRead(coming, self._offset, stop, self._patience_s)
        cached_blocks.note_read(block)
        release()
        open_at = partial(_open_block, block)
        size, offset = self._found.size, self._offset
        found = VerifiedRead(block, self._proof, open_at=open_at, size=size, start=offset, stop=stop)
        if self._tries == 1:
            _tell("hit")
        return found

    def _doubt(self, exc: Exception) -> None:
        """A block that was not as it should be has been let go, and comes anew; a storage that fails is left alone."""
        log.warning("block.not_read", storage=self._fast.name, error=type(exc).__name__, offset=self._offset)
        if not isinstance(exc, Damaged | Truncated):
            self._tries = _TRIES
            if not isinstance(exc, DatabaseError):
                filling.rest(self._fast)

    def _open_past(self, stop: int) -> ReadStream:
        try:
            return reading.open_proven(self._found, self._proof, self._offset, stop)
        except (AdapterError, StagingError) as exc:
            if self._look_again():
                return reading.open_proven(self._found, self._proof, self._offset, stop)
            if isinstance(exc, StagingError) and self._offset > self.start:
                raise Unavailable(str(exc), key=self.stat.key) from exc
            raise

    def _look_again(self) -> bool:
        """Whether the copies are others now: a long download may outlive those that it began with."""
        try:
            rows = self._version.replicas.select_related("storage__credential", "storage__node", "object")
            copies = tuple(reading.Copy(replica, None) for replica in reading.in_order(rows))
        except DatabaseError as exc:
            log.warning("copies.not_known", error=type(exc).__name__)
            return False
        finally:
            release()
        old = {copy.replica.pk for copy in self._found.copies}
        if not copies or {copy.replica.pk for copy in copies} == old:
            return False
        self._found = replace(self._found, copies=copies)
        return True


class _LiveRead(ReadStream):
    """What passes by of a block that comes; its end is early where the block is ready sooner than it was read."""

    def __init__(self, coming: Coming, start: int, stop: int, patience_s: float) -> None:
        self.start, self.stop, self._offset = start, stop, start
        self._coming, self._patience_s, self._rest = coming, patience_s, b""

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        piece = self._rest or self._coming.read(self._offset, patience_s=self._patience_s)
        taken, self._rest = piece[: min(max_bytes, self.stop - self._offset)], piece[max_bytes:]
        self._offset += len(taken)
        return taken

    def close(self) -> None:
        """It is others who bring the block."""


def _open_block(block: CachedBlock, start: int, stop: int) -> ReadStream:
    """These bytes of the object. What is not there, or not as long, is let go."""
    storage = block.storage
    try:
        stream = adapter_for(storage).open_read(block.key, start - block.start, stop - block.start)
    except (NotFound, RangeInvalid) as exc:
        cached_blocks.let_go(block)
        raise Truncated("the block is not there", storage=storage.name, key=block.key) from exc
    if stream.stat.size != block.size:
        stream.close()
        cached_blocks.let_go(block)
        raise Truncated(f"{stream.stat.size} bytes instead of {block.size}", storage=storage.name, key=block.key)
    return stream


def _tell(outcome: str) -> None:
    if tell is not None:
        tell(outcome)
