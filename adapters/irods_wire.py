"""The driver's connection with our time limits and bounds: how its messages are sent and received."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from irods.account import iRODSAccount
from irods.connection import Connection
from irods.exception import UnknowniRODSError, get_exception_by_code
from irods.message import ET, XML_Parser_Type, iRODSMessage
from irods.pool import Pool

from adapters.irods_errors import NotEncrypted, ProtocolBroken
from adapters.irods_settings import REQUIRE_TLS

#: No header is longer; the servers' own bound is not much above a kilobyte.
_MAX_HEADER_BYTES = 64 * 1024
#: No message is longer: a page of a query is 256 rows.
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_NUMBERS = ("msgLen", "errorLen", "bsLen", "intInfo")
#: Not allowed in XML. Servers pass on names that hold such characters; DEL makes a name of them that is never a key.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Wire(Connection):  # type: ignore[misc]  # The driver has no type hints.
    """A connection that is logged in when it is made, for one thread at a time.

    Connecting ends after ``connect_timeout_s``; later ``stall_timeout_s`` limits the time in which no byte moves. The
    driver's own sending counts a time limit from the first byte to the last, its own receiving never ends where the
    server hangs up in the middle of data, and both log what they carry; therefore these are ours. Nothing here follows
    the server to another address: the driver redirects only in calls that are not used.
    """

    socket: Any
    _patience_s = 0.0

    def __init__(
        self,
        account: iRODSAccount,
        *,
        connect_timeout_s: float,
        stall_timeout_s: float,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``tell`` is told once what was found when the server was reached, before we log in."""
        self._tell = tell
        self._policy = account.client_server_policy
        self._deadline: float | None = time.monotonic() + connect_timeout_s
        self._stall_timeout_s = stall_timeout_s
        pool = Pool(account)
        pool.application_name = "waybill"
        pool.connection_timeout = connect_timeout_s
        try:
            super().__init__(pool, account)
        except BaseException:
            self.cut()
            raise
        self._deadline = None
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wait_longer(self, patience_s: float) -> None:
        """Let the next silence last this much longer than ``stall_timeout_s``; 0 takes it back."""
        self._patience_s = patience_s

    def cut(self) -> None:
        """Close the socket without a word. Idempotent."""
        open_socket, self.socket = self.socket, None
        self._disconnected = True
        if open_socket is not None:
            open_socket.close()

    def hang_up(self) -> None:
        """End the connection under whoever uses it, from any thread; the socket stays theirs to close."""
        using = self.socket
        if using is not None:
            with suppress(OSError):  # It has ended, which was wanted.
                # Not SSLSocket.shutdown, which would begin to take the encryption off under the other thread.
                socket.socket.shutdown(using, socket.SHUT_RDWR)

    def disconnect(self) -> None:
        """Say goodbye, and close without waiting for the server's. Idempotent; the driver's logins call it too."""
        if self.socket is not None:
            with suppress(OSError):  # Nobody may be there to be told.
                self.send(iRODSMessage("RODS_DISCONNECT"))
        self.cut()

    def send(self, message: iRODSMessage) -> None:
        body = message.msg.pack().encode() if message.msg else b""
        error = message.encode_unicode(message.error or b"")
        data = memoryview(message.bs or b"").cast("B")
        header = message.pack_header(message.msg_type, len(body), len(error), len(data), message.int_info)
        self._send_all(memoryview(header + body + error))
        self._send_all(data)

    def recv(self, into_buffer: memoryview | None = None) -> iRODSMessage:
        """The next message; its byte stream lies in ``into_buffer``, as whose beginning ``bs`` is given."""
        parse = cast(Any, ET(XML_Parser_Type.SECURE_XML)).fromstring
        size = int.from_bytes(self._take(4), "big")
        if not 0 < size <= _MAX_HEADER_BYTES:
            raise ProtocolBroken(f"a header of {size} bytes")
        header = parse(self._take(size))
        kind = header.findtext("type", "")
        message, error, data, info = (int(header.findtext(name, "0")) for name in _NUMBERS)
        room = 0 if into_buffer is None else len(into_buffer)
        if not (0 <= message <= _MAX_MESSAGE_BYTES and 0 <= error <= _MAX_MESSAGE_BYTES and 0 <= data <= room):
            raise ProtocolBroken(f"a message of {message}, {error} and {data} bytes")
        body = _readable(self._take(message)) if message else None
        told = _readable(self._take(error)) if error else None
        taken = memoryview(b"") if into_buffer is None else into_buffer[:data]
        self._fill(taken)
        if info < 0:
            raise _error(info)
        return iRODSMessage(kind, body, told, taken, info)

    def _connect(self) -> object:
        version = super()._connect()
        encrypted = isinstance(self.socket, ssl.SSLSocket)
        if self._policy == REQUIRE_TLS and not encrypted:
            raise NotEncrypted
        how = self.socket.version() if isinstance(self.socket, ssl.SSLSocket) else "no TLS"
        tell, self._tell = self._tell, lambda _: None
        tell(f"{self.account.host}:{self.account.port} is iRODS {version.relVersion.removeprefix('rods')}, {how}")
        return cast(object, version)

    def _limit_silence(self) -> None:
        if self._deadline is None:
            self.socket.settimeout(self._stall_timeout_s + self._patience_s)
            return
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.socket.settimeout(left_s)

    def _send_all(self, data: memoryview) -> None:
        while data:
            self._limit_silence()
            data = data[self.socket.send(data) :]

    def _take(self, count: int) -> bytes:
        data = bytearray(count)
        self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, room: memoryview) -> None:
        while room:
            self._limit_silence()
            count = self.socket.recv_into(room)
            if not count:
                raise EOFError("the server closed the connection")
            room = room[count:]


def _readable(message: bytes) -> bytes:
    return _NOT_XML.sub("\x7f", message.decode(errors="surrogateescape")).encode()


def _error(code: int) -> Exception:
    try:
        return cast(Exception, get_exception_by_code(code))
    except KeyError:
        unknown = UnknowniRODSError()
        unknown.code = code
        return cast(Exception, unknown)
