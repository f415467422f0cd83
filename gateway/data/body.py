"""The body of a request: counted, in large chunks, straight from ``wsgi.input``; nothing else touches that."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import ParseException
from gunicorn.http.unreader import SocketUnreader

from adapters.base import CHUNK_BYTES
from gateway.refusals import LengthRequired
from staging.errors import BodyIncomplete, InvalidRequest

#: The server's reader returns once it has all it was asked for. Little is asked of a slow client, so that whoever
#: reads can renew a lease in between; small reads of a fast one would only cost time.
LEAST_READ_BYTES = 64 * 1024
SLOW_READ_S = 1.0
#: What the connection and the server's reader raise of a body that breaks off or is malformed. Nothing else is the
#: client's doing, so nothing else may pass for it.
_BROKEN = (OSError, ValueError, ParseException)


class RequestBody:
    """The bytes a client sends. ``size`` is the declared length, or None for chunked coding.

    ``read`` returns ``b""`` only at the body's true end and raises BodyIncomplete when the client stops before it, or
    sends nothing for ``CLIENT_STALL_S``. A chunked body that breaks off ends in an exception of the server's reader,
    a body of known length in a silent end of file; both are BodyIncomplete here.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ
        self._input = environ["wsgi.input"]
        self._reader = _plain_reader(self._input)
        self.size = _declared(environ)
        self.taken = 0
        self._ended = False
        self._at_once = LEAST_READ_BYTES

    def read(self, max_bytes: int) -> bytes:
        if self._ended:
            return b""
        wanted = min(max_bytes, self._at_once)
        if self.size is not None:
            wanted = min(wanted, self.size - self.taken)
        began = time.monotonic()
        try:
            chunk = self._take(wanted) if wanted else b""
        except _BROKEN as exc:
            raise BodyIncomplete(f"The body broke off after {self.taken} bytes ({type(exc).__name__}).") from exc
        is_slow = time.monotonic() - began > SLOW_READ_S
        self._at_once = LEAST_READ_BYTES if is_slow else min(self._at_once * 4, max(max_bytes, LEAST_READ_BYTES))
        self.taken += len(chunk)
        self._ended = not chunk
        if not chunk and self.size is not None and self.taken < self.size:
            raise BodyIncomplete(f"{self.taken} of {self.size} bytes came.")
        return chunk

    def _take(self, wanted: int) -> bytes:
        """The next bytes, ``wanted`` or fewer.

        gunicorn's reader copies what it receives twice. A body of known length is therefore received here as soon as
        nothing of it is buffered, and counted off where gunicorn looks for the start of the next request.
        """
        if self._reader is None:
            return bytes(self._input.read(wanted))
        buffered = self._reader.unreader.buf.getbuffer().nbytes
        if buffered:
            return bytes(self._reader.read(min(wanted, buffered)))
        try:
            chunk: bytes = self._reader.unreader.sock.recv(min(wanted, self._reader.length), socket.MSG_WAITALL)
        except OSError:
            self._input.failed = True  # gunicorn closes the connection then.
            raise
        self._reader.length -= len(chunk)
        return chunk

    def drain(self, *, seconds: float) -> None:
        """Throw away what a refused client still sends, so that it reads our answer and not a reset connection.

        After ``seconds`` no more is waited for, not even by a read that has begun.
        """
        deadline, watch = time.monotonic() + seconds, threading.Timer(seconds, stop_reading, [self._environ])
        watch.daemon = True
        watch.start()
        with contextlib.suppress(BodyIncomplete):
            while self.read(CHUNK_BYTES) and time.monotonic() < deadline:
                pass
        watch.cancel()


def limit_stalls(environ: Mapping[str, Any]) -> None:
    """End a read or write of the client's connection on which no byte moves for ``CLIENT_STALL_S``.

    The kernel does it. Python's own timeout bounds the whole of a ``sendall``, and every timeout of a write counts the
    time until a good part of the send buffer is free: both would cut off a client that is merely slow.
    """
    connection: socket.socket | None = environ.get("gunicorn.socket")
    if connection is not None:
        timeval = struct.pack("ll", settings.CLIENT_STALL_S, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, settings.CLIENT_STALL_S * 1000)


def stop_reading(environ: Mapping[str, Any]) -> None:
    """Take no more from a refused client; the server then closes the connection."""
    connection: socket.socket | None = environ.get("gunicorn.socket")
    if connection is not None:
        with contextlib.suppress(OSError):  # The client is gone already.
            connection.shutdown(socket.SHUT_RD)


def let_go(environ: Mapping[str, Any]) -> socket.socket | None:
    """Take the connection away from the server, whose answer is out; it takes it for closed then.

    Closing it itself, the server's main thread would wait up to two seconds for the client.
    """
    connection: socket.socket | None = environ.get("gunicorn.socket")
    if connection is None:
        return None
    environ["wsgi.input"].failed = True
    return socket.socket(fileno=connection.detach())


def is_stream(environ: Mapping[str, Any]) -> bool:
    """Whether the body comes in chunked coding, so that its length is not known before its end."""
    return bool(environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower() == "chunked")


def _plain_reader(body: Any) -> LengthReader | None:
    """gunicorn's reader of a body of known length on a connection without TLS; None for any other body."""
    reader = getattr(body, "reader", None)
    if not isinstance(reader, LengthReader) or not isinstance(reader.unreader, SocketUnreader):
        return None
    return None if isinstance(reader.unreader.sock, ssl.SSLSocket) else reader


def _declared(environ: Mapping[str, Any]) -> int | None:
    if is_stream(environ):
        return None
    declared = environ.get("CONTENT_LENGTH") or ""
    if not declared:
        raise LengthRequired
    if not (declared.isascii() and declared.isdigit()):
        raise InvalidRequest("Content-Length is not a whole number.")
    return int(declared)
