"""A bounded number of connections to one HTTP server, and one request with its answer over each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

from adapters.slots import Slots
from adapters.web_connection import WebConnection
from adapters.web_errors import BodyCut
from adapters.web_settings import Origin

#: How many idle connections are kept, and for how long.
SPARE = 4
IDLE_S = 30.0


class Exchange:
    """One request and its answer, over a connection that is its own until ``close``.

    ``send`` and ``send_chunk`` send a body piece by piece, ``finish`` waits for the answer; then ``read`` reads it.
    """

    def __init__(self, client: WebClient, connection: WebConnection) -> None:
        self._client = client
        self._connection: WebConnection | None = connection
        self.status = 0

    @property
    def connection(self) -> WebConnection:
        assert self._connection is not None, "nothing is asked after close"
        return self._connection

    def send(self, data: bytes | bytearray | memoryview) -> None:
        self.connection.send(data)

    def send_chunk(self, data: bytes | bytearray | memoryview) -> None:
        """One chunk of a body of unknown length (RFC 9112, section 7.1); an empty one ends it."""
        self.connection.send(b"%x\r\n" % len(data))
        self.connection.send(data)
        self.connection.send(b"\r\n")

    def finish(self, *statuses: int) -> Self:
        """Wait for the answer. Raises HttpRefusal where it has none of these statuses."""
        self._answer = self.connection.answer()
        self.status = self._answer.status
        self.connection.expect(statuses)
        return self

    def header(self, name: str) -> str:
        """Its value as text; empty where it is missing."""
        return (self._answer.getheader(name) or "").strip()

    def time(self, name: str) -> datetime | None:
        """A header's date, aware; None where there is none."""
        return http_time(self.header(name))

    def length(self) -> int | None:
        """The length of the answer's body as its head tells it, for HEAD that of what GET would bring."""
        text = self.header("Content-Length")
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else None

    def read(self, max_bytes: int) -> bytes:
        """Empty at the end. Raises BodyCut where fewer bytes came than the head said."""
        left = self._answer.length
        data = self._answer.read(max_bytes)
        if not data and max_bytes and left:
            raise BodyCut(f"{left} bytes are missing")
        return data

    def close(self) -> None:
        """Give the connection back, or drop it where more than a little of the answer was not read. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.give_back(connection)

    def break_off(self) -> None:
        """End a body before its length, wait a little for the server to be done with it, and drop the connection."""
        if self._connection is not None:
            self._connection.break_off()
            self.drop()

    def drop(self) -> None:
        """End the connection, whatever it was doing. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class WebClient:
    """Thread-safe. At most ``max_connections`` connections exist; each belongs to one exchange at a time."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._slots = Slots(origin.max_connections, storage=origin.storage, wait_s=origin.connect_timeout_s)
        self._lock = threading.Lock()
        self._idle: list[WebConnection] = []
        self._closed = False

    def begin(self, method: str, path: str, headers: Mapping[str, str], *, patience_s: float = 0) -> Exchange:
        """Send the head of a request for an encoded path. Raises what connections raise, and Busy."""
        exchange = Exchange(self, self._take())
        try:
            exchange.connection.begin(method, path, headers, patience_s=patience_s)
        except BaseException:
            exchange.drop()
            raise
        return exchange

    @contextmanager
    def asking(
        self,
        method: str,
        path: str,
        *statuses: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | bytearray | None = None,
        patience_s: float = 0,
    ) -> Iterator[Exchange]:
        """One request with its answer for the block. Raises what connections raise, and HttpRefusal by the status."""
        length = {} if body is None else {"Content-Length": str(len(body))}
        with self.begin(method, path, {**length, **(headers or {})}, patience_s=patience_s) as exchange:
            if body:
                exchange.send(body)
            yield exchange.finish(*statuses)

    def tell(
        self,
        method: str,
        path: str,
        *statuses: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | bytearray | None = None,
        patience_s: float = 0,
    ) -> None:
        """The same where nothing but the status of the answer is of interest."""
        with self.asking(method, path, *statuses, headers=headers, body=body, patience_s=patience_s):
            pass

    def give_back(self, connection: WebConnection) -> None:
        """Keep the connection for the next user, or close it where it cannot be used again or enough are kept."""
        try:
            if not (connection.settle() and self._keep(connection)):
                connection.close()
        finally:
            self._slots.give_back()

    def close(self) -> None:
        """Close the idle connections, and from now on every other one when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> WebConnection:
        self._slots.take()
        try:
            while (connection := self._pop()) is not None:
                if time.monotonic() - connection.idle_since < IDLE_S and connection.is_quiet():
                    return connection
                connection.close()
            return WebConnection(self.origin)
        except BaseException:
            self._slots.give_back()
            raise

    def _pop(self) -> WebConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, connection: WebConnection) -> bool:
        connection.rest()
        with self._lock:
            if self._closed or len(self._idle) >= SPARE:
                return False
            self._idle.append(connection)
            return True


def http_time(text: str) -> datetime | None:
    """The aware time that HTTP writes like ``Thu, 26 Nov 2026 09:31:37 GMT``; None for anything else."""
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else None
