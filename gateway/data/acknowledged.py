"""Acknowledgements: how many bytes of an answer's body have reached its client, as the kernel knows."""

import fcntl
import select
import socket
import ssl
import struct
import sys
import termios
import time
from collections.abc import Mapping
from typing import Any

#: How long a client that has been sent everything may receive nothing of it.
PATIENCE_S = 5.0
_POLL_S = 0.01
#: Where ``tcpi_bytes_acked`` stands in ``struct tcp_info``, which only ever grows at its end.
_BYTES_ACKED = 120


class Acknowledged:
    """Of one answer, on a connection over TCP; on others it is what was handed to them."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        connection: socket.socket | None = environ.get("gunicorn.socket")
        is_tcp = connection is not None and connection.family != socket.AF_UNIX
        self._connection = connection if is_tcp else None
        self._before: int | None = None

    def begin(self) -> None:
        """The header is out, and nothing of the body is."""
        if self._connection is not None:
            self._before = _acknowledged(self._connection) + _unacknowledged(self._connection)

    def count(self, sent: int) -> int:
        """How many bytes of the body the client has received, once it has had a moment for that.

        What was handed to the kernel may still be lost with the connection (``SIOCOUTQ``, tcp(7)), and of a piece whose
        sending failed nobody else knows how far it came.
        """
        if self._connection is None or self._before is None:
            return sent
        self._wait(self._connection)
        if isinstance(self._connection, ssl.SSLSocket):  # The kernel counts more than the body there.
            return max(0, sent - _unacknowledged(self._connection))
        return max(0, _acknowledged(self._connection) - self._before)

    def _wait(self, connection: socket.socket) -> None:
        ends = select.poll()
        ends.register(connection, 0)  # Only whether the connection is gone, which poll always tells.
        least, until, is_gone = sys.maxsize, time.monotonic() + PATIENCE_S, False
        while True:
            left = _unacknowledged(connection)
            if left < least:
                least, until = left, time.monotonic() + PATIENCE_S
            if not left or is_gone or time.monotonic() > until:
                return
            is_gone = bool(ends.poll(_POLL_S * 1000))


def _unacknowledged(connection: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4), sys.byteorder)


def _acknowledged(connection: socket.socket) -> int:
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
    return int(struct.unpack_from("=Q", told, _BYTES_ACKED)[0])
