"""The body of a request: counted, in large chunks, straight from ``wsgi.input``; nothing else touches that."""

import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from gateway.refusals import LengthRequired
from staging.errors import BodyIncomplete, InvalidRequest

#: Small reads cost a wake-up each when what is left of a refused body is thrown away.
DRAIN_CHUNK_BYTES = 256 * 1024


class RequestBody:
    """The bytes a client sends. ``size`` is the declared length, or None for chunked coding.

    ``read`` returns ``b""`` only at the body's true end and raises BodyIncomplete when the client stops before it, or
    sends nothing for ``CLIENT_STALL_S``. A chunked body that breaks off ends in an exception of the server's reader,
    a body of known length in a silent end of file; both are BodyIncomplete here.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._input = environ["wsgi.input"]
        self.size = _declared(environ)
        self.taken = 0
        self._ended = False

    def read(self, max_bytes: int) -> bytes:
        if self._ended:
            return b""
        wanted = max_bytes if self.size is None else min(max_bytes, self.size - self.taken)
        try:
            chunk: bytes = self._input.read(wanted) if wanted else b""
        except Exception as exc:
            raise BodyIncomplete(f"The body broke off after {self.taken} bytes ({type(exc).__name__}).") from exc
        self.taken += len(chunk)
        self._ended = not chunk
        if not chunk and self.size is not None and self.taken < self.size:
            raise BodyIncomplete(f"{self.taken} of {self.size} bytes came.")
        return chunk

    def drain(self, *, seconds: float) -> bool:
        """Throw away what a refused client still sends, so that it reads our answer and not a reset connection.

        Returns whether the body was read to its end within about ``seconds``.
        """
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                if not self.read(DRAIN_CHUNK_BYTES):
                    return True
        except BodyIncomplete:
            return False
        return False


def limit_stalls(environ: Mapping[str, Any]) -> None:
    """Let the kernel end a read or write of the client's connection on which no byte moves for ``CLIENT_STALL_S``.

    A timeout of Python's own would not do: for ``sendall`` it bounds the whole call, so a slow client would be cut off.
    """
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        timeval = struct.pack("ll", settings.CLIENT_STALL_S, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


def _declared(environ: Mapping[str, Any]) -> int | None:
    if environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower() == "chunked":
        return None
    declared = environ.get("CONTENT_LENGTH") or ""
    if not declared:
        raise LengthRequired
    if not (declared.isascii() and declared.isdigit()):
        raise InvalidRequest("Content-Length is not a whole number.")
    return int(declared)
