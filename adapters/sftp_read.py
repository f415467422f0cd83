"""Reading one object over SFTP, with a bounded number of bytes asked for ahead."""

from __future__ import annotations

from collections import deque

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import NotFound, RangeInvalid, Truncated, Unavailable, VersionChanged
from adapters.sftp_connection import SftpConnection
from adapters.sftp_errors import translated
from adapters.sftp_messages import Code, Kind, SftpStatus
from adapters.sftp_pool import SftpPool, let_go
from adapters.sftp_tree import object_stat


class SftpReadStream(ReadStream):
    """Reads through the handle it was opened with, which a replacement of the file does not touch."""

    def __init__(
        self,
        pool: SftpPool,
        connection: SftpConnection,
        handle: bytes,
        key: str,
        *,
        start: int,
        stop: int | None,
        version: str | None,
    ) -> None:
        """Owns the connection and the handle from here on, also where it raises."""
        self._pool = pool
        self._connection = connection
        self._wire = connection.wire
        self._handle = handle
        self._storage = connection.storage
        self._open = True
        self._pending: deque[tuple[int, int, int]] = deque()
        self._piece = b""
        self._used = 0
        self._closing_look: int | None = None
        self._next = start
        try:
            with translated(self._storage, key):
                self.stat = self._look(key, stop)
            if version is not None and version != self.stat.version:
                raise VersionChanged(storage=self._storage, key=key)
            stop = self.stat.size if stop is None else stop
            if not 0 <= start <= stop <= self.stat.size:
                raise RangeInvalid(f"[{start}, {stop}) of {self.stat.size} bytes", storage=self._storage, key=key)
        except BaseException:
            self.close()
            raise
        self.start = self._position = start
        self.stop = stop

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if self._position == self.stop or not self._open:
            return b""
        with translated(self._storage, self.stat.key):
            if self._used == len(self._piece):
                self._piece, self._used = self._next_piece(), 0
        data = self._piece[self._used : self._used + max_bytes]
        self._used += len(data)
        self._position += len(data)
        return data

    def close(self) -> None:
        if self._open:
            self._open = False
            tickets = [ticket for ticket, _, _ in self._pending]
            if self._closing_look is not None:
                tickets.append(self._closing_look)
            let_go(self._pool, self._connection, self._handle, tickets)

    def _look(self, key: str, stop: int | None) -> ObjectStat:
        """One round trip tells what was opened and brings the first bytes of it."""
        look = self._wire.ask(Kind.FSTAT, self._handle)
        count = self._wire.read_bytes if stop is None else min(self._wire.read_bytes, stop - self._next)
        if count > 0:
            self._ask(count)
        found = self._wire.reply(look).attributes()
        if not found.is_file:
            raise NotFound("it is a folder, or no regular file", storage=self._storage, key=key)
        return object_stat(key, found)

    def _next_piece(self) -> bytes:
        self._ask_ahead()
        ticket, offset, wanted = self._pending.popleft()
        try:
            data = self._wire.reply(ticket).data()
        except SftpStatus as exc:
            if exc.code != Code.EOF:
                raise
            detail = f"it ended at byte {offset} of {self.stop}"
            raise Truncated(detail, storage=self._storage, key=self.stat.key) from exc
        # The first request was made before the size was known, so that it may have brought what was not asked for.
        data = data[: self.stop - offset]
        wanted = min(wanted, self.stop - offset)
        if not data or len(data) > wanted:
            detail = f"{len(data)} bytes came for {wanted} at byte {offset}"
            raise Unavailable(detail, storage=self._storage, key=self.stat.key)
        if len(data) < wanted:
            # A server may answer with less than was asked for; the rest has to come before what was asked for later.
            offset, missing = offset + len(data), wanted - len(data)
            self._pending.appendleft((self._wire.read(self._handle, offset, missing), offset, missing))
        elif not self._pending:
            self._refuse_changed()
        return data

    def _ask_ahead(self) -> None:
        under_way = sum(wanted for _, _, wanted in self._pending)
        while self._next < self.stop and under_way + self._wire.read_bytes <= self._wire.in_flight_bytes:
            under_way += self._ask(min(self._wire.read_bytes, self.stop - self._next))
            if self._next == self.stop:
                # Whether somebody wrote into the file while it was read costs no round trip of its own.
                self._closing_look = self._wire.ask(Kind.FSTAT, self._handle)

    def _ask(self, count: int) -> int:
        self._pending.append((self._wire.read(self._handle, self._next, count), self._next, count))
        self._next += count
        return count

    def _refuse_changed(self) -> None:
        if self._closing_look is not None:
            look, self._closing_look = self._closing_look, None
            found = object_stat(self.stat.key, self._wire.reply(look).attributes())
            if found.version != self.stat.version:
                raise VersionChanged("somebody wrote into it as it was read", storage=self._storage, key=self.stat.key)
