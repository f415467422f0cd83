"""Frames between Waybill and a gfal2 process: a small JSON head and raw bytes, over one socket pair."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

#: The most raw bytes in one frame, and so what one call moves at most.
PIECE_BYTES = 4 * 1024 * 1024

_SIZES = struct.Struct(">II")

Head = dict[str, Any]


def send(line: socket.socket, head: Mapping[str, object], body: bytes | memoryview = b"") -> None:
    """Raises OSError where the other side has gone, TimeoutError where it takes no more within the line's limit."""
    text = json.dumps(head).encode()
    line.sendall(_SIZES.pack(len(text), len(body)) + text)
    if body:
        line.sendall(body)


def receive(line: socket.socket) -> tuple[Head, memoryview]:
    """The next frame. Raises EOFError or OSError where the other side has gone, TimeoutError as ``send`` does."""
    text_bytes, body_bytes = _SIZES.unpack(_exactly(line, _SIZES.size))
    head: Head = json.loads(bytes(_exactly(line, text_bytes)))
    return head, _exactly(line, body_bytes)


def _exactly(line: socket.socket, count: int) -> memoryview:
    view = memoryview(bytearray(count))
    got = 0
    while got < count:
        came = line.recv_into(view[got:])
        if not came:
            raise EOFError("the other side has gone")
        got += came
    return view
