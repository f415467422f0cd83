"""A TCP proxy on loopback that counts what clients send, and lets it pass no faster than a slow line would."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

#: What a socket of the proxy holds: little, so that what is counted is what was asked for and not what buffers took.
BUFFER_BYTES = 64 * 1024


class Meter:
    """Stands before ``127.0.0.1:target_port``; its own port is ``port``, and ``sent`` counts the clients' bytes."""

    def __init__(self, target_port: int, *, bytes_per_s: int | None = None) -> None:
        self.sent = 0
        self.target_port = target_port
        self._bytes_per_s = bytes_per_s
        self._closed = threading.Event()
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket()
        _keep_little(self._listener)  # Connections inherit it.
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for end in self._ends:
                _cut(end)

    def _start(self, work: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, name="meter", daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        with self._listener, suppress(OSError):  # It ends when the listener is shut down.
            while True:
                near, _ = self._listener.accept()
                self._start(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        with near, socket.socket() as far:
            _keep_little(far)
            with self._lock:
                self._ends |= {near, far}
            with suppress(OSError):
                far.connect(("127.0.0.1", self.target_port))
                back = self._start(self._pass_on, far, near, lambda _: None)
                self._pass_on(near, far, self._count)
                back.join()
            with self._lock:
                self._ends -= {near, far}

    def _pass_on(self, source: socket.socket, target: socket.socket, note: Callable[[int], None]) -> None:
        """Copy until the source ends, then tell the target so; an error ends both."""
        try:
            while data := source.recv(16 * 1024):
                note(len(data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            _cut(source)
            _cut(target)

    def _count(self, count: int) -> None:
        with self._lock:
            self.sent += count
        if self._bytes_per_s:
            self._closed.wait(count / self._bytes_per_s)


def _keep_little(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)


def _cut(end: socket.socket) -> None:
    """Wake whoever waits for this socket, and end it for both sides; whoever serves it closes it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
