"""One PUT of a known number of bytes to a signed URL, sent piece by piece: no piece is held and nothing is copied."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

_MOST_OF_AN_ERROR = 64 * 1024


class SignedPut:
    """Raises what ``http.client`` and sockets raise, and botocore's ClientError for an answer that is an error.

    Each send and the answer must make some progress within ``stall_timeout_s``; the whole may take any time.
    """

    def __init__(
        self,
        url: str,
        size: int,
        *,
        operation: str,
        headers: Mapping[str, str],
        tls: ssl.SSLContext,
        connect_timeout_s: float,
        stall_timeout_s: float,
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        self._operation = operation
        self._connection = (
            http.client.HTTPSConnection(host, parts.port, timeout=connect_timeout_s, context=tls)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, parts.port, timeout=connect_timeout_s)
        )
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            self._socket.settimeout(stall_timeout_s)
            self._connection.putrequest("PUT", f"{parts.path}?{parts.query}", skip_accept_encoding=True)
            for name, value in {"Content-Length": str(size), **headers}.items():
                self._connection.putheader(name, value)
            self._connection.endheaders()
        except BaseException:
            self.close()
            raise

    def may_go_on(self) -> bool:
        """Wait for the ``100 Continue`` that a request with ``Expect`` gets once its headers were looked at.

        False where the server does not say so in time, or answers for good at once.
        """
        head = b""
        try:
            while not head.endswith(b"\r\n\r\n") and len(head) < _MOST_OF_AN_ERROR:
                piece = self._socket.recv(1)
                if not piece:
                    return False
                head += piece
        except TimeoutError:
            return False
        return head.split(b" ", 2)[1:2] == [b"100"]

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send a piece of the body. A server that refuses early is heard."""
        left = memoryview(data)
        try:
            # Not sendall, whose time limit is for all of the data and not for making progress.
            while left:
                left = left[self._socket.send(left) :]
        except (BrokenPipeError, ConnectionResetError):
            # What the server said before it closed is why; the broken pipe is only the consequence.
            with suppress(OSError, http.client.HTTPException):
                self.finish()
            raise

    def finish(self) -> str:
        """Wait for the answer to a body that was sent whole; returns the ETag, without its quotes."""
        try:
            answer = self._connection.getresponse()
            if answer.status != 200:
                raise _refusal(self._operation, answer.status, answer.read(_MOST_OF_AN_ERROR))
            answer.read()
            return (answer.getheader("ETag") or "").strip('"')
        finally:
            self.close()

    def close(self) -> None:
        """Drop the connection; a server drops a body that is not whole by then. Idempotent."""
        self._connection.close()


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
