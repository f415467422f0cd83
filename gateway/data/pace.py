"""Pace: how fast the bytes of one alias may move through this process, however many requests share them."""

import threading
import time
import uuid
from weakref import WeakValueDictionary

from adapters.base import CHUNK_BYTES, ReadStream
from staging.models import Alias
from staging.pump import Source

#: A piece is at most what moves in this time, so that no client waits long for the next.
_PIECE_S = 0.25


class Pace:
    """Lets ``rate`` bytes pass in a second; whoever is ahead of that sleeps."""

    def __init__(self, rate: int) -> None:
        self.piece_bytes = max(1, min(CHUNK_BYTES, int(rate * _PIECE_S)))
        self._rate = rate
        self._due_at = 0.0
        self._lock = threading.Lock()

    def spend(self, count: int) -> None:
        """Return once ``count`` more bytes were due."""
        with self._lock:
            self._due_at = max(self._due_at, time.monotonic()) + count / self._rate
            wait = self._due_at - time.monotonic()
        if wait > 0:
            time.sleep(wait)


class PacedRead(ReadStream):
    """A stream whose bytes keep to a pace."""

    def __init__(self, inner: ReadStream, pace: Pace) -> None:
        self.stat, self.start, self.stop = inner.stat, inner.start, inner.stop
        self._inner, self._pace = inner, pace

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        chunk = self._inner.read(min(max_bytes, self._pace.piece_bytes))
        self._pace.spend(len(chunk))
        return chunk

    def close(self) -> None:
        self._inner.close()


class PacedBody:
    """A body that is taken no faster than its pace."""

    def __init__(self, inner: Source, pace: Pace) -> None:
        self._inner, self._pace = inner, pace

    def read(self, max_bytes: int) -> bytes:
        chunk = self._inner.read(min(max_bytes, self._pace.piece_bytes))
        self._pace.spend(len(chunk))
        return chunk


_PACES: WeakValueDictionary[tuple[uuid.UUID, int], Pace] = WeakValueDictionary()
_LOCK = threading.Lock()


def of(alias: Alias) -> Pace | None:
    """The pace that all requests of the alias share in this process; None where it has no limit."""
    if alias.max_rate is None:
        return None
    with _LOCK:
        pace = _PACES.get((alias.pk, alias.max_rate))
        if pace is None:
            pace = _PACES[alias.pk, alias.max_rate] = Pace(alias.max_rate)
        return pace
