"""A TCP proxy on loopback that can lose the line: cut after so many bytes, stall, or refuse connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class CuttingProxy:
    """Passes every connection to ``127.0.0.1:target_port`` until told otherwise; its own port is ``port``."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._ends: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._left: int | None = None
        self._listener: socket.socket | None = None
        self.port = 0
        #: How many bytes have passed, both directions together.
        self.passed = 0

    def __enter__(self) -> Self:
        self.restore()
        return self

    def __exit__(self, *_: object) -> None:
        self._flowing.set()
        self.refuse()
        for thread in self._threads:
            thread.join(timeout=10)

    def cut_after(self, count: int) -> None:
        """Cut every connection once ``count`` more bytes have passed, both directions together; then refuse."""
        with self._lock:
            self._left = count

    def stall(self) -> None:
        """Keep every connection, and pass nothing on."""
        self._flowing.clear()

    def refuse(self) -> None:
        """Cut every connection now, and refuse new ones."""
        with self._lock:
            listener, self._listener = self._listener, None
            if listener is not None:
                _cut(listener)
            for end in self._ends:
                _cut(end)

    def restore(self) -> None:
        """Let everything pass again."""
        self._flowing.set()
        with self._lock:
            self._left = None
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
                self.port = self._listener.getsockname()[1]
                self._start(self._accept, self._listener)

    def _start(self, work: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=work, args=args, name="cutting-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener, suppress(OSError):  # It ends when the listener is shut down.
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection(self._target, timeout=10)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                with self._lock:
                    refused = self._listener is not listener
                    self._ends |= {near, far}
                    if refused:
                        _cut(near)
                self._start(self._serve, near, far)

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=self._pass_on, args=(far, near), name="cutting-proxy", daemon=True)
        back.start()
        self._pass_on(near, far)
        back.join()
        with self._lock:
            self._ends -= {near, far}
        near.close()
        far.close()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        """Copy until the source ends, then tell the target so; an error ends both."""
        try:
            while data := source.recv(65536):
                self._flowing.wait()
                target.sendall(self._counted(data))
            target.shutdown(socket.SHUT_WR)
        except OSError:
            _cut(source)
            _cut(target)

    def _counted(self, data: bytes) -> bytes:
        """What of ``data`` may still pass; the last byte that may cuts every connection."""
        with self._lock:
            passed = data if self._left is None else data[: self._left]
            self.passed += len(passed)
            if self._left is None:
                return passed
            self._left -= len(passed)
            over = self._left == 0
        if over:
            self.refuse()
        return passed


def _cut(end: socket.socket) -> None:
    """Wake whoever waits for this socket, and end it for both sides; whoever serves it closes it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
