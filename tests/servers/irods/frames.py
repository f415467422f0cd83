"""The frames of the iRODS protocol, as the server's end sends and receives them."""

from __future__ import annotations

import socket
import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.sax.saxutils import escape

_QUOTES = {'"': "&quot;", "'": "&apos;"}


class Gone(Exception):
    """The client has closed the connection."""


class Refused(Exception):
    """A call ends with one of iRODS' error codes."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Frame:
    """One message: its type, its number, its body as XML (None: empty) and its bytes."""

    kind: str
    number: int
    body: ET.Element | None
    data: bytes

    def text(self, path: str) -> str:
        """The text of an element of the body; empty where it is missing."""
        return "" if self.body is None else self.body.findtext(path) or ""

    def integer(self, path: str) -> int:
        return int(self.text(path) or "0")

    def parts(self, path: str) -> list[Frame]:
        """The parts of a request that are requests of their own."""
        return [] if self.body is None else [Frame(self.kind, 0, e, b"") for e in self.body.findall(path)]

    def keyed(self) -> dict[str, str]:
        """The keywords of a request with their values."""
        pairs = None if self.body is None else self.body.find("KeyValPair_PI")
        if pairs is None:
            return {}
        return dict(zip(*([e.text or "" for e in pairs.findall(tag)] for tag in ("keyWord", "svalue")), strict=True))


def receive(line: socket.socket) -> Frame:
    """The next frame. Raises Gone."""
    (size,) = struct.unpack(">i", take(line, 4))
    header = ET.fromstring(take(line, size))
    lengths = [int(header.findtext(name) or 0) for name in ("msgLen", "errorLen", "bsLen")]
    kind = header.findtext("type") or ""
    if kind not in ("RODS_CONNECT", "RODS_CS_NEG_T", "RODS_API_REQ", "RODS_DISCONNECT"):
        # The two headers that end a TLS handshake carry numbers of their own in the places of the lengths.
        return Frame(kind, int(header.findtext("intInfo") or 0), None, take(line, lengths[0]) if _is_key(kind) else b"")
    body, _, data = (take(line, length) for length in lengths)
    return Frame(kind, int(header.findtext("intInfo") or 0), ET.fromstring(body) if body else None, data)


def send(line: socket.socket, kind: str, number: int, body: str = "", data: bytes = b"") -> None:
    packed = body.encode("utf-8", "surrogateescape")
    header = (
        f"<MsgHeader_PI><type>{kind}</type><msgLen>{len(packed)}</msgLen><errorLen>0</errorLen>"
        f"<bsLen>{len(data)}</bsLen><intInfo>{number}</intInfo></MsgHeader_PI>"
    ).encode()
    line.sendall(struct.pack(">i", len(header)) + header + packed + data)


def element(name: str, **values: object) -> str:
    """A message whose values are text; a list gives one element for each of its items."""
    inner = []
    for tag, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            inner.append(f"<{tag}>{escape(str(item), _QUOTES)}</{tag}>")
    return f"<{name}>{''.join(inner)}</{name}>"


def take(line: socket.socket, count: int) -> bytes:
    data = bytearray(count)
    room = memoryview(data)
    while room:
        taken = line.recv_into(room)
        if not taken:
            raise Gone
        room = room[taken:]
    return bytes(data)


def _is_key(kind: str) -> bool:
    return kind == "SHARED_SECRET"
