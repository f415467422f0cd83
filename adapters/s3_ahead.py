"""Reading ahead from a server far away: the next ranges of one version are fetched while the first one is read."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import Truncated
from adapters.s3_bucket import S3Bucket
from adapters.s3_signed import SignedGet
from adapters.slots import Slot

#: How many bytes one request asks for, and how many of them are under way or waiting to be read.
RANGE_BYTES = 8 * 1024 * 1024
RANGES = 4
#: A request that has no answer yet cannot be woken; it finds out by itself that it is not wanted any more.
_CLOSING_S = 2.0


class Source(Protocol):
    """The open answer to the first range."""

    def read(self, max_bytes: int) -> bytes: ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Range:
    start: int
    stop: int
    chunks: deque[bytes] = field(default_factory=deque)
    request: SignedGet | None = None
    thread: threading.Thread | None = None
    error: BaseException | None = None


class AheadRead(ReadStream):
    """Bytes come in order and of ``stat``'s version alone; at most ``RANGES`` times ``RANGE_BYTES`` are held."""

    def __init__(
        self, bucket: S3Bucket, stat: ObjectStat, start: int, stop: int, first: Source, until: int, slot: Slot
    ) -> None:
        """``first`` brings ``[start, until)``."""
        self.stat = stat
        self.start = start
        self.stop = stop
        self._bucket = bucket
        self._first: Source | None = first
        self._at = start
        self._until = until
        self._planned = until
        self._moved = threading.Condition()
        self._ranges: deque[_Range] = deque()
        self._closed = False
        self._slot = slot
        self._fetch_more(RANGES - 1)

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if self._at == self.stop or self._closed:
            return b""
        if self._first is not None:
            with self._bucket.translating(self.stat.key):
                data = self._first.read(min(max_bytes, self._until - self._at))
            if not data:
                raise self._truncated(self._until - self._at)
        else:
            data = self._take(max_bytes)
        self._at += len(data)
        if self._at == self._until:
            self._go_on()
        return data

    def close(self) -> None:
        if self._closed:
            return
        with self._moved:
            self._closed = True
            self._moved.notify_all()
            ranges = list(self._ranges)
            for part in ranges:
                if part.request is not None:
                    part.request.interrupt()
        if self._first is not None:
            self._first.close()
        for part in ranges:
            assert part.thread is not None
            part.thread.join(_CLOSING_S)
        self._ranges.clear()
        self._slot.give_back()

    def _go_on(self) -> None:
        """The range that was read is over: the next one takes its place, and one more is asked for."""
        if self._first is not None:
            self._first.close()
            self._first = None
        else:
            self._ranges.popleft()
        if self._ranges:
            self._until = self._ranges[0].stop
        self._fetch_more(RANGES)

    def _fetch_more(self, most: int) -> None:
        while len(self._ranges) < most and self._planned < self.stop:
            part = _Range(self._planned, min(self._planned + RANGE_BYTES, self.stop))
            self._planned = part.stop
            part.thread = threading.Thread(target=self._fetch, args=(part,), name="s3-range", daemon=True)
            self._ranges.append(part)
            part.thread.start()
            if len(self._ranges) == 1 and self._first is None:
                self._until = part.stop

    def _take(self, max_bytes: int) -> bytes:
        part = self._ranges[0]
        with self._moved:
            self._moved.wait_for(lambda: part.chunks or part.error is not None)
            if not part.chunks:
                assert part.error is not None
                raise part.error
            data = part.chunks.popleft()
            if len(data) > max_bytes:
                part.chunks.appendleft(data[max_bytes:])
                data = data[:max_bytes]
            return data

    def _fetch(self, part: _Range) -> None:
        key = self.stat.key
        try:
            with (
                self._bucket.translating(key),
                closing(self._bucket.begin_range(key, part.start, part.stop, self.stat.version)) as request,
            ):
                part.request = request
                left = part.stop - part.start
                while left and not self._closed:
                    data = request.read(min(CHUNK_BYTES, left))
                    if not data:
                        raise self._truncated(left)
                    left -= len(data)
                    with self._moved:
                        part.chunks.append(data)
                        self._moved.notify_all()
        except BaseException as exc:  # noqa: BLE001 - it is raised where the reader comes by
            with self._moved:
                part.error = exc
                self._moved.notify_all()

    def _truncated(self, missing: int) -> Truncated:
        return Truncated(f"{missing} bytes of a range are missing", storage=self._bucket.storage, key=self.stat.key)
