"""Filling: a block comes from slower copies once, for the readers of this process and of all others.

A thread of its own brings it, so that its pace depends on no reader: those who keep pace are given the bytes as they
pass by, the others once the block is ready. Across processes the block's row decides who brings it.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from uuid import UUID

import structlog
from django.db import DatabaseError, connection

from adapters.errors import AdapterError, OutOfSpace
from staging import cache_room, cached_blocks, health, reading
from staging.blocks import Proof
from staging.cached_blocks import LEASE_S, Place
from staging.connections import release
from staging.errors import LeaseLost, NoSpace, StagingError, StorageClosed
from staging.models import CachedBlock, Storage
from staging.reading import Found
from staging.states import BlockState
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

#: Told how many bytes came to a fast storage; metrics set it.
tell: Callable[[int], None] | None = None

#: A reader waits no longer than this for the next bytes of a block: documented clients give up after twice the time.
PATIENCE_S = 60.0
#: A storage on which a block could not be written or read is left alone for so long.
REST_S = 10.0
#: How many blocks one process brings at a time, and how many pieces of each are in memory.
_MOST, _PIECES = 32, 4
#: The catalog is asked after this time first, and then ever more seldom, whether another process has brought the block.
_FIRST_S, _SELDOM_S = 0.02, 0.2

_coming: dict[tuple[UUID, int, int], "Coming"] = {}
_joining = threading.Lock()
_free = threading.BoundedSemaphore(_MOST)
_rests_until: dict[int, float] = {}


class NotComing(Exception):
    """The block cannot be brought now."""


class TooSlow(NotComing):
    """It is being brought, but not in the time that a reader waits."""


class Coming:
    """A block that this process waits for, or brings."""

    def __init__(self, place: Place, found: Found, proof: Proof) -> None:
        self.place, self._found, self._proof = place, found, proof
        self._changed = threading.Condition()
        self._pieces: deque[tuple[int, bytes]] = deque(maxlen=_PIECES)
        self._moved_at = time.monotonic()
        self._is_over = self._is_ready = self._is_slow = False
        #: Whether it is this process that brings it.
        self.is_ours = False

    def read(self, offset: int, *, patience_s: float) -> bytes:
        """The next bytes of the object from ``offset`` on, as they pass by; none once the block is ready.

        Whoever is too slow for that waits for the whole block. Raises NotComing.
        """
        until = time.monotonic() + patience_s
        with self._changed:
            while True:
                for begin, piece in self._pieces:
                    if begin <= offset < begin + len(piece):
                        return piece[offset - begin :]
                if self._is_ready:
                    return b""
                if self._is_over and not self._is_slow:
                    raise NotComing
                left = min(until, self._moved_at + LEASE_S) - time.monotonic()
                if self._is_slow or left <= 0:
                    raise TooSlow
                self._changed.wait(left)

    def begin(self, *, patience_s: float) -> None:
        """Have the block brought, or wait for another process that does."""
        until, pause = time.monotonic() + patience_s, _FIRST_S
        while not self._is_settled():
            if time.monotonic() > until:
                self._is_slow = True
                return self.end(is_ready=False)
            release()
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  jitter is no secret
            pause = min(pause * 1.5, _SELDOM_S)
            self._move()

    def end(self, *, is_ready: bool) -> None:
        """Nothing more will pass by."""
        with _joining:
            if _coming.get(_name(self.place)) is self:
                del _coming[_name(self.place)]
        with self._changed:
            self._is_over, self._is_ready = True, is_ready
            self._changed.notify_all()

    def _is_settled(self) -> bool:
        block = cached_blocks.find(self.place)
        if block is not None and block.state == BlockState.READY:
            self.end(is_ready=True)
            return True
        return block is None and self._try_to_bring()

    def _try_to_bring(self) -> bool:
        """False where another process was faster."""
        if rests(self.place.storage) or not _free.acquire(blocking=False):
            self.end(is_ready=False)
            return True
        claimed = None
        try:
            claimed = _claim(self.place)
            if claimed is not None:
                threading.Thread(target=self._run, args=[claimed], name="cache-fill", daemon=True).start()
                self.is_ours = True
        except (NoSpace, StorageClosed, RuntimeError) as exc:  # Python has no other name for the want of threads.
            log.info("block.not_claimed", storage=self.place.storage.name, reason=str(exc))
            _free.release()
            if claimed is not None:
                cached_blocks.let_go(claimed)
            self.end(is_ready=False)
            return True
        except BaseException:
            _free.release()
            raise
        if claimed is None:
            _free.release()
        return claimed is not None

    def _run(self, block: CachedBlock) -> None:
        came = False
        try:
            came = self._fill(block)
        except (AdapterError, StagingError, DatabaseError) as exc:
            log.warning("block.not_filled", storage=block.storage.name, error=type(exc).__name__, detail=str(exc))
            self._give_up(block, exc)
        finally:
            self.end(is_ready=came)
            _free.release()
            connection.close()

    def _fill(self, block: CachedBlock) -> bool:
        adapter, start, stop = adapter_for(block.storage), block.start, block.start + block.size
        release()
        renew_at, offset = time.monotonic() + LEASE_S / 3, start
        with (
            reading.open_proven(self._found, self._proof, start, stop) as source,
            adapter.open_write(block.key, size=block.size) as session,
        ):
            while piece := source.read():
                self._move((offset, piece))
                offset += len(piece)
                if time.monotonic() > renew_at:
                    if not cached_blocks.renew(block):
                        raise LeaseLost("The block was given up.")
                    release()
                    renew_at = time.monotonic() + LEASE_S / 3
                session.write(piece)
            session.publish()
        if not cached_blocks.publish(block):
            adapter.delete(block.key)  # This attempt's own key, which nobody has read.
            return False
        if tell is not None:
            tell(block.size)
        return True

    def _give_up(self, block: CachedBlock, why: Exception) -> None:
        """What cannot be written down now is found when the lease has run out."""
        if isinstance(why, AdapterError) and why.storage == block.storage.name:
            rest(block.storage)
        try:
            cached_blocks.let_go(block)
            if isinstance(why, OutOfSpace):
                cache_room.evict(block.storage, block.size)
        except DatabaseError as exc:
            log.warning("block.not_let_go", block=block.pk, error=type(exc).__name__)

    def _move(self, piece: tuple[int, bytes] | None = None) -> None:
        with self._changed:
            self._moved_at = time.monotonic()
            if piece is not None:
                self._pieces.append(piece)
                self._changed.notify_all()


def join(place: Place, found: Found, proof: Proof, *, patience_s: float) -> tuple[Coming, bool]:
    """The block on its way, and whether this call brings it. Only one reader of a process sees to that."""
    with _joining:
        coming = _coming.get(_name(place))
        if coming is not None:
            return coming, False
        coming = _coming[_name(place)] = Coming(place, found, proof)
    try:
        coming.begin(patience_s=patience_s)
    except BaseException:
        coming.end(is_ready=False)
        raise
    return coming, coming.is_ours


def rest(storage: Storage) -> None:
    """It fails: readers of this process leave it alone for a moment."""
    _rests_until[storage.pk] = time.monotonic() + REST_S


def rests(storage: Storage) -> bool:
    """Whether it is left alone, by this or by those who call it for other reasons."""
    return _rests_until.get(storage.pk, 0.0) > time.monotonic() or health.refuses(storage)


def _claim(place: Place) -> CachedBlock | None:
    """Colder blocks make room. Raises NoSpace and StorageClosed."""
    try:
        return cached_blocks.claim(place)
    except NoSpace:
        if not cache_room.evict(place.storage, place.size, only_cold=True):
            raise
    return cached_blocks.claim(place)


def _name(place: Place) -> tuple[UUID, int, int]:
    return place.object.pk, place.storage.pk, place.start
