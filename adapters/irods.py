"""Objects as data objects below one collection of an iRODS zone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Self

from irods.exception import CAT_NAME_EXISTS_AS_DATAOBJ

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
from adapters.errors import AdapterError, AlreadyExists, InvalidKey, NotFound, Unavailable, WriteLost
from adapters.irods_catalog import (
    Replica,
    check_name,
    entries,
    free_bytes,
    good_one,
    is_collection,
    list_folder,
    object_stat,
    partials_in,
    refuse_lost_root,
    replicas_at,
    set_aside_key,
)
from adapters.irods_check import check_steps
from adapters.irods_connection import IrodsConnection, IrodsPool
from adapters.irods_errors import translated
from adapters.irods_objects import copy, make_collection, once_released, open_to_write, seek
from adapters.irods_publish import put_in_order, remove
from adapters.irods_read import IrodsReadStream, open_replica
from adapters.irods_settings import FIELDS, MAX_CONNECTIONS, Endpoint, endpoint_uri, make_endpoint
from adapters.irods_write import IrodsWriteSession, Writers, publish_copy
from adapters.keys import partial_token
from adapters.options import whole_number
from adapters.tokens import WriteToken
from adapters.walking import Entry, walk, walk_unfinished

#: How often an object that is moved just as it is opened is looked for again.
_LOOKS = 3

#: How often both names of an object are looked at before it is taken for missing.
_LOOKS = 3


class IrodsAdapter(Adapter):
    """A key is the path below the root; the bytes of an unfinished write lie beside it under a partial's name.

    Each stream and session holds one of at most ``max_connections`` connections until it is closed. Only good replicas
    are read, and stale ones are no objects. What is replaced is a new data object: permissions and metadata that
    somebody gave the old one are not its own. Collections that are linked or mounted elsewhere are not looked into.
    """

    scheme = "irods"
    title = "iRODS"
    fields = FIELDS
    # iRODS has no rename that replaces: see move_into_place. Times are whole seconds: what other clients write into an
    # object without changing its size, within one second, cannot be seen.
    traits = Traits(
        atomic_create=True, atomic_replace=False, resumes=True, strong_versions=False, checksums=("sha-256",)
    )

    def __init__(self, endpoint: Endpoint, *, max_connections: int = MAX_CONNECTIONS) -> None:
        self.name = endpoint.storage
        self._endpoint = endpoint
        self._pool = IrodsPool(endpoint, limit=max_connections)
        self._writers = Writers()

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        most = whole_number(options, "max_connections", MAX_CONNECTIONS)
        return cls(make_endpoint(name, options, credential), max_connections=most)

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return endpoint_uri(options)

    def stat(self, key: str) -> ObjectStat:
        with self._connected(key) as connection:
            return object_stat(key, self._find(connection, key))

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        with self._connected(key, kept=True) as connection:
            for _ in range(_LOOKS):
                replica = self._find(connection, key)
                descriptor = open_replica(connection, replica)
                if descriptor is not None:
                    break
            else:
                raise Unavailable("it is replaced again and again", storage=self.name, key=key)
        return IrodsReadStream(
            self._pool, connection, descriptor, replica, key, start=start, stop=stop, version=version
        )

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        token = WriteToken.new(key, size=size, mode=mode)
        with self._connected(key, kept=True) as connection:
            self._make_room(connection, token)
            descriptor = open_to_write(connection, connection.path(token.partial), create=True)
        return self._session(connection, descriptor, token, offset=0)

    def resume_write(self, token: str) -> WriteSession:
        parsed = self._unfinished(token)
        with self._connected(parsed.key, absent=WriteLost, kept=True) as connection:
            if not replicas_at(connection, connection.path(parsed.partial)):
                refuse_lost_root(connection, parsed.key)
                raise WriteLost(storage=self.name, key=parsed.key)
            path = connection.path(parsed.partial)
            descriptor = once_released(lambda: open_to_write(connection, path, create=False))
            # The catalog learns the size with the closing, which a writer that died never came to.
            offset = seek(connection, descriptor, 0, whence=os.SEEK_END)
        return self._session(connection, descriptor, parsed, offset=offset)

    def read_unfinished(self, token: str) -> ReadStream:
        parsed = self._unfinished(token)
        try:
            return self.open_read(parsed.partial)
        except NotFound as exc:
            raise WriteLost(storage=self.name, key=parsed.key) from exc

    def unfinished_writes(self, key: str) -> list[str]:
        """Also a replacement that ended before it had removed what it set aside."""
        folder, _, name = key.rpartition("/")
        with self._connected(key) as connection:
            names = partials_in(connection, folder, name)
            if not names:
                refuse_lost_root(connection, key)
        found = [partial_token(entry, target=name) for entry in names]
        return [str(WriteToken(key, digits)) for digits in found if digits is not None]

    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]:
        return walk_unfinished(self._all_in, folder)

    def abort_write(self, token: str) -> None:
        """What the writer had set aside is brought back, if it came to no new object.

        A writer of this process is cut off. Raises Unavailable while one elsewhere goes on.
        """
        parsed = WriteToken.parse(token, storage=self.name)
        is_aside = parsed.partial == set_aside_key(parsed.key)
        with self._connected(parsed.key) as connection:
            self._writers.cut_off(token)
            if parsed.mode is WriteMode.REPLACE or is_aside:
                put_in_order(connection, parsed.key)
            if not is_aside:
                once_released(lambda: remove(connection, connection.path(parsed.partial)))

    def delete(self, key: str) -> None:
        with self._connected(key) as connection:
            there = [
                path
                for path in (connection.path(set_aside_key(key)), connection.path(key))
                if replicas_at(connection, path)
            ]
            if not there:
                refuse_lost_root(connection, key)
            for path in there:
                remove(connection, path)

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        """Keeps the names of one folder, for each folder on the way down, and no connection between two of them."""
        return walk(self._listed, object_stat, prefix=prefix, after=after, recursive=recursive)

    def check(self) -> list[CheckStep]:
        return check_steps(self, self._endpoint)

    def close(self) -> None:
        self._pool.close()

    def copy_within(self, source: str, token: WriteToken) -> ObjectStat:
        """The server copies to a partial, which is then published like any other."""
        with self._connected(source) as connection:
            replica = self._find(connection, source)
        token.expect(replica.size, source=source, storage=self.name)
        try:
            with self._connected(token.key) as connection:
                self._make_room(connection, token)
                copy(connection, replica.path, replica.number, connection.path(token.partial), size=replica.size)
                return publish_copy(connection, token, replica)
        except BaseException:
            with suppress(AdapterError):  # The first error is what the caller has to hear of.
                self.abort_write(str(token))
            raise

    def free_bytes(self) -> int:
        """What the storage's resource says. Raises AdapterError where none is set, or where it does not tell."""
        free = None
        if self._endpoint.resource:
            with self._connected() as connection:
                free = free_bytes(connection, self._endpoint.resource)
        if free is None:
            raise AdapterError("no resource tells how much space it has", storage=self.name)
        return free

    @contextmanager
    def _connected(
        self, key: str = "", *, absent: type[AdapterError] = NotFound, kept: bool = False
    ) -> Iterator[IrodsConnection]:
        """A connection for the block, given back after it; with ``kept``, only where the block fails."""
        check_name(key, storage=self.name)
        with translated(self.name, key, absent=absent):
            connection = self._pool.take()
            try:
                yield connection
            except BaseException:
                self._pool.give_back(connection)
                raise
            if not kept:
                self._pool.give_back(connection)

    def _unfinished(self, token: str) -> WriteToken:
        """Raises WriteLost also for what a replacement has set aside, which is nothing to go on with."""
        parsed = WriteToken.parse(token, storage=self.name)
        if parsed.partial == set_aside_key(parsed.key):
            raise WriteLost("it was published, or its writer died", storage=self.name, key=parsed.key)
        return parsed

    def _find(self, connection: IrodsConnection, key: str) -> Replica:
        """A good replica of the object, also while it is set aside to be replaced. Raises NotFound, Offline."""
        # It may be replaced between two looks, and once more between the next two.
        for place in (*(key, set_aside_key(key)) * _LOOKS, key):
            if found := replicas_at(connection, connection.path(place)):
                return good_one(found, key, storage=self.name)
        refuse_lost_root(connection, key)
        raise NotFound(storage=self.name, key=key)

    def _make_room(self, connection: IrodsConnection, token: WriteToken) -> None:
        """Refuses, before any byte is taken, what publish would surely refuse; makes the collections of the key."""
        key = token.key
        if token.mode is WriteMode.CREATE and any(
            replicas_at(connection, connection.path(place)) for place in (key, set_aside_key(key))
        ):
            raise AlreadyExists(storage=self.name, key=key)
        if is_collection(connection, connection.path(key)):
            raise InvalidKey("it is a folder", storage=self.name, key=key)
        folder = connection.path(key.rpartition("/")[0])
        if is_collection(connection, folder):
            return
        refuse_lost_root(connection, key)
        try:
            make_collection(connection, folder)
        except CAT_NAME_EXISTS_AS_DATAOBJ as exc:
            raise InvalidKey("a component of it is an object", storage=self.name, key=key) from exc

    def _session(self, connection: IrodsConnection, descriptor: int, token: WriteToken, *, offset: int) -> WriteSession:
        return IrodsWriteSession(
            self._pool, connection, descriptor, token, offset=offset, remove=self.abort_write, writers=self._writers
        )

    def _listed(self, folder: str) -> list[tuple[str, Replica | Unreachable | None]]:
        """A folder's entries; none where it is missing."""
        with self._connected(folder) as connection:
            entries = list_folder(connection, folder)
            if not entries:
                refuse_lost_root(connection, folder)
        return entries

    def _all_in(self, folder: str) -> list[Entry]:
        with self._connected(folder) as connection:
            return entries(connection, folder)
