"""Parts on their way: each is sent by a thread of its own while the next ones are taken, within a bound of memory."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from datetime import datetime

from adapters.s3_signed import SignedPut

#: How long an abort waits for the answer to a part that was sent whole, so that it does not arrive after the abort.
LAST_ANSWER_S = 1.0
#: One that is connecting just now cannot be woken; it finds out by itself that it is not wanted any more.
_CLOSING_S = 2.0


@dataclass(frozen=True, slots=True)
class Lanes:
    """How many parts may be under way, and how many bytes may wait to be sent, for all of them together."""

    count: int
    ahead_bytes: int


#: A server near by takes all that one connection brings; the second is for the time in which the first is answered.
NEAR = Lanes(count=2, ahead_bytes=4 * 1024 * 1024)
#: A connection to a server far away carries a window in each round trip, however fast the line is. Those that wait for
#: an answer hold no bytes.
FAR = Lanes(count=8, ahead_bytes=32 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Part:
    """``crc32`` is the sum that was sent with it, in base64; empty for none. Few servers tell when it was stored."""

    number: int
    size: int
    etag: str
    crc32: str = ""
    modified: datetime | None = None


@dataclass(slots=True, eq=False)
class _Sending:
    number: int
    size: int
    taken: int = 0
    chunks: deque[bytes | bytearray | memoryview] = field(default_factory=deque)
    request: SignedPut | None = None
    thread: threading.Thread | None = None


class Parts:
    """Belongs to one thread, the writer's. Once a part has failed, every call raises its error."""

    def __init__(
        self,
        begin: Callable[[int, int], SignedPut],
        translating: Callable[[], AbstractContextManager[None]],
        lanes: Lanes,
    ) -> None:
        """``begin`` opens the request of a part's number and size."""
        self._begin = begin
        self._translating = translating
        self._lanes = lanes
        self._moved = threading.Condition()
        self._first = 0  # the number of the part that was opened first
        self._under_way: list[_Sending] = []
        self._last: _Sending | None = None
        self._confirmed: dict[int, Part] = {}
        self._waiting_bytes = 0
        self._error: BaseException | None = None
        self._dropped = False

    def open(self, number: int, size: int) -> None:
        """Begin a part, which will have exactly ``size`` bytes; waits while as many as may be are under way."""
        self._wait(lambda: len(self._under_way) < self._lanes.count)
        self._first = self._first or number
        part = self._last = _Sending(number, size)
        part.thread = threading.Thread(target=self._send, args=(part,), name="s3-part", daemon=True)
        self._under_way.append(part)
        part.thread.start()

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take a piece of the part that was opened last. It is kept, not copied: nobody may change it any more."""
        assert self._last is not None
        self._wait(
            lambda: not self._waiting_bytes or self._waiting_bytes + len(data) <= self._lanes.ahead_bytes,
        )
        with self._moved:
            self._last.chunks.append(data)
            self._last.taken += len(data)
            self._waiting_bytes += len(data)
            self._moved.notify_all()

    def settle(self) -> None:
        """Wait until every part that was taken whole is confirmed."""
        self._wait(self._nothing_whole)

    def confirmed(self) -> list[Part]:
        """The parts that were confirmed, up to the first that was not."""
        with self._moved:
            numbers = itertools.count(self._first)
            return [self._confirmed[number] for number in itertools.takewhile(self._confirmed.__contains__, numbers)]

    def drop(self, *, patience_s: float) -> None:
        """End what is under way; parts that were taken whole get ``patience_s`` to be confirmed. Idempotent."""
        with self._moved:
            if not self._dropped:
                self._moved.wait_for(self._nothing_whole, patience_s)
            self._dropped = True
            self._moved.notify_all()
            left = list(self._under_way)
            for part in left:
                if part.request is not None:
                    part.request.interrupt()
        for part in left:
            assert part.thread is not None
            part.thread.join(_CLOSING_S)

    def _wait(self, ready: Callable[[], bool]) -> None:
        with self._moved:
            self._moved.wait_for(lambda: self._error is not None or ready())
            if self._error is not None:
                raise self._error

    def _nothing_whole(self) -> bool:
        return all(part.taken < part.size for part in self._under_way)

    def _send(self, part: _Sending) -> None:
        error: BaseException | None = None
        confirmed: Part | None = None
        try:
            with self._translating(), closing(self._begin(part.number, part.size)) as request:
                part.request = request
                left = part.size
                while left and (data := self._next(part)) is not None:
                    request.send(data)
                    left -= len(data)
                    with self._moved:
                        self._waiting_bytes -= len(data)
                        self._moved.notify_all()
                if not left:
                    stored = request.finish()
                    confirmed = Part(part.number, part.size, stored.etag, request.checksum, stored.modified)
        except BaseException as exc:  # noqa: BLE001 - it is raised where the writer's thread comes by
            error = exc
        with self._moved:
            self._under_way.remove(part)
            if confirmed is not None:
                self._confirmed[part.number] = confirmed
            self._error = self._error or error
            self._moved.notify_all()

    def _next(self, part: _Sending) -> bytes | bytearray | memoryview | None:
        """The next piece of a part; None once the parts are dropped."""
        with self._moved:
            self._moved.wait_for(lambda: part.chunks or self._dropped)
            return None if self._dropped else part.chunks.popleft()
