"""A body on the socket of an HTTP request: the server is asked first, and heard where it refuses in the middle."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from contextlib import suppress

_MOST_OF_A_HEAD = 64 * 1024


def may_go_on(line: socket.socket) -> bool:
    """Wait for the ``100 Continue`` that a request with ``Expect`` gets once its head was looked at.

    False where the server does not say so in time, or answers for good at once.
    """
    head = b""
    try:
        while not head.endswith(b"\r\n\r\n") and len(head) < _MOST_OF_A_HEAD:
            piece = line.recv(1)
            if not piece:
                return False
            head += piece
    except TimeoutError:
        return False
    return head.split(b" ", 2)[1:2] == [b"100"]


def send(line: socket.socket, data: bytes | bytearray | memoryview, *, hear: Callable[[], object]) -> None:
    """Send a piece of the body. Where the server has closed, ``hear`` may raise what it said before that."""
    left = memoryview(data).cast("B")
    try:
        # Not sendall, whose time limit is for all of the data and not for making progress.
        while left:
            left = left[line.send(left) :]
    except (BrokenPipeError, ConnectionResetError):
        # What the server said before it closed is why; the broken pipe is only the consequence.
        with suppress(OSError, http.client.HTTPException):
            hear()
        raise
