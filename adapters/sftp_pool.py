"""A bounded number of connections to one server, kept for a while between two uses."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import paramiko

from adapters.errors import Unavailable
from adapters.sftp_connection import SftpConnection
from adapters.sftp_endpoint import Endpoint
from adapters.sftp_messages import Kind

#: How many idle connections are kept, and for how long.
SPARE = 4
IDLE_S = 60.0
#: A connection that was used this recently is trusted without asking.
TRUSTED_S = 1.0


class SftpPool:
    """Thread-safe. At most ``limit`` connections exist; each belongs to one user between ``take`` and ``give_back``."""

    def __init__(self, endpoint: Endpoint, *, limit: int, idle_s: float = IDLE_S) -> None:
        self._endpoint = endpoint
        self._limit = limit
        self._idle_s = idle_s
        self._slots = threading.BoundedSemaphore(limit)
        self._lock = threading.Lock()
        self._idle: list[SftpConnection] = []
        self._sweeper: threading.Timer | None = None
        self._closed = False

    def take(self) -> SftpConnection:
        """A connection that worked a moment ago. Raises what connecting raises, and Unavailable when all stay taken."""
        wait_s = self._endpoint.connect_timeout_s
        if not self._slots.acquire(timeout=wait_s):
            detail = f"all {self._limit} connections (max_connections) stayed in use for {wait_s:g} s"
            raise Unavailable(detail, storage=self._endpoint.storage)
        try:
            while (connection := self._pop()) is not None:
                recent = time.monotonic() - connection.idle_since < TRUSTED_S
                if connection.usable if recent else connection.answers():
                    return connection
                connection.close()
            return SftpConnection(self._endpoint)
        except BaseException:
            self._slots.release()
            raise

    def give_back(self, connection: SftpConnection) -> None:
        """Keep the connection for the next user, or close it where it broke or enough are kept."""
        try:
            connection.idle_since = time.monotonic()
            if not (connection.usable and self._keep(connection)):
                connection.close()
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close the idle connections, and from now on every other one when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            if self._sweeper is not None:
                self._sweeper.cancel()
        for connection in idle:
            connection.close()

    def _pop(self) -> SftpConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, connection: SftpConnection) -> bool:
        with self._lock:
            if self._closed or len(self._idle) >= SPARE:
                return False
            self._idle.append(connection)
            if self._sweeper is None:
                self._plan_sweep()
            return True

    def _plan_sweep(self) -> None:
        """Look again when the connection that has been idle longest becomes stale."""
        wait_s = self._idle[0].idle_since + self._idle_s - time.monotonic()
        self._sweeper = threading.Timer(max(wait_s, 0.01), self._sweep)
        self._sweeper.daemon = True
        self._sweeper.start()

    def _sweep(self) -> None:
        stale_since = time.monotonic() - self._idle_s
        with self._lock:
            self._sweeper = None
            stale = [connection for connection in self._idle if connection.idle_since <= stale_since]
            self._idle = [connection for connection in self._idle if connection.idle_since > stale_since]
            if self._idle:
                self._plan_sweep()
        for connection in stale:
            connection.close()


def let_go(pool: SftpPool, connection: SftpConnection, handle: bytes | None, tickets: list[int]) -> None:
    """Give the connection back without waiting for the handle's closing or for the replies still to come."""
    try:
        if handle is not None and connection.usable:
            connection.wire.forget(*tickets, connection.wire.ask(Kind.CLOSE, handle))
            # A connection that breaks here is no longer usable, and the pool will see to it.
            with suppress(OSError, EOFError, paramiko.SSHException):
                connection.wire.send()
    finally:
        pool.give_back(connection)
