"""Writing to WebDAV: small objects are put in one request, the bytes of large ones are sent as they come."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from adapters.base import ObjectStat, WriteMode, WriteSession
from adapters.errors import (
    AdapterError,
    AlreadyExists,
    NotFound,
    SizeMismatch,
    TransientAdapterError,
    WriteLost,
)
from adapters.tokens import WriteToken
from adapters.web_client import Exchange
from adapters.web_errors import translated
from adapters.web_versions import Told
from adapters.webdav_change import WebDavChange
from adapters.webdav_look import WebDavLook

#: What a session collects at most. A body that is larger goes through unkept.
COLLECTED_BYTES = 1024 * 1024


class WebDavWrite(WriteSession):
    """Writes to the partial, in the folder of its target, and publishes it by a MOVE.

    Before the first byte of a large body the partial is made empty: that makes the folders, lets a server refuse
    before much was sent to it, and leaves a name by which the write is found after a crash. Many servers show a body
    only when it is there whole. No server goes on with a body that broke off: ``suspend`` is WriteLost.

    ``in_place`` is for a REPLACE on a server whose PUT replaces in one step: the body then goes to the key itself, its
    end not before ``publish``.
    """

    def __init__(self, look: WebDavLook, change: WebDavChange, token: WriteToken, *, in_place: bool = False) -> None:
        self.key = token.key
        self.token = str(token)
        self.offset = 0
        self._look = look
        self._change = change
        self._token = token
        self._in_place = in_place
        self._target = token.key if in_place else token.partial
        self._collected = bytearray()
        self._last = b""
        self._body: Exchange | None = None
        self._has_partial = False
        self._over = False

    def write(self, data: bytes | memoryview) -> None:
        assert not self._over, "nothing is written after publish or abort"
        view = memoryview(data).cast("B")
        declared = self._token.size
        if declared is not None and self.offset + len(view) > declared:
            raise self._wrong_size(f"more than {declared} bytes")
        if self._body is None and max(declared or 0, self.offset + len(view)) <= COLLECTED_BYTES:
            self._collected += view
        elif len(view):
            self._send(self._body or self._begin(), view)
        self.offset += len(view)

    def publish(self) -> ObjectStat:
        if self._token.size not in (None, self.offset):
            raise self._wrong_size(f"{self.offset} bytes, {self._token.size} were declared")
        if self._body is None:
            self._has_partial = not self._in_place
            self._change.put(self._target, self._collected)
        else:
            body, self._body = self._body, None
            self._end(body)
        if self._in_place:
            published = self._published_in_place()
        else:
            written = self._written()
            if written.size != self.offset:
                raise self._wrong_size(f"{self.offset} bytes were written, {written.size} are there")
            published = move_published(self._look, self._change, self._token, written)
        self._over = True
        return published

    def suspend(self) -> str:
        raise WriteLost("no WebDAV server goes on with an upload", storage=self._look.storage, key=self.key)

    def abort(self) -> None:
        if self._over:
            return
        self._over = True
        body, self._body = self._body, None
        if body is not None:
            body.break_off()  # Until the server has done with it, it may lock the partial, or store it once more.
        if self._has_partial:
            self._change.remove(self._token.partial)

    def _begin(self) -> Exchange:
        self._has_partial = True
        self._change.put(self._token.partial, b"")
        self._body = self._change.begin_put(self._target, self._token.size)
        if self._collected:  # Only of a body of unknown size, before it turned out to be large.
            with translated(self._look.storage, self.key):
                self._body.send_chunk(self._collected)
            self._collected = bytearray()
        return self._body

    def _send(self, body: Exchange, data: memoryview) -> None:
        """The last byte of a body of known size is kept back: with it the server would take the body for whole."""
        with translated(self._look.storage, self.key):
            if self._token.size is None:
                if len(data):  # An empty chunk is the end.
                    body.send_chunk(data)
            elif self.offset + len(data) == self._token.size:
                self._last = bytes(data[-1:])
                body.send(data[:-1])
            else:
                body.send(data)

    def _end(self, body: Exchange) -> None:
        try:
            with translated(self._look.storage, self.key):
                if self._token.size is None:
                    body.send_chunk(b"")
                else:
                    body.send(self._last)
            self._change.end_put(self.key, body)
        except BaseException:
            body.drop()
            raise

    def _written(self) -> Told:
        try:
            return self._look.look(self._token.partial)
        except NotFound as exc:
            raise WriteLost("its partial has gone", storage=self._look.storage, key=self.key) from exc

    def _published_in_place(self) -> ObjectStat:
        found = self._look.look(self.key)
        if found.size != self.offset:
            raise self._wrong_size(f"{self.offset} bytes were put, {found.size} are there")
        if self._has_partial:
            with suppress(AdapterError):  # It is empty, and whoever looks for unfinished writes will find it.
                self._change.remove(self._token.partial)
        return found.stat(self.key)

    def _wrong_size(self, detail: str) -> SizeMismatch:
        return SizeMismatch(detail, storage=self._look.storage, key=self.key)


def move_published(look: WebDavLook, change: WebDavChange, token: WriteToken, written: Told) -> ObjectStat:
    """Make what lies at the partial visible at the key in one step; returns the stat that it has there.

    Servers look for an object at the key and then move: of two creators at the same moment the later one may win, and
    the earlier one learns of it only where the sizes differ.
    """
    key = token.key
    try:
        change.move(token.partial, key, mode=token.mode)
    except NotFound as exc:
        raise WriteLost("its partial has gone", storage=look.storage, key=key) from exc
    except TransientAdapterError:
        # The answer was lost, perhaps, and not the request.
        if not _was_moved(look, token, written):
            raise
    try:
        found = look.look(key)
    except AdapterError:
        return written.stat(key)  # It was published, whatever came of the look at it.
    if found.size == written.size:
        return found.stat(key)
    if token.mode is WriteMode.CREATE:
        raise AlreadyExists("another was created at the same moment", storage=look.storage, key=key)
    return replace(written, modified=None).stat(key)


def _was_moved(look: WebDavLook, token: WriteToken, written: Told) -> bool:
    try:
        found = look.find(token.key)
        return (
            found is not None
            and found.told is not None
            and found.told.version == written.version
            and (look.find(token.partial) is None)
        )
    except AdapterError:
        return False  # The failure that led here is the one to tell.
