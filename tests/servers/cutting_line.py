"""A TCP proxy on loopback that cuts one connection at a byte of the wire, the head or the body of one direction."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_NO_LINGER = struct.pack("ii", 1, 0)
_INTERIM = b"HTTP/1.1 1"


class Direction(StrEnum):
    REQUEST = "request"
    RESPONSE = "response"


class Anchor(StrEnum):
    """Where a cut counts from: the connection's begin, the begin of the (last) head, or its end."""

    WIRE = "wire"
    HEAD = "head"
    BODY = "body"


class How(StrEnum):
    """What a cut does: both directions end politely or by a reset; only this one ends; or it waits for ``let_go``."""

    FIN = "fin"
    RST = "rst"
    HALF = "half"
    HOLD = "hold"


@dataclass(frozen=True)
class Cut:
    """``count`` bytes behind the anchor are passed on; of a head's begin, 0 waits for the head to come.

    A cut within a head is at its byte where the head comes in one piece, as those of clients and of gunicorn do.
    """

    direction: Direction
    anchor: Anchor
    count: int
    how: How


class Gauge:
    """Finds a cut in the bytes of one direction as they come."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._head = b""
        self._passed = 0
        self._point = cut.count if cut.anchor is Anchor.WIRE else None

    def room(self, data: bytes) -> int | None:
        """How many of these bytes may still pass before the cut; None where the cut is not among them."""
        if self._point is None:
            self._head += data
            self._point = self._found()
        if self._point is None or self._passed + len(data) < self._point:
            self._passed += len(data)
            return None
        return max(0, self._point - self._passed)

    def _found(self) -> int | None:
        start = 0
        while True:
            end = self._head.find(b"\r\n\r\n", start) + 4
            if len(self._head) < start + len(_INTERIM):
                return None
            if not self._head.startswith(_INTERIM, start):
                break
            if end == 3:
                return None
            start = end
        if self._cut.anchor is Anchor.HEAD:
            return start + self._cut.count
        return end + self._cut.count if end > 3 else None


class CuttingLine:
    """Passes connections to ``127.0.0.1:target_port``; the next one after ``arm`` is cut. Its own port is ``port``.

    ``reached`` is set once an armed connection came to its cut, or ended without.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._armed: Cut | None = None
        self._ended = self._free = False
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.reached = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut every connection and take no more. Idempotent."""
        with self._lock:
            self._ended = self._free = True
            for end in (self._listener, *self._ends):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)
        self._listener.close()

    def arm(self, cut: Cut) -> None:
        """Let the cut hit the next connection, and no later one."""
        self._armed = cut

    def let_go(self) -> None:
        """Let what is held, and what will come to such a cut, go on."""
        self._free = True

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name="cutting-line", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # It ends when the listener is shut down.
            while True:
                near, _ = self._listener.accept()
                cut, self._armed = self._armed, None
                self._start(self._serve, near, cut)

    def _serve(self, near: socket.socket, cut: Cut | None) -> None:
        try:
            with near, socket.create_connection(self._target, timeout=10) as far:
                far.settimeout(None)
                with self._lock:
                    self._ends |= {near, far}
                    if self._ended:
                        return
                Passage(self, near, far, cut).run()
                with self._lock:
                    self._ends -= {near, far}
        except OSError:  # Either end is gone; both are closed now.
            with self._lock:
                self._ends -= {end for end in self._ends if end.fileno() < 0}
        finally:
            if cut is not None:
                self.reached.set()

    @property
    def is_free(self) -> bool:
        return self._free


class Passage:
    """One connection through the line, in one thread, so that a cut is one moment for both directions."""

    def __init__(self, line: CuttingLine, near: socket.socket, far: socket.socket, cut: Cut | None) -> None:
        self._line, self._cut = line, cut
        self._targets = {near: far, far: near}
        self._gauge = Gauge(cut) if cut else None
        self._cut_from = None if cut is None else near if cut.direction is Direction.REQUEST else far
        self._deaf: set[socket.socket] = set()
        self._held: bytes | None = None

    def run(self) -> None:
        """Pass everything on until both ends have ended, or the cut ends them."""
        with selectors.DefaultSelector() as open_ends:
            for end in self._targets:
                open_ends.register(end, selectors.EVENT_READ)
            if self._comes_to_its_cut(b"", open_ends):
                return
            while open_ends.get_map() or self._held is not None:
                for key, _ in open_ends.select(timeout=None if self._held is None else 0.02):
                    if self._pass_on(key.fileobj, open_ends):  # type: ignore[arg-type]
                        return
                if self._held is not None and self._line.is_free:
                    self._go_on(open_ends)

    def _pass_on(self, source: socket.socket, open_ends: selectors.BaseSelector) -> bool:
        data = source.recv(65536)
        if not data:
            open_ends.unregister(source)
            if source not in self._deaf:
                self._targets[source].shutdown(socket.SHUT_WR)
            return False
        if source is self._cut_from:
            return self._comes_to_its_cut(data, open_ends)
        if source not in self._deaf:
            self._targets[source].sendall(data)
        return False

    def _comes_to_its_cut(self, data: bytes, open_ends: selectors.BaseSelector) -> bool:
        """Pass on what may pass of the direction that is to be cut. Whether the whole connection has ended."""
        source = self._cut_from
        if source is None or self._gauge is None or self._cut is None:
            return False
        room = self._gauge.room(data)
        target = self._targets[source]
        target.sendall(data if room is None else data[:room])
        if room is None:
            return False
        self._cut_from = None
        if self._cut.how is How.HOLD:
            open_ends.unregister(source)
            self._held, self._holder = data[room:], source
            self._line.reached.set()
            return False
        if self._cut.how is How.HALF:
            self._deaf.add(source)
            target.shutdown(socket.SHUT_WR)
            self._line.reached.set()
            return False
        for end in self._targets:
            if self._cut.how is How.RST:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            else:
                end.shutdown(socket.SHUT_RDWR)
        return True

    def _go_on(self, open_ends: selectors.BaseSelector) -> None:
        held, self._held = self._held, None
        self._targets[self._holder].sendall(held or b"")
        open_ends.register(self._holder, selectors.EVENT_READ)
