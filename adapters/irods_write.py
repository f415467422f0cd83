"""Writing one object to iRODS: large requests to a partial, checked in size and checksum before it is published."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace

from adapters.base import ObjectStat, WriteSession
from adapters.errors import ChecksumMismatch, OutOfSpace, SizeMismatch, WriteLost
from adapters.irods_catalog import Replica, good_one, look_again, object_stat, replicas_at, sha256_of
from adapters.irods_connection import IrodsConnection, IrodsPool
from adapters.irods_errors import translated
from adapters.irods_objects import REQUEST_BYTES, close, compute_checksum, write
from adapters.irods_publish import move_into_place
from adapters.irods_read import let_go
from adapters.tokens import WriteToken


class Writers:
    """The unfinished writes that sessions of this process hold open; thread-safe.

    A server keeps locked what is being written, so that nobody else could remove it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: dict[str, IrodsConnection] = {}

    def begin(self, token: str, connection: IrodsConnection) -> None:
        with self._lock:
            self._connections[token] = connection

    def end(self, token: str) -> None:
        with self._lock:
            self._connections.pop(token, None)

    def cut_off(self, token: str) -> None:
        """Hang up under the writer, if it is one of ours; its next call fails."""
        with self._lock:
            connection = self._connections.pop(token, None)
            if connection is not None:
                connection.hang_up()


class IrodsWriteSession(WriteSession):
    """Small pieces are collected up to one request, so that a session holds no more than that in memory.

    The SHA-256 that the server computes is compared with that of what was written. A resumed session has not seen
    what came before it and leaves the comparison to whoever reads the object.
    """

    def __init__(
        self,
        pool: IrodsPool,
        connection: IrodsConnection,
        descriptor: int,
        token: WriteToken,
        *,
        offset: int,
        remove: Callable[[str], None],
        writers: Writers,
    ) -> None:
        """Owns the connection and the descriptor; ``remove`` is called with the token when the write is aborted."""
        self.key = token.key
        self.token = str(token)
        self.offset = offset
        self._token = token
        self._pool = pool
        self._connection = connection
        self._storage = connection.storage
        self._descriptor: int | None = descriptor
        self._remove = remove
        self._open = True
        self._collected = bytearray()
        whole = offset == 0 and connection.endpoint.verify_checksums
        self._digest = hashlib.sha256() if whole else None
        self._writers = writers
        writers.begin(self.token, connection)

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        declared = self._token.size
        if declared is not None and self.offset + len(view) > declared:
            raise SizeMismatch(f"more than {declared} bytes", storage=self._storage, key=self.key)
        assert self._descriptor is not None, "nothing is written after publish or suspend"
        self.offset += len(view)
        if self._digest is not None:
            self._digest.update(view)
        while view:
            if not self._collected and len(view) >= REQUEST_BYTES:
                self._send(view[:REQUEST_BYTES])
                view = view[REQUEST_BYTES:]
                continue
            room = REQUEST_BYTES - len(self._collected)
            self._collected += view[:room]
            view = view[room:]
            if len(self._collected) == REQUEST_BYTES:
                self._send_collected()

    def publish(self) -> ObjectStat:
        self._finish()
        with translated(self._storage, self.key, absent=WriteLost):
            partial = self._partial()
            self._refuse_wrong(partial)
            move_into_place(self._connection, self._token, size=partial.size)
            self._open = False
        self._writers.end(self.token)
        try:
            with translated(self._storage, self.key):
                return _stat_of(self._connection, self.key, partial)
        finally:
            self._pool.give_back(self._connection)

    def suspend(self) -> str:
        self._finish()
        self._leave()
        return self.token

    def abort(self) -> None:
        if self._open:
            self._open = False
            self._writers.end(self.token)
            let_go(self._pool, self._connection, self._descriptor)
            self._remove(self.token)

    def _send_collected(self) -> None:
        if self._collected:
            self._send(memoryview(bytes(self._collected)))
            self._collected.clear()

    def _send(self, data: memoryview) -> None:
        assert self._descriptor is not None
        with translated(self._storage, self.key, absent=WriteLost):
            taken = write(self._connection, self._descriptor, data)
        if taken != len(data):
            detail = f"the server took {taken} of {len(data)} bytes"
            raise OutOfSpace(detail, storage=self._storage, key=self.key)

    def _finish(self) -> None:
        """All bytes sent and the descriptor closed, which writes the size into the catalog."""
        if self._descriptor is None:
            raise WriteLost("an earlier attempt to finish it failed", storage=self._storage, key=self.key)
        self._send_collected()
        with translated(self._storage, self.key, absent=WriteLost):
            descriptor, self._descriptor = self._descriptor, None
            close(self._connection, descriptor, written_bytes=self.offset)

    def _partial(self) -> Replica:
        found = replicas_at(self._connection, self._connection.path(self._token.partial))
        if not found:
            raise WriteLost("somebody removed it", storage=self._storage, key=self.key)
        return good_one(found, self.key, storage=self._storage)

    def _refuse_wrong(self, partial: Replica) -> None:
        declared = self.offset if self._token.size is None else self._token.size
        if not self.offset == partial.size == declared:
            detail = f"{self.offset} bytes were written, {partial.size} are there, {declared} were declared"
            raise SizeMismatch(detail, storage=self._storage, key=self.key)
        if self._connection.endpoint.verify_checksums:
            told = sha256_of(compute_checksum(self._connection, partial.path, size=partial.size))
            # A server that is set to another kind of checksum cannot be compared with.
            if self._digest is not None and told and told != self._digest.digest():
                detail = f"the server has {told.hex()}, {self._digest.hexdigest()} was written"
                raise ChecksumMismatch(detail, storage=self._storage, key=self.key)

    def _leave(self) -> None:
        self._open = False
        self._writers.end(self.token)
        self._pool.give_back(self._connection)


def publish_copy(connection: IrodsConnection, token: WriteToken, source: Replica) -> ObjectStat:
    """Publish what the server has copied to the token's partial, if it is the source's size and checksum."""
    copied = good_one(replicas_at(connection, connection.path(token.partial)), token.key, storage=connection.storage)
    if copied.size != source.size:
        detail = f"{copied.size} bytes were copied of {source.size}"
        raise SizeMismatch(detail, storage=connection.storage, key=token.key)
    if connection.endpoint.verify_checksums and sha256_of(source.checksum):
        told = sha256_of(compute_checksum(connection, copied.path, size=copied.size))
        if told and told != sha256_of(source.checksum):
            raise ChecksumMismatch("the copy is not its source", storage=connection.storage, key=token.key)
    move_into_place(connection, token, size=copied.size)
    return _stat_of(connection, token.key, copied)


def _stat_of(connection: IrodsConnection, key: str, partial: Replica) -> ObjectStat:
    """The stat of what was just moved to the key: a server may set the time of what it renames, which is a version's.

    Somebody else may have replaced it already, and then it is told as it was.
    """
    return object_stat(key, look_again(connection, replace(partial, path=connection.path(key))) or partial)
