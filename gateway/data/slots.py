"""Slots: how many streams one process runs at a time, and what the other threads may be taken for."""

import threading
import uuid
from collections import Counter
from dataclasses import dataclass

from django.conf import settings

from gateway import metrics
from gateway.cores import CORES, LARGE_BYTES
from gateway.refusals import AliasBusy, Busy
from staging.models import Alias


class Seat:
    """The right of one thread to one stream or call; giving it back twice does nothing."""

    def __init__(self, free: threading.Semaphore) -> None:
        self._free: threading.Semaphore | None = free
        self._is_large = False

    def note_size(self, size: int | None) -> None:
        """It moves so many bytes (None: not known)."""
        if not self._is_large and (size is None or size >= LARGE_BYTES):
            self._is_large = True
            CORES.spread()

    def give_back(self) -> None:
        """Let the next one in."""
        free, self._free = self._free, None
        if free is not None:
            if self._is_large:
                CORES.gather()
            self._leave()
            free.release()

    def _leave(self) -> None:
        """What else ends with it."""


class Slot(Seat):
    """The seat of a stream of an alias."""

    def __init__(self, free: threading.Semaphore, alias: Alias, size: int | None) -> None:
        super().__init__(free)
        self._alias = alias
        metrics.STREAMS.inc()
        self.note_size(size)

    def _leave(self) -> None:
        metrics.STREAMS.dec()
        _ALIASES.leave(self._alias)


class _Aliases:
    """How many streams of each alias with a limit run in this process."""

    def __init__(self) -> None:
        self._running: Counter[uuid.UUID] = Counter()
        self._lock = threading.Lock()

    def enter(self, alias: Alias) -> None:
        if alias.max_requests is None:
            return
        with self._lock:
            if self._running[alias.pk] >= alias.max_requests:
                raise AliasBusy(f"{alias.max_requests} streams of it run at a time.", retry_after_s=3)
            self._running[alias.pk] += 1

    def leave(self, alias: Alias) -> None:
        if alias.max_requests is None:
            return
        with self._lock:
            self._running[alias.pk] -= 1
            if not self._running[alias.pk]:
                del self._running[alias.pk]


class Slots:
    """Bounds the running streams, so that threads are always left for short requests such as health checks."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    def take(self, alias: Alias, size: int | None, *, wait_s: float = 0.0) -> Slot:
        """A slot for ``size`` bytes (None: not known) of the alias; Busy or AliasBusy where none is free.

        Waiting for one would take the very threads that are to be saved, so only who has a seat among the waiters
        may do that.
        """
        if not self._free.acquire(blocking=wait_s > 0, timeout=wait_s or None):
            raise Busy(retry_after_s=3)
        try:
            _ALIASES.enter(alias)
        except AliasBusy:
            self._free.release()
            raise
        return Slot(self._free, alias, size)


class PeerSeats:
    """Bounds the calls of peers. They have seats of their own: two gateways full of each other's readers go on."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    def take(self) -> Seat | None:
        """A seat, or None where none is free."""
        return Seat(self._free) if self._free.acquire(blocking=False) else None


@dataclass(frozen=True, slots=True)
class Share:
    """How the threads that no stream takes are shared: as many for short requests as for ``drains``."""

    drains: int
    waiters: int


def share(threads: int, streams: int, waiters: int) -> Share:
    """Waiters get what is left when up to eight threads each are kept for refused clients and for short requests."""
    spare = threads - streams
    drains = max(1, min(8, spare // 4))
    return Share(drains, max(0, min(waiters, spare - 2 * drains)))


_PEERS = settings.MAX_STREAMS if settings.NODE_NAME else 0
SHARE = share(settings.THREADS, settings.MAX_STREAMS + _PEERS, settings.MAX_WAITERS)
_ALIASES = _Aliases()
SLOTS = Slots(settings.MAX_STREAMS)
PEERS = PeerSeats(max(1, _PEERS))
#: How many refused clients may go on sending at a time.
DRAINS = threading.BoundedSemaphore(SHARE.drains)
