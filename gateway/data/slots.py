"""Slots: how many streams one process runs at a time."""

import threading

from django.conf import settings

from gateway import metrics
from gateway.cores import CORES, LARGE_BYTES
from gateway.refusals import Busy


class Slot:
    """The right of one thread to one stream; giving it back twice does nothing."""

    def __init__(self, free: threading.Semaphore, *, is_large: bool) -> None:
        self._free: threading.Semaphore | None = free
        self._is_large = is_large
        metrics.STREAMS.inc()
        if is_large:
            CORES.spread()

    def give_back(self) -> None:
        """Let the next stream in."""
        free, self._free = self._free, None
        if free is not None:
            if self._is_large:
                CORES.gather()
            metrics.STREAMS.dec()
            free.release()


class Slots:
    """Bounds the running streams, so that threads are always left for short requests such as health checks."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    def take(self, size: int | None) -> Slot:
        """A slot for ``size`` bytes (None: not known), or Busy at once where none is free.

        Waiting would take the very threads that are to be saved.
        """
        if not self._free.acquire(blocking=False):
            raise Busy(retry_after_s=3)
        return Slot(self._free, is_large=size is None or size >= LARGE_BYTES)


SLOTS = Slots(settings.MAX_STREAMS)
#: How many refused clients may go on sending at a time: half of the threads that no stream takes.
DRAINS = threading.BoundedSemaphore(max(1, (settings.THREADS - settings.MAX_STREAMS) // 2))
