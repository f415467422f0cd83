"""Writing one object over SFTP, with a bounded number of bytes sent and not yet acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from adapters.base import ObjectStat, WriteMode, WriteSession
from adapters.errors import AlreadyExists, InvalidKey, OutOfSpace, SizeMismatch, WriteLost
from adapters.sftp_connection import SftpConnection
from adapters.sftp_errors import translated
from adapters.sftp_messages import Attributes, Code, Kind, Reply, SftpStatus
from adapters.sftp_pool import SftpPool, let_go
from adapters.sftp_tree import free_bytes, object_stat
from adapters.tokens import WriteToken

POSIX_RENAME = "posix-rename@openssh.com"
FSYNC = "fsync@openssh.com"


class SftpWriteSession(WriteSession):
    """Writes to the partial at known offsets, so that what was acknowledged is a start of the object.

    A CREATE is published by SFTP's plain rename, which must refuse an existing name (section 6.5 of the draft): OpenSSH
    does it with link(2) and unlink(2), as atomic as its hardlink extension and with one round trip less. A REPLACE
    needs posix-rename@openssh.com.
    """

    def __init__(
        self,
        pool: SftpPool,
        connection: SftpConnection,
        handle: bytes,
        token: WriteToken,
        *,
        offset: int,
        remove: Callable[[str], None],
    ) -> None:
        """Owns the connection and the handle; ``remove`` is called with the token when the write is aborted."""
        self.key = token.key
        self.token = str(token)
        self.offset = self._sent = offset
        self._token = token
        self._pool = pool
        self._connection = connection
        self._wire = connection.wire
        self._handle: bytes | None = handle
        self._storage = connection.storage
        self._remove = remove
        self._open = True
        self._pending: deque[tuple[int, int]] = deque()
        self._under_way = 0
        self._rest, self._rest_bytes = memoryview(bytearray(self._wire.write_bytes)), 0
        self._refused = False

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        count, declared = len(view), self._token.size
        if declared is not None and self.offset + count > declared:
            raise SizeMismatch(f"more than {declared} bytes", storage=self._storage, key=self.key)
        assert self._handle is not None, "nothing is written after publish or suspend"
        with translated(self._storage, self.key, absent=WriteLost):
            # Every request is answered and costs both sides some work, so that only full ones are made on the way.
            while self._rest_bytes + len(view) >= len(self._rest):
                cut = len(self._rest) - self._rest_bytes
                self._make_room(len(self._rest))
                self._send(self._handle, view[:cut])
                view = view[cut:]
            self._rest[self._rest_bytes : self._rest_bytes + len(view)] = view
            self._rest_bytes += len(view)
        self.offset += count

    def publish(self) -> ObjectStat:
        partial, target = (self._connection.root + key.encode() for key in (self._token.partial, self.key))
        with translated(self._storage, self.key, absent=WriteLost):
            found = self._finish()
            declared = self.offset if self._token.size is None else self._token.size
            if not self.offset == found.size == declared:
                detail = f"{self.offset} bytes were written, {found.size} are there, {declared} were declared"
                raise SizeMismatch(detail, storage=self._storage, key=self.key)
            if self._token.mode is WriteMode.REPLACE:
                rename = self._wire.extended(POSIX_RENAME, partial, target)
            else:
                rename = self._wire.ask(Kind.RENAME, partial, target)
            renamed, there = self._wire.gather(rename, self._wire.ask(Kind.LSTAT, target))
            try:
                renamed.ok()
            except SftpStatus as exc:
                self._refuse_taken(there, exc)
                raise
        self._leave()
        return object_stat(self.key, found)

    def suspend(self) -> str:
        with translated(self._storage, self.key, absent=WriteLost):
            self._finish()
        self._leave()
        return self.token

    def abort(self) -> None:
        if self._open:
            self._open = False
            let_go(self._pool, self._connection, self._handle, [ticket for ticket, _ in self._pending])
            self._remove(self.token)

    def _make_room(self, count: int) -> None:
        while self._under_way + count > self._wire.in_flight_bytes:
            ticket, acknowledged = self._pending.popleft()
            self._under_way -= acknowledged
            self._accept(self._wire.reply(ticket))

    def _send(self, handle: bytes, data: memoryview) -> None:
        """What was left of earlier writes, and ``data``."""
        count = self._rest_bytes + len(data)
        ticket = self._wire.write(handle, self._sent, self._rest[: self._rest_bytes], data)
        self._pending.append((ticket, count))
        self._rest_bytes = 0
        self._under_way += count
        self._sent += count

    def _finish(self) -> Attributes:
        """One round trip: all bytes acknowledged and on the disk, the handle closed, and the size looked at again."""
        if self._handle is None or self._refused:
            raise WriteLost("an earlier attempt to write or finish it failed", storage=self._storage, key=self.key)
        if self._rest_bytes:
            self._send(self._handle, memoryview(b""))
        steps = [ticket for ticket, _ in self._pending]
        if FSYNC in self._wire.extensions:
            steps.append(self._wire.extended(FSYNC, self._handle))
        steps.append(self._wire.ask(Kind.CLOSE, self._handle))
        look = self._wire.ask(Kind.LSTAT, self._connection.root + self._token.partial.encode())
        self._handle = None
        self._pending.clear()
        self._under_way = 0
        *done, found = self._wire.gather(*steps, look)
        for reply in done:
            self._accept(reply)
        return found.attributes()

    def _accept(self, reply: Reply) -> None:
        try:
            reply.ok()
        except SftpStatus as exc:
            self._refused = True
            # OpenSSH has no other word for a full disk than for any failure.
            if exc.code == Code.FAILURE and self._is_full():
                raise OutOfSpace(storage=self._storage, key=self.key) from exc
            raise

    def _is_full(self) -> bool:
        with suppress(SftpStatus):
            free = free_bytes(self._connection, self._connection.root)
            return free is not None and free < self._wire.in_flight_bytes
        return False

    def _refuse_taken(self, there: Reply, refusal: SftpStatus) -> None:
        with suppress(SftpStatus):
            if there.attributes().is_folder:
                raise InvalidKey("it is a folder", storage=self._storage, key=self.key) from refusal
            if self._token.mode is WriteMode.CREATE:
                raise AlreadyExists(storage=self._storage, key=self.key) from refusal

    def _leave(self) -> None:
        self._open = False
        self._pool.give_back(self._connection)
