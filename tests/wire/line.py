"""One raw HTTP/1.1 connection, so that tests see every byte and the connection's fate; and the paths of aliases."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self


class LineCut(ConnectionError):
    """The server closed the connection before the answer was whole; ``body`` is what came of it."""

    def __init__(self, head: str, body: bytes) -> None:
        super().__init__(f"{len(body)} bytes of a body after {head.splitlines()[:1]}")
        self.head, self.body = head, body


@dataclass(frozen=True)
class Answer:
    """A whole answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __getitem__(self, header: str) -> str:
        return self.headers[header.lower()]

    @property
    def code(self) -> str:
        """The error code, empty where there is none."""
        return self.headers.get("waybill-error-code", "")


class Line:
    """A connection that is kept for as many requests as the server allows."""

    def __init__(self, port: int, *, timeout_s: float = 60, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self._ahead = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def begin(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a request's head and nothing of its body."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_chunks(self, chunks: Iterable[bytes]) -> None:
        """The chunks of a chunked body, and its end."""
        for chunk in chunks:
            self.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.send(b"0\r\n\r\n")

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        chunks: Iterable[bytes] | None = None,
    ) -> Answer:
        """One request and its answer; a body has a Content-Length, chunks have none."""
        framing = {"Content-Length": str(len(body))} if body is not None else {}
        if chunks is not None:
            framing = {"Transfer-Encoding": "chunked"}
        self.begin(method, path, {**framing, **(headers or {})})
        if chunks is not None:
            self.send_chunks(chunks)
        elif body:
            self.send(body)
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer; interim ones are passed over. Raises LineCut."""
        status = 100
        while status < 200:
            head = self._until(b"\r\n\r\n").decode("latin-1")
            first, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
            status = int(first.split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        bodyless = method == "HEAD" or status in (204, 304)
        if bodyless:
            return Answer(status, headers, b"")
        length = int(headers["content-length"])  # Waybill never answers without one.
        while len(self._ahead) < length:
            self._more(head)
        return Answer(status, headers, self._taken(length))

    def wait_for_some(self) -> None:
        """Return once a part of the answer has come."""
        self._more("")

    def is_closed(self) -> bool:
        """Whether the server ends the connection and sends nothing more."""
        try:
            return not self._ahead and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _until(self, end: bytes) -> bytes:
        while end not in self._ahead:
            self._more("")
        return self._taken(self._ahead.index(end) + len(end))

    def _taken(self, count: int) -> bytes:
        taken = bytes(memoryview(self._ahead)[:count])
        del self._ahead[:count]
        return taken

    def _more(self, head: str) -> None:
        try:
            data = self.socket.recv(1024 * 1024)
        except ConnectionResetError:
            data = b""
        if not data:
            raise LineCut(head, bytes(self._ahead))
        self._ahead += data
