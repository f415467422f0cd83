"""One connection to an HTTP server: requests whose bodies are sent piece by piece, and answers read the same way."""

from __future__ import annotations

import http.client
import select
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from adapters import uploading
from adapters.web_errors import HttpRefusal
from adapters.web_settings import Origin

#: What is read of an answer that nobody wants, so that its connection can be used again.
_MOST_UNWANTED_BYTES = 64 * 1024
_UNWANTED_WITHIN_S = 0.5
#: How long a server is waited for that was told to stop.
_DONE_WITHIN_S = 2.0


class WebConnection:
    """Connected and, with TLS, verified. Raises what ``http.client``, sockets and TLS raise.

    Sending and receiving must make some progress within ``stall_timeout_s``; a whole body may take any time. Nothing
    is asked twice, no redirect is followed and no proxy of the environment is used.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._http = (
            http.client.HTTPSConnection(origin.host, origin.port, timeout=origin.connect_timeout_s, context=origin.tls)
            if origin.tls is not None
            else http.client.HTTPConnection(origin.host, origin.port, timeout=origin.connect_timeout_s)
        )
        self._http.auto_open = 0  # A lost connection is told, and never made anew behind our back.
        self._answer: http.client.HTTPResponse | None = None
        self._method = ""
        self._was_cut_short = False
        self.idle_since = 0.0
        try:
            self._http.connect()
            self._http.sock.settimeout(origin.stall_timeout_s)
        except BaseException:
            self.close()
            raise

    def begin(self, method: str, path: str, headers: Mapping[str, str], *, patience_s: float = 0) -> None:
        """Send the head of a request. ``patience_s`` is added to the time in which the server may say nothing."""
        self._method, self._answer = method, None
        self._http.sock.settimeout(self._origin.stall_timeout_s + patience_s)
        self._http.putrequest(method, path, skip_accept_encoding=True)
        common = {"User-Agent": "waybill", "Accept-Encoding": "identity"}
        if self._origin.authorization:
            common["Authorization"] = self._origin.authorization
        for name, value in {**common, **headers}.items():
            self._http.putheader(name, value)
        self._http.endheaders()

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send a piece of the body. A server that refuses early is heard: HttpRefusal."""
        uploading.send(self._socket, data, hear=self._hear_refusal)

    def may_go_on(self) -> bool:
        """As ``uploading.may_go_on``."""
        return uploading.may_go_on(self._socket)

    def break_off(self) -> None:
        """End a body before its length, and wait a little until the server has done with it: it answers, or closes."""
        with suppress(OSError, http.client.HTTPException):
            self._socket.settimeout(min(_DONE_WITHIN_S, self._origin.stall_timeout_s))
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.recv(1)

    def answer(self) -> http.client.HTTPResponse:
        """Wait for the answer's head. Its body is read from it, or left to ``settle``."""
        self._answer = self._http.getresponse()
        return self._answer

    def expect(self, statuses: tuple[int, ...]) -> None:
        """Raises HttpRefusal where the answer has none of these statuses."""
        answer = self._answer
        assert answer is not None, "an answer is looked at when it is there"
        if answer.status not in statuses:
            location = answer.getheader("Location") or "" if 300 <= answer.status < 400 else ""
            raise HttpRefusal(answer.status, self._words(answer), location=location)

    def settle(self) -> bool:
        """Read what is left of a short answer that comes at once; whether the connection can then be used again."""
        answer = self._answer
        if answer is None or self._http.sock is None or self._was_cut_short:
            return False
        if not answer.isclosed() and (answer.chunked or (answer.length or 0) <= _MOST_UNWANTED_BYTES):
            left, deadline = _MOST_UNWANTED_BYTES, time.monotonic() + _UNWANTED_WITHIN_S
            with suppress(OSError, http.client.HTTPException):
                self._socket.settimeout(_UNWANTED_WITHIN_S)
                while left > 0 and answer.length != 0 and time.monotonic() < deadline:
                    piece = answer.read1(left)
                    if not piece:
                        break
                    left -= len(piece)
        is_whole = answer.isclosed() or answer.length == 0
        answer.close()
        return is_whole and not answer.will_close

    def is_quiet(self) -> bool:
        """Whether an idle connection is still open: one that was closed, or talks out of turn, can be read from."""
        if self._http.sock is None:
            return False
        poll = select.poll()
        poll.register(self._http.sock, select.POLLIN)
        return not poll.poll(0)

    def rest(self) -> None:
        self.idle_since = time.monotonic()
        self._answer = None

    def close(self) -> None:
        """Idempotent."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()
        self._http.close()

    @property
    def _socket(self) -> socket.socket:
        """Gone as soon as the head of an answer came after which the server closes."""
        if self._http.sock is None:
            raise http.client.NotConnected
        found: socket.socket = self._http.sock
        return found

    def _hear_refusal(self) -> None:
        self._was_cut_short = True
        self.answer()
        self.expect(())

    def _words(self, answer: http.client.HTTPResponse) -> str:
        reason = "".join(letter for letter in answer.reason[:80] if letter.isprintable())
        words = f"{self._method} was answered {answer.status} {reason}".rstrip()
        if 300 <= answer.status < 400:
            target = split_location(answer.getheader("Location") or "")
            where = f"{target.scheme or self._origin.scheme}://{target.hostname or self._origin.host}"
            return f"{words}: redirects (here to {where}) are not followed; register the address itself"
        if answer.status == 401:
            asked = (answer.getheader("WWW-Authenticate") or "nothing").split(" ")[0][:20]
            return (
                f"{words}: the server wants {asked if asked.isalnum() else 'another scheme'}, we speak Basic and Bearer"
            )
        return words


def split_location(text: str) -> SplitResult:
    """The parts of an address that a server wrote; all empty where it is none."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")
