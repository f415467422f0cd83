"""One request to a signed URL, its body sent or read piece by piece: no piece is held and nothing is copied."""

from __future__ import annotations

import base64
import http.client
import re
import select
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from isal import isal_zlib

from adapters import uploading
from adapters.pool import Pool

CHECKSUM_TRAILER = "x-amz-checksum-crc32"

_MOST_OF_AN_ERROR = 64 * 1024
#: What servers read as one chunk; some hold it whole.
_FRAME_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """What a server says of what it has just stored: the ETag, empty for none, and the time, which few tell.

    It is ``proven`` where the server has compared a sum of all its bytes with ours.
    """

    etag: str
    modified: datetime | None = None
    proven: bool = False


class KeptConnection:
    """A connection on which one request follows another, for ``adapters.pool``."""

    def __init__(self, url: str, *, tls: ssl.SSLContext, connect_timeout_s: float, stall_timeout_s: float) -> None:
        """Connects to the server of ``url``. Raises what ``http.client`` and sockets raise."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        self.idle_since = 0.0
        self.http = (
            http.client.HTTPSConnection(host, parts.port, timeout=connect_timeout_s, context=tls)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, parts.port, timeout=connect_timeout_s)
        )
        try:
            self.http.connect()
        except BaseException:
            self.close()
            raise
        self.http.sock.settimeout(stall_timeout_s)

    @property
    def usable(self) -> bool:
        """Whether it is open and silent: a server that closed it, or says what nobody asked for, is no use."""
        return self.http.sock is not None and not select.select([self.http.sock], [], [], 0)[0]

    def answers(self) -> bool:
        return self.usable

    def close(self) -> None:
        self.http.close()


class SignedRequest:
    """Raises what ``http.client`` and sockets raise, and botocore's ClientError for an answer that is an error.

    Each send and each read must make some progress within the connection's time limit; the whole may take any time.
    """

    def __init__(
        self, pool: Pool[KeptConnection], method: str, url: str, *, operation: str, headers: Mapping[str, str]
    ) -> None:
        parts = urlsplit(url)
        self._operation = operation
        self._pool = pool
        self._taken: KeptConnection | None = pool.take()
        self._http = self._taken.http
        self._socket = self._http.sock
        try:
            self._http.putrequest(method, f"{parts.path}?{parts.query}", skip_accept_encoding=True)
            for name, value in headers.items():
                self._http.putheader(name, value)
            self._http.endheaders()
        except BaseException:
            self.close()
            raise

    def interrupt(self) -> None:
        """Wake the thread that is in this request: it fails there. For other threads; ``close`` is left to that one."""
        with suppress(OSError):
            # The plain socket's, below TLS: nothing that the thread is using is taken from it.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connection unless it was given back; a server drops a body that is not whole by then. Idempotent."""
        if self._taken is not None:
            self._taken.close()
            self._give_back()

    def _answer(self, *expected: int) -> http.client.HTTPResponse:
        answer = self._http.getresponse()
        if answer.status not in expected:
            raise _refusal(self._operation, answer.status, answer.read(_MOST_OF_AN_ERROR))
        return answer

    def _give_back(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            self._pool.give_back(taken)


class SignedGet(SignedRequest):
    """``answer`` is the answer, whose body ``read`` returns."""

    def __init__(self, pool: Pool[KeptConnection], url: str, *, operation: str, headers: Mapping[str, str]) -> None:
        super().__init__(pool, "GET", url, operation=operation, headers=headers)
        try:
            self.answer = self._answer(200, 206)
        except BaseException:
            self.close()
            raise

    def read(self, max_bytes: int) -> bytes:
        """At least one byte, or ``b""`` at the end, whether the body was whole or not."""
        data = self.answer.read(max_bytes)
        if self.answer.isclosed():
            self._give_back()
        return data


class SignedPut(SignedRequest):
    @property
    def checksum(self) -> str:
        """The sum of the body that was sent with it, in base64; empty for none."""
        return ""

    def __init__(
        self, pool: Pool[KeptConnection], url: str, size: int, *, operation: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(pool, "PUT", url, operation=operation, headers={"Content-Length": str(size), **headers})
        self._left = size

    def may_go_on(self) -> bool:
        """As ``uploading.may_go_on``."""
        return uploading.may_go_on(self._socket)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send a piece of the body. A server that refuses early is heard."""
        self._left -= len(data)
        uploading.send(self._socket, data, hear=self.finish)

    def finish(self) -> Stored:
        """Wait for the answer to a body that was sent whole."""
        try:
            answer = self._answer(200)
            answer.read()
            modified = time_of(answer.getheader("Last-Modified"))
            stored = Stored((answer.getheader("ETag") or "").strip('"'), modified)
            if not self._left:
                self._give_back()
            return stored
        finally:
            self.close()


class CheckedPut(SignedPut):
    """A PUT in chunks, whose last line tells the CRC-32 of the body: a server that knows of it refuses other bytes.

    The framing is ``aws-chunked`` with a trailer, as in Amazon's "Signature calculations: transferring payload in
    multiple chunks". ``spoiled`` sends a wrong sum.
    """

    def __init__(
        self,
        pool: Pool[KeptConnection],
        url: str,
        size: int,
        *,
        operation: str,
        headers: Mapping[str, str],
        spoiled: bool = False,
    ) -> None:
        self._unsent = size
        self._room = 0  # bytes still missing from the chunk that was begun
        self._crc = int(spoiled)
        super().__init__(pool, url, _framed_bytes(size), operation=operation, headers=headers)
        self._lead = b""

    def send(self, data: bytes | bytearray | memoryview) -> None:
        left = memoryview(data)
        while left:
            if not self._room:
                self._room = min(_FRAME_BYTES, self._unsent)
                super().send(b"%s%x\r\n" % (self._lead, self._room))
                self._lead = b"\r\n"
            piece = left[: self._room]
            self._crc = isal_zlib.crc32(piece, self._crc)
            super().send(piece)
            self._room -= len(piece)
            self._unsent -= len(piece)
            left = left[len(piece) :]
        if not self._unsent:
            super().send(b"\r\n0\r\n%s:%s\r\n\r\n" % (CHECKSUM_TRAILER.encode(), self.checksum.encode()))

    @property
    def checksum(self) -> str:
        return base64.b64encode(self._crc.to_bytes(4, "big")).decode()


def _framed_bytes(size: int) -> int:
    full, rest = divmod(size, _FRAME_BYTES)
    chunks = [_FRAME_BYTES] * bool(full) + [rest] * bool(rest)
    lengths = {chunk: len(b"%x\r\n\r\n" % chunk) for chunk in chunks}
    trailer = len("0\r\n") + len(CHECKSUM_TRAILER) + len(":AAAAAA==\r\n\r\n")
    return size + full * lengths.get(_FRAME_BYTES, 0) + (lengths[rest] if rest else 0) + trailer


def time_of(told: str | None) -> datetime | None:
    with suppress(ValueError):
        return parsedate_to_datetime(told) if told else None
    return None


def _refusal(operation: str, status: int, body: bytes) -> ClientError:
    found = {tag: re.search(f"<{tag}>([^<]*)</{tag}>".encode(), body) for tag in ("Code", "Message")}
    words = {tag: match[1].decode(errors="replace") if match else "" for tag, match in found.items()}
    return ClientError(
        {
            "Error": {"Code": words["Code"] or str(status), "Message": words["Message"]},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]
        },
        operation,
    )
