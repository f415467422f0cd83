"""``python -m adapters.gfal_process``: one gfal2 of its own, which answers frames on its standard input.

It needs nothing but the standard library and libgfal2. When the other side goes it removes the credential's file, which
nobody else can do then, and ends at once without cleaning gfal2 up, which has been seen to abort while it does that.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import astuple
from typing import Any

from adapters.gfal_frames import PIECE_BYTES, Head, receive, send
from adapters.gfal_library import Gfal, GfalError, Look

#: Up to here a range is reached by reading what lies before it: seeking breaks off a transfer, which takes longer.
SKIP_BYTES = 4 * 1024 * 1024
#: How many names of a folder go into one frame.
NAMES_AT_ONCE = 1000

Answer = tuple[dict[str, object], bytes | memoryview]


class Orders:
    """Each public method is an order: it takes the words of a frame's head and its bytes, and gives an answer."""

    def __init__(self, gfal: Gfal) -> None:
        self._gfal = gfal
        self._file: int | None = None
        self._buffer = ctypes.create_string_buffer(PIECE_BYTES)

    def stat(self, url: str) -> Answer:
        return {"look": astuple(self._gfal.stat(url))}, b""

    def open(self, url: str, start: int, whole: bool, ranges: bool) -> Answer:
        """Open for reading from ``start`` on; ``whole`` streams it, ``ranges`` says that pieces may be asked for."""
        if whole or not ranges:
            self._file = self._gfal.open(url, os.O_RDONLY)
            if start:
                self._gfal.seek(self._file, start)
        elif start <= SKIP_BYTES:
            self._file = self._gfal.open(url, os.O_RDWR)
            self._skip(start)
        else:
            self._file = self._gfal.open(url, os.O_RDONLY)
            self._gfal.seek(self._file, start)
        return {}, b""

    def read(self, count: int, url: str) -> Answer:
        """The next bytes, none at the end; with a ``url`` also what the server says of it after they were read."""
        assert self._file is not None
        got = self._gfal.read(self._file, self._buffer, count)
        look = astuple(self._gfal.stat(url)) if url else None
        return {"look": look}, memoryview(self._buffer).cast("B")[:got]

    def create(self, url: str) -> Answer:
        self._file = self._gfal.open(url, os.O_WRONLY | os.O_CREAT)
        return {}, b""

    def write(self, body: memoryview) -> Answer:
        assert self._file is not None
        self._gfal.write(self._file, body)
        return {}, b""

    def close(self, drain: bool) -> Answer:
        """``drain`` reads the end of a stream first: one that is closed before its end is broken off, which is slow."""
        file, self._file = self._file, None
        if file is not None:
            if drain:
                self._gfal.read(file, self._buffer, 1)
            self._gfal.close(file)
        return {}, b""

    def make_folders(self, url: str) -> Answer:
        self._gfal.make_folders(url)
        return {}, b""

    def rename(self, source: str, target: str) -> Answer:
        self._gfal.rename(source, target)
        return {}, b""

    def unlink(self, url: str) -> Answer:
        self._gfal.unlink(url)
        return {}, b""

    def checksum(self, url: str, algorithm: str) -> Answer:
        return {"checksum": self._gfal.checksum(url, algorithm)}, b""

    def copy(self, source: str, target: str) -> Answer:
        self._gfal.copy(source, target)
        return {}, b""

    def batches(self, url: str) -> Iterator[dict[str, object]]:
        """A folder's names as heads of frames, the last one with ``more`` false; what is not UTF-8 in them is escaped.

        gfal2 cuts white space off the end of a name, so that such a name is not the file's; see docs/grid.md.
        """
        entries: list[tuple[str, tuple[Any, ...]]] = []
        for raw, look in self._gfal.list(url):
            if raw not in (b".", b".."):
                entries.append((raw.decode(errors="surrogateescape"), astuple(look)))
            if len(entries) == NAMES_AT_ONCE:
                yield {"entries": entries, "more": True}
                entries = []
        yield {"entries": entries, "more": False}

    def _skip(self, count: int) -> None:
        assert self._file is not None
        while count > 0:
            got = self._gfal.read(self._file, self._buffer, min(count, PIECE_BYTES))
            if not got:
                raise GfalError(0, "it ended before the range began")
            count -= got


def answer(line: socket.socket, orders: Orders, head: Head, body: memoryview) -> None:
    """Do what one frame asks for and send what came of it."""
    order = head.pop("order")
    try:
        if order == "list":
            for batch in orders.batches(**head):
                send(line, batch)
            return
        do: Callable[..., Answer] = getattr(orders, order)
        words, data = do(**head, body=body) if order == "write" else do(**head)
    except GfalError as exc:
        send(line, {"error": [exc.code, exc.text]})
        return
    send(line, words, memoryview(data))


def begin(line: socket.socket) -> Orders | None:
    """Load gfal2 as the first frame says, and tell which plugins it has; None where there is no gfal2."""
    head, _ = receive(line)
    try:
        gfal = Gfal(head["library"])
    except OSError as exc:
        send(line, {"missing": str(exc)})
        return None
    for group, option, value in head["options"]:
        (gfal.set_switch if isinstance(value, bool) else gfal.set_number)(group, option, value)
    send(line, {"plugins": gfal.plugins()})
    return Orders(gfal)


def main() -> None:
    line = socket.socket(fileno=0)
    try:
        orders = begin(line)
        while orders is not None:
            answer(line, orders, *receive(line))
    except (EOFError, ConnectionError):
        _remove_credential()
        os._exit(0)
    os._exit(1)


def _remove_credential() -> None:
    """Whoever lives ends its processes by killing them; one that sees its line end has been left by a crash."""
    file = os.environ["X509_USER_PROXY"]
    with suppress(OSError):  # Another process of the same owner may have been faster.
        os.unlink(file)
        os.rmdir(os.path.dirname(file))


if __name__ == "__main__":
    main()

__all__ = ["Look", "main"]
