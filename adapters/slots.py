"""A budget: how many connections to one storage this process may have, shared by all its transfers and requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.errors import Busy

CONNECTIONS = "connections (max_connections)"


class Slots:
    """Thread-safe. Whoever wants a connection takes a slot first, and waits at most ``wait_s`` seconds for it."""

    def __init__(self, limit: int, *, storage: str, wait_s: float, what: str = CONNECTIONS) -> None:
        """``what`` the slots are for, and the setting that says how many there are."""
        self._free = threading.BoundedSemaphore(limit)
        self._detail = f"all {limit} {what} stayed in use for {wait_s:g} s"
        self._limit = limit
        self._storage = storage
        self._wait_s = wait_s

    def take(self) -> None:
        """Raises Busy where none gets free in time."""
        if not self._free.acquire(timeout=self._wait_s):
            raise Busy(self._detail, storage=self._storage, limit=self._limit)

    def give_back(self) -> None:
        self._free.release()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One for the block. Raises Busy."""
        self.take()
        try:
            yield
        finally:
            self.give_back()

    @contextmanager
    def handed_on(self) -> Iterator[Slot]:
        """One for what the block makes, which gives it back; where the block fails, nobody has it. Raises Busy."""
        self.take()
        slot = Slot(self)
        try:
            yield slot
        except BaseException:
            slot.give_back()
            raise


class Slot:
    """One that somebody holds; ``give_back`` is idempotent."""

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots

    def give_back(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.give_back()
