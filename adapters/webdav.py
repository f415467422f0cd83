"""Objects as files below one folder of a WebDAV server (RFC 4918)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Self

from adapters import webdav_check
from adapters.base import (
    Adapter,
    CheckStep,
    Listed,
    ObjectStat,
    ReadStream,
    Traits,
    Unfinished,
    Unreachable,
    WriteMode,
    WriteSession,
)
from adapters.errors import AdapterError, NotFound, WriteLost
from adapters.keys import partial_token
from adapters.tokens import WriteToken
from adapters.walking import walk_unfinished
from adapters.web_client import WebClient
from adapters.web_errors import HttpRefusal, translated
from adapters.web_read import open_read
from adapters.web_settings import FIELDS, Origin, root_uri
from adapters.webdav_change import WebDavChange
from adapters.webdav_look import REDIRECTS, WebDavLook
from adapters.webdav_replace import PuttingTrial
from adapters.webdav_write import COLLECTED_BYTES, WebDavWrite, move_published

#: What servers answer to a GET where no object is: nothing, a folder, or an object instead of a folder on the way.
_PERHAPS_ABSENT = (*REDIRECTS, 400, 403, 404, 405, 410)


class WebDavAdapter(Adapter):
    """A key is the resource's path below the root; an unfinished write lies beside it under a partial's name.

    A version is the entity tag, or the time and the size where the server tells none; it is strong where the tag is and
    the last change is a minute old, so that ``traits.strong_versions`` is false. Two creators of one key at the same
    moment are not kept apart by servers. ``traits.atomic_replace`` is true once ``check`` or the first replacement has
    seen that the server replaces in one step; on others an object that is being replaced is gone for a moment.
    """

    scheme = "webdav"
    title = "WebDAV"
    fields = FIELDS

    def __init__(self, origin: Origin) -> None:
        self.name = origin.storage
        self.traits = Traits(atomic_create=False, atomic_replace=False, resumes=False, strong_versions=False)
        self._client = WebClient(origin)
        self._look = WebDavLook(self._client)
        self._change = WebDavChange(self._client, self._look)
        self._putting = PuttingTrial(self._client, self._look, self._change)

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        return cls(Origin.read(name, options, credential))

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return root_uri(options)

    def stat(self, key: str) -> ObjectStat:
        return self._look.look(key).stat(key)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        path = self._client.origin.path(key)
        with translated(self.name, key):
            try:
                return open_read(self._client, path, key, start, stop, version, look=lambda: self._look.look(key))
            except HttpRefusal as exc:
                if exc.status in _PERHAPS_ABSENT:
                    self._look.look(key)  # It says NotFound of a folder, and Offline where the root has gone.
                raise

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        if size is None or size > COLLECTED_BYTES:
            self._change.refuse_taken(key, mode=mode)  # before any byte of what may be large is taken
        in_place = mode is WriteMode.REPLACE and self._replaces_in_place(key, size)
        return WebDavWrite(self._look, self._change, WriteToken.new(key, size=size, mode=mode), in_place=in_place)

    def resume_write(self, token: str) -> WriteSession:
        key = WriteToken.parse(token, storage=self.name).key
        raise WriteLost("no WebDAV server goes on with an upload", storage=self.name, key=key)

    def unfinished_writes(self, key: str) -> list[str]:
        folder, slash, name = key.rpartition("/")
        found = [partial_token(entry, target=name) for entry in self._look.names(folder + slash)]
        return [str(WriteToken(key, digits)) for digits in found if digits is not None]

    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]:
        return walk_unfinished(self._look.entries, folder)

    def abort_write(self, token: str) -> None:
        self._remove(WriteToken.parse(token, storage=self.name).partial)

    def delete(self, key: str) -> None:
        self._remove(key)

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        """Keeps the names of one folder, for each folder on the way down, and no connection between two of them."""
        return self._walk(prefix[: prefix.rfind("/") + 1], prefix=prefix, after=after, recursive=recursive)

    def check(self) -> list[CheckStep]:
        self._putting.forget()
        return webdav_check.check(self, self._client, self._look)

    def close(self) -> None:
        self._client.close()

    def copy_within(self, source: str, token: WriteToken) -> ObjectStat:
        told = self._look.look(source)
        token.expect(told.size, source=source, storage=self.name)
        self._change.refuse_taken(token.key, mode=token.mode)
        try:
            self._change.copy(source, token.partial, told.size)
            written = self._look.look(token.partial)
            if written.size != told.size:
                detail = f"{written.size} bytes were copied of {told.size}"
                raise AdapterError(detail, storage=self.name, key=source)
            return move_published(self._look, self._change, token, written)
        except BaseException:
            with suppress(AdapterError):  # The first failure is the one to tell.
                self._change.remove(token.partial)
            raise

    def free_bytes(self) -> int:
        """Raises AdapterError where the server has no quota properties."""
        free = self._look.free_bytes()
        if free is None:
            raise AdapterError("the server does not tell how much space it has", storage=self.name)
        return free

    def _replaces_in_place(self, key: str, size: int | None) -> bool:
        putting = self._putting.outcome(key)
        self.traits = replace(self.traits, atomic_replace=putting.replaces(None))
        return putting.replaces(size)

    def _remove(self, key: str) -> None:
        """Two requests, because a server that is asked to remove a folder removes all that lies in it."""
        try:
            self._look.look(key)
        except NotFound:
            return  # A folder is no object, so there is none to remove.
        self._change.remove(key)

    def _walk(self, folder: str, *, prefix: str, after: str, recursive: bool) -> Iterator[Listed]:
        for listed in self._look.list_keys(folder, after=after):
            key = listed.key
            if not key.startswith(prefix):
                continue
            if isinstance(listed, Unreachable):
                if key > after:
                    yield listed
            elif listed.told is not None or not recursive:
                if key > after:
                    yield listed.item()
            else:
                yield from self._walk(key, prefix=prefix, after=after, recursive=True)
