"""A bounded number of connections, or of processes that hold one, kept for a while between two uses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from adapters.slots import CONNECTIONS, Slots

#: How many idle connections are kept, and for how long.
SPARE = 4
IDLE_S = 60.0
#: A connection that was used this recently is trusted without asking.
TRUSTED_S = 1.0


class Connection(Protocol):
    """What a pool asks of a connection; ``close`` is idempotent and raises nothing that matters."""

    idle_since: float

    @property
    def usable(self) -> bool: ...

    def answers(self) -> bool: ...

    def close(self) -> None: ...


C = TypeVar("C", bound=Connection)


class Pool(Generic[C]):
    """Thread-safe. At most ``limit`` connections exist; each belongs to one user between ``take`` and ``give_back``."""

    def __init__(
        self,
        connect: Callable[[], C],
        *,
        storage: str,
        limit: int,
        wait_s: float,
        idle_s: float = IDLE_S,
        spare: int = SPARE,
        what: str = CONNECTIONS,
    ) -> None:
        """``wait_s`` bounds the wait for a connection that another user gives back; ``what`` they are called."""
        self._connect = connect
        self._idle_s = idle_s
        self._spare = spare
        self._slots = Slots(limit, storage=storage, wait_s=wait_s, what=what)
        self._lock = threading.Lock()
        self._idle: list[C] = []
        self._sweeper: threading.Timer | None = None
        self._closed = False

    def take(self) -> C:
        """A connection that worked a moment ago. Raises what connecting raises, and Busy when all stay taken."""
        self._slots.take()
        try:
            while (connection := self._pop()) is not None:
                recent = time.monotonic() - connection.idle_since < TRUSTED_S
                if connection.usable if recent else connection.answers():
                    return connection
                connection.close()
            return self._connect()
        except BaseException:
            self._slots.give_back()
            raise

    def give_back(self, connection: C) -> None:
        """Keep the connection for the next user, or close it where it broke or enough are kept."""
        try:
            connection.idle_since = time.monotonic()
            if not (connection.usable and self._keep(connection)):
                connection.close()
        finally:
            self._slots.give_back()

    def close(self) -> None:
        """Close the idle connections, and from now on every other one when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            if self._sweeper is not None:
                self._sweeper.cancel()
        for connection in idle:
            connection.close()

    def _pop(self) -> C | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, connection: C) -> bool:
        with self._lock:
            if self._closed or len(self._idle) >= self._spare:
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
