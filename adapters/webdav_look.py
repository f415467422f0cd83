"""Looking at what lies on a WebDAV server: one resource, a folder in the order of its keys, the space that is left."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote

from adapters.base import Listed, Prefix, Unreachable
from adapters.errors import NotFound, Offline
from adapters.walking import Entry, named
from adapters.web_client import Exchange, WebClient
from adapters.web_connection import split_location
from adapters.web_errors import HttpBroken, HttpRefusal, translated
from adapters.web_versions import Told, checksum
from adapters.webdav_xml import REQUEST, SPACE_REQUEST, Member, members

MULTISTATUS = 207
REDIRECTS = (301, 302, 307, 308)
_MISSING = (404, 410)
#: What servers say as well where a folder on the way is an object.
_ODD = (400, 403, 405, 409, 500)
#: A server that tells of more, where one resource was asked for, is not listened to any longer.
_MOST_FOR_ONE = 10
#: How many names of a folder are kept at a time; a larger folder is listed again for each so many.
LISTED_AT_ONCE = 50_000


class Found(NamedTuple):
    """A key, with a ``/`` at its end and nothing told for a folder."""

    key: str
    told: Told | None

    def item(self) -> Listed:
        return Prefix(self.key) if self.told is None else self.told.stat(self.key)


class WebDavLook:
    """Thread-safe. Public calls raise AdapterErrors only, and take keys that were checked."""

    def __init__(self, client: WebClient) -> None:
        self.client = client
        self.storage = client.origin.storage
        self._root = unquote(client.origin.root).rstrip("/")

    def look(self, key: str) -> Told:
        """Raises NotFound, also for a folder, and Offline where the root itself is not there."""
        found = self.find(key)
        if found is None:
            self.refuse_lost_root(key)
            raise NotFound(storage=self.storage, key=key)
        if found.told is None:
            raise NotFound("it is a folder", storage=self.storage, key=key)
        return found.told

    def find(self, key: str) -> Found | None:
        """What lies at the key, an object or a folder; None where nothing does."""
        with translated(self.storage, key):
            try:
                return self._find(key)
            except HttpRefusal as exc:
                if exc.status in _MISSING or (exc.status in _ODD and self.is_below_an_object(key)):
                    return None
                raise

    def refuse_lost_root(self, key: str = "") -> None:
        """Where the root itself has gone, as when its file system was unmounted, no object is known to be missing."""
        if self.find("") is None:
            raise Offline("its root folder is not there", storage=self.storage, key=key)

    def free_bytes(self) -> int | None:
        """The bytes that may still be stored below the root (RFC 4331); None of a server that does not tell."""
        with translated(self.storage), self._propfind("", depth=0, body=SPACE_REQUEST) as exchange:
            found = list(islice(members(exchange.read), _MOST_FOR_ONE))
        return found[0].free_bytes if found else None

    def list_keys(self, folder: str, *, after: str = "") -> Iterator[Found | Unreachable]:
        """The objects and folders in a folder, whose key ends in ``/`` or is empty, in the order of their keys.

        What no key names is among them. Those that are greater than ``after``, or hold it; nothing where the folder is
        missing. No connection is held between two of them.
        """
        found: list[Found | Unreachable] = []
        while True:
            last = found[-1].key if found else ""
            with translated(self.storage, folder):
                later = (listed for listed in self._listed(folder, after) if listed.key > last)
                found = heapq.nsmallest(LISTED_AT_ONCE, later, key=lambda listed: listed.key)
            yield from found
            if len(found) < LISTED_AT_ONCE:
                return

    def names(self, folder: str) -> list[str]:
        """The names of all that lies in a folder, those of unfinished writes too; none where it is missing."""
        with translated(self.storage, folder):
            return [name for name, one, _ in self._members(folder) if not one.refused]

    def entries(self, folder: str) -> list[Entry]:
        """The same with what is told of each."""
        with translated(self.storage, folder):
            return [
                Entry(name, one.is_folder, one.size or 0, one.modified.astimezone(UTC) if one.modified else None)
                for name, one, _ in self._members(folder)
                if not one.refused
            ]

    def is_below_an_object(self, key: str) -> bool:
        """Whether a folder of the key is an object; of a key that ends in ``/`` the last name counts as well."""
        names = key.split("/")[:-1]
        for count in range(1, len(names) + 1):
            try:
                found = self._find("/".join(names[:count]))
            except HttpRefusal:
                return False
            if found is None or found.told is not None:
                return found is not None
        return False

    def _find(self, key: str) -> Found | None:
        with self._propfind(key, depth=0) as exchange:
            if exchange.status != MULTISTATUS:
                return Found(f"{key}/", None)
            # To its end, so that the connection can be used again.
            found = list(islice(members(exchange.read), _MOST_FOR_ONE))
            if not found:
                return None
            member = found[0]
            _refuse(member)
            return Found(f"{key}/", None) if member.is_folder else Found(key, _told(member, exchange.time("Date")))

    def _propfind(self, key: str, *, depth: int, body: bytes = REQUEST) -> Exchange:
        """The answer to a PROPFIND: a multistatus, or a redirect from a folder's name to the same name with a ``/``."""
        path = self.client.origin.path(key)
        headers = {"Depth": str(depth), "Content-Type": "application/xml", "Content-Length": str(len(body))}
        exchange = self.client.begin("PROPFIND", path, headers)
        try:
            exchange.send(body)
            exchange.finish(MULTISTATUS, *REDIRECTS)
            if exchange.status != MULTISTATUS and split_location(exchange.header("Location")).path != f"{path}/":
                exchange.connection.expect((MULTISTATUS,))
        except BaseException:
            exchange.close()
            raise
        return exchange

    def _members(self, folder: str) -> Iterator[tuple[str, Member, datetime | None]]:
        """The names of what lies directly in a folder, with all that is told and the server's time of telling."""
        try:
            exchange = self._propfind(folder, depth=1)
        except HttpRefusal as exc:
            if exc.status in _MISSING or (exc.status in _ODD and self.is_below_an_object(folder)):
                self.refuse_lost_root(folder)
                return
            raise
        own, is_named = f"{self._root}/{folder}".rstrip("/"), False
        with exchange:
            asked_at = exchange.time("Date")
            for member in members(exchange.read):
                above, _, name = member.path.rpartition("/")
                if above == own and name:
                    yield name, member, asked_at
                is_named = is_named or member.path.startswith(own)
        if not is_named:
            # A server behind a proxy that changes paths: no name of it could be trusted to be that of a key.
            raise HttpBroken("the server lists addresses that do not lie below the storage's url")

    def _listed(self, folder: str, after: str) -> Iterator[Found | Unreachable]:
        for name, member, asked_at in self._members(folder):
            key = named(folder, name)
            if isinstance(key, str):
                _refuse(member)
            if isinstance(key, Unreachable):
                if key.key > after:
                    yield key
            elif key is None:
                continue
            elif not member.is_folder and key > after:
                yield Found(key, _told(member, asked_at))
            elif member.is_folder and (f"{key}/" > after or after.startswith(f"{key}/")):
                yield Found(f"{key}/", None)


def _refuse(member: Member) -> None:
    """Raises HttpRefusal for what a server lists and tells nothing of: without it, the others would seem to be all."""
    if member.refused:
        raise HttpRefusal(member.refused, f"the server answers {member.refused} for {member.path!r} where it lists it")


def _told(member: Member, asked_at: datetime | None) -> Told:
    if member.size is None:
        raise HttpBroken("the server does not tell the size of an object")
    return Told(member.size, member.etag, member.modified, asked_at, checksum("", "", member.checksums))
