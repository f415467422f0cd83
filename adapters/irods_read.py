"""Reading one good replica of an iRODS object, in large requests."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import AdapterError, RangeInvalid, Truncated, VersionChanged
from adapters.irods_catalog import Replica, look_again, object_stat
from adapters.irods_connection import IrodsConnection, IrodsPool
from adapters.irods_errors import MISSING, translated
from adapters.irods_objects import REQUEST_BYTES, close, open_to_read, read_into, seek


class IrodsReadStream(ReadStream):
    """Reads through the descriptor it was opened with, which a replacement of the object does not touch.

    Whether somebody wrote into the replica meanwhile is looked at when the last bytes have come.
    """

    def __init__(
        self,
        pool: IrodsPool,
        connection: IrodsConnection,
        descriptor: int,
        replica: Replica,
        key: str,
        *,
        start: int,
        stop: int | None,
        version: str | None,
    ) -> None:
        """Owns the connection and the descriptor from here on, also where it raises."""
        self._pool = pool
        self._connection = connection
        self._descriptor = descriptor
        self._replica = replica
        self._open = True
        self._buffer = memoryview(b"")
        self._piece = memoryview(b"")
        self.stat: ObjectStat = object_stat(key, replica)
        try:
            if version is not None and version != self.stat.version:
                raise VersionChanged(storage=connection.storage, key=key)
            stop = self.stat.size if stop is None else stop
            if not 0 <= start <= stop <= self.stat.size:
                raise RangeInvalid(f"[{start}, {stop}) of {self.stat.size} bytes", storage=connection.storage, key=key)
            if start < stop and start > 0:
                with translated(connection.storage, key):
                    seek(connection, descriptor, start)
        except BaseException:
            self.close()
            raise
        self.start = self._asked = start
        self.stop = stop

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if not self._open:
            return b""
        if not self._piece and self._asked < self.stop:
            with translated(self._connection.storage, self.stat.key):
                self._piece = self._next_piece()
        data = bytes(self._piece[:max_bytes])
        self._piece = self._piece[max_bytes:]
        return data

    def close(self) -> None:
        if self._open:
            self._open = False
            let_go(self._pool, self._connection, self._descriptor)

    def _next_piece(self) -> memoryview:
        wanted = min(REQUEST_BYTES, self.stop - self._asked)
        if len(self._buffer) < wanted:
            self._buffer = memoryview(bytearray(wanted))
        count = read_into(self._connection, self._descriptor, self._buffer[:wanted])
        if not count:
            detail = f"it ended at byte {self._asked} of {self.stop}"
            raise Truncated(detail, storage=self._connection.storage, key=self.stat.key)
        self._asked += count
        if self._asked == self.stop:
            self._refuse_changed()
        return self._buffer[:count]

    def _refuse_changed(self) -> None:
        now = look_again(self._connection, self._replica)
        # Where it was moved or removed, the descriptor still reads what it was opened on.
        if now is not None and not _is_same(now, self._replica):
            raise VersionChanged(
                "somebody wrote into it as it was read", storage=self._connection.storage, key=self.stat.key
            )


def open_replica(connection: IrodsConnection, replica: Replica) -> int | None:
    """A descriptor of exactly this replica; None where it was moved, replaced or changed as it was opened."""
    try:
        descriptor = open_to_read(connection, replica.path, replica.number)
    except MISSING:
        return None
    now = look_again(connection, replica)
    if now is not None and _is_same(now, replica):
        return descriptor
    close(connection, descriptor)
    return None


def let_go(pool: IrodsPool, connection: IrodsConnection, descriptor: int | None) -> None:
    """Close the descriptor, if it is open, and give the connection back."""
    try:
        if descriptor is not None and connection.usable:
            # A connection that breaks here is no longer usable, and the pool will see to it. What the server says of a
            # descriptor that nobody needs any more is of no interest.
            with suppress(AdapterError), translated(connection.storage):
                close(connection, descriptor)
    finally:
        pool.give_back(connection)


def _is_same(one: Replica, other: Replica) -> bool:
    """Whether nothing happened between two looks, but for the checksum becoming known."""
    return replace(one, checksum="") == replace(other, checksum="")
