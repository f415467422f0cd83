"""Objects as files below one folder of an SFTP server, over connections whose host key is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Self, TypeVar

from adapters.base import (
    Adapter,
    CheckStep,
    Listed,
    ObjectStat,
    ReadStream,
    Traits,
    Unfinished,
    WriteMode,
    WriteSession,
)
from adapters.errors import AdapterError, AlreadyExists, InvalidKey, NotFound, Offline, WriteLost
from adapters.keys import partial_token
from adapters.options import whole_number
from adapters.sftp_check import check_steps
from adapters.sftp_connection import SftpConnection
from adapters.sftp_endpoint import Endpoint
from adapters.sftp_errors import translated
from adapters.sftp_messages import CREATE, EXCLUSIVE, READ, WRITE, Code, Kind, Reply, SftpStatus
from adapters.sftp_pool import SftpPool
from adapters.sftp_read import SftpReadStream
from adapters.sftp_settings import FIELDS, MAX_CONNECTIONS, endpoint_uri, make_endpoint
from adapters.sftp_tree import (
    ask_real,
    entry_of,
    folder_path,
    free_bytes,
    list_folder,
    list_keys,
    make_folders,
    object_stat,
    refuse_outside,
)
from adapters.sftp_write import POSIX_RENAME, SftpWriteSession
from adapters.tokens import WriteToken
from adapters.walking import walk, walk_unfinished

T = TypeVar("T")


class SftpAdapter(Adapter):
    """A key is the file's path below the root; the bytes of an unfinished write lie beside it under a partial's name.

    Each stream and session holds one of at most ``max_connections`` connections until it is closed. The key agent and
    the files in ``~/.ssh`` are never looked at. Symbolic links that lead out of the root are refused; a scan lists
    linked files and does not descend into linked folders.
    """

    scheme = "sftp"
    title = "SFTP"
    fields = FIELDS
    # Times are whole seconds here: a change that keeps the size within one second cannot be seen.
    traits = Traits(atomic_create=True, atomic_replace=True, resumes=True, strong_versions=False)

    def __init__(self, endpoint: Endpoint, *, max_connections: int = MAX_CONNECTIONS) -> None:
        self.name = endpoint.storage
        self._endpoint = endpoint
        self._pool = SftpPool(endpoint, limit=max_connections)

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        most = whole_number(options, "max_connections", MAX_CONNECTIONS)
        return cls(make_endpoint(name, options, credential), max_connections=most)

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return endpoint_uri(options)

    def stat(self, key: str) -> ObjectStat:
        with self._connected(key) as connection:
            path = connection.root + key.encode()
            real, found = connection.wire.gather(ask_real(connection, path), connection.wire.ask(Kind.STAT, path))
            attributes = found.attributes()
            refuse_outside(connection, real, key=key)
        if not attributes.is_file:
            raise NotFound("it is a folder, or no regular file", storage=self.name, key=key)
        return object_stat(key, attributes)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        with self._connected(key, kept=True) as connection:
            path = connection.root + key.encode()
            real, opened = connection.wire.gather(ask_real(connection, path), connection.wire.open(path, READ))
            handle = opened.handle()
            try:
                refuse_outside(connection, real, key=key)
            except BaseException:
                connection.wire.forget(connection.wire.ask(Kind.CLOSE, handle))
                raise
        return SftpReadStream(self._pool, connection, handle, key, start=start, stop=stop, version=version)

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        token = WriteToken.new(key, size=size, mode=mode)
        with self._connected(key, kept=True) as connection:
            if mode is WriteMode.REPLACE and POSIX_RENAME not in connection.wire.extensions:
                detail = f"the server does not offer {POSIX_RENAME}, without which no object can be replaced safely"
                raise AdapterError(detail, storage=self.name, key=key)
            handle = self._open_partial(connection, token)
        return self._session(connection, handle, token, offset=0)

    def resume_write(self, token: str) -> WriteSession:
        parsed = WriteToken.parse(token, storage=self.name)
        with self._connected(parsed.key, absent=WriteLost, kept=True) as connection:
            wire, partial = connection.wire, connection.root + parsed.partial.encode()
            real, found = wire.gather(ask_real(connection, partial), wire.ask(Kind.LSTAT, partial))
            left = found.attributes()
            refuse_outside(connection, real, key=parsed.key)
            handle = wire.reply(wire.open(partial, WRITE)).handle()
        return self._session(connection, handle, parsed, offset=left.size)

    def read_unfinished(self, token: str) -> ReadStream:
        parsed = WriteToken.parse(token, storage=self.name)
        try:
            return self.open_read(parsed.partial)
        except NotFound as exc:
            raise WriteLost(storage=self.name, key=parsed.key) from exc

    def unfinished_writes(self, key: str) -> list[str]:
        folder, _, name = key.rpartition("/")
        entries = self._listed(list_folder, f"{folder}/" if folder else "")
        found = [partial_token(entry, target=name) for entry, _ in entries]
        return [str(WriteToken(key, digits)) for digits in found if digits is not None]

    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]:
        return walk_unfinished(lambda below: map(entry_of, self._listed(list_folder, below)), folder)

    def abort_write(self, token: str) -> None:
        self._remove(WriteToken.parse(token, storage=self.name).partial)

    def delete(self, key: str) -> None:
        self._remove(key)

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        """Keeps the names of one folder, for each folder on the way down, and no connection between two of them."""
        return walk(
            lambda folder: self._listed(list_keys, folder), object_stat, prefix=prefix, after=after, recursive=recursive
        )

    def check(self) -> list[CheckStep]:
        return check_steps(self, self._endpoint)

    def close(self) -> None:
        self._pool.close()

    def free_bytes(self) -> int:
        """Raises AdapterError where the server does not offer OpenSSH's statvfs."""
        with self._connected() as connection:
            free = free_bytes(connection, connection.root)
        if free is None:
            raise AdapterError("the server does not tell how much space it has", storage=self.name)
        return free

    @contextmanager
    def _connected(
        self, key: str = "", *, absent: type[AdapterError] = NotFound, kept: bool = False
    ) -> Iterator[SftpConnection]:
        """A connection for the block, given back after it; with ``kept``, only where the block fails."""
        with translated(self.name, key, absent=absent):
            connection = self._pool.take()
            try:
                yield connection
            except BaseException as exc:
                try:
                    if isinstance(exc, SftpStatus) and exc.code == Code.NO_SUCH_FILE:
                        self._refuse_lost_root(connection, key)
                finally:
                    self._pool.give_back(connection)
                raise
            if not kept:
                self._pool.give_back(connection)

    def _refuse_lost_root(self, connection: SftpConnection, key: str) -> None:
        """Where the root itself has gone, as when its file system was unmounted, no object is known to be missing."""
        look = connection.wire.reply(connection.wire.ask(Kind.STAT, connection.root))
        try:
            look.attributes()
        except SftpStatus as exc:
            raise Offline("its root folder is not there", storage=self.name, key=key) from exc

    def _open_partial(self, connection: SftpConnection, token: WriteToken) -> bytes:
        """Refuses, before any byte is taken, what publish would surely refuse, and a folder outside the root."""
        wire, key = connection.wire, token.key
        real, there = wire.gather(
            ask_real(connection, folder_path(connection, key)), wire.ask(Kind.LSTAT, connection.root + key.encode())
        )
        partial = connection.root + token.partial.encode()
        try:
            refuse_outside(connection, real, key=key)
            self._refuse_taken(there, token)
            return wire.reply(wire.open(partial, WRITE | CREATE | EXCLUSIVE)).handle()
        except SftpStatus as exc:
            if exc.code != Code.NO_SUCH_FILE:
                raise
        make_folders(connection, key)
        return wire.reply(wire.open(partial, WRITE | CREATE | EXCLUSIVE)).handle()

    def _refuse_taken(self, there: Reply, token: WriteToken) -> None:
        with suppress(SftpStatus):  # Nothing is there.
            if there.attributes().is_folder:
                raise InvalidKey("it is a folder", storage=self.name, key=token.key)
            if token.mode is WriteMode.CREATE:
                raise AlreadyExists(storage=self.name, key=token.key)

    def _session(self, connection: SftpConnection, handle: bytes, token: WriteToken, *, offset: int) -> WriteSession:
        return SftpWriteSession(self._pool, connection, handle, token, offset=offset, remove=self.abort_write)

    def _remove(self, key: str) -> None:
        with suppress(NotFound), self._connected(key) as connection:
            path = connection.root + key.encode()
            real, there = connection.wire.gather(
                ask_real(connection, folder_path(connection, key)), connection.wire.ask(Kind.LSTAT, path)
            )
            if there.attributes().is_folder:
                return  # A folder is no object, so there is none to remove.
            refuse_outside(connection, real, key=key)
            connection.wire.reply(connection.wire.ask(Kind.REMOVE, path)).ok()

    def _listed(self, listing: Callable[[SftpConnection, str], list[T]], folder: str) -> list[T]:
        """What ``listing`` tells of a folder; nothing where it is missing."""
        try:
            with self._connected(folder) as connection:
                return listing(connection, folder)
        except NotFound:
            return []
