"""Waiting: readers of an object that is not there yet, each in a seat, until it comes or their time is over.

A seat is taken before its first look, so that nothing which happens in between goes unnoticed. All who wait for one
object share each look at it, with one query for the state of all their aliases.
"""

import math
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import TracebackType
from typing import Self

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from adapters.errors import AdapterError
from staging import aliases
from staging.arrivals import HUB, topics_of
from staging.errors import AliasExpired, AliasRevoked, AliasUsedUp, DataPending, StagingError
from staging.models import Alias
from staging.reading import Found
from staging.states import AliasMode, AliasState

#: A file that others put into a mounted bucket tells nobody: it is looked for so often, once for all who wait for it.
RELOOK_S = 3.0
#: The last look before a reader is sent away may be so old; it finds what a lost message did not tell of.
_FRESH_S = 1.0
#: By how much the clocks that count a wait and an alias's life may differ within a wait.
_CLOCKS_S = 0.05
#: A process that stops has a successor or a neighbour in a moment.
_STOPPING_RETRY_S = 2

_ENDED = {AliasState.REVOKED: AliasRevoked, AliasState.EXPIRED: AliasExpired, AliasState.USED_UP: AliasUsedUp}


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen by a look that ``began`` then (monotonic): the object or why not, and which aliases had ended."""

    began: float
    seen: Found | Exception
    ended: dict[uuid.UUID, AliasState]

    @property
    def may_pass(self) -> bool:
        """Whether nothing was found, for a reason that is worth waiting for or looking again."""
        seen = self.seen
        return isinstance(seen, DataPending) or self.failed

    @property
    def failed(self) -> bool:
        """Whether a storage or the database did not answer."""
        seen = self.seen
        return isinstance(seen, OperationalError | InterfaceError) or (
            isinstance(seen, AdapterError) and seen.transient
        )


class _Table:
    """All seats of those who wait for one object."""

    def __init__(self, alias: Alias, key: str) -> None:
        self.seats: set[Seat] = set()
        self.topics = topics_of(alias.project_id, alias.bucket.name, key)
        self.woken_at = -math.inf
        self._looking = threading.Lock()
        self._last: _Look | None = None

    def wake(self) -> None:
        """Something happened: all look again."""
        self.woken_at = time.monotonic()
        for seat in tuple(self.seats):
            seat.rouse()

    def share(self) -> None:
        """What one has found by looking again all others see at once: that look is theirs too."""
        for seat in tuple(self.seats):
            seat.rouse()

    def look(self, find: Callable[[], Found], since: float) -> _Look:
        """A look that began at ``since`` or later: one that somebody else at the table took, or a new one."""
        last = self._last
        if last is not None and last.began >= since:
            return last
        with self._looking:
            if self._last is None or self._last.began < since:
                self._last = self._take(find)
            return self._last

    def _take(self, find: Callable[[], Found]) -> _Look:
        began, ended, seen = time.monotonic(), {}, _seen(find)
        if not isinstance(seen, OperationalError | InterfaceError):
            try:
                ended = _ended([seat.alias.pk for seat in tuple(self.seats)])
            except (OperationalError, InterfaceError) as exc:
                seen = exc
        _let_go()
        return _Look(began, seen, ended)


_TABLES: dict[tuple[int, str, bool], _Table] = {}
_LOCK = threading.Lock()
_stopping = threading.Event()


class Seat:
    """One reader who waits, for at most ``wait_s`` from now; ``is_left`` once it has gone. A context manager.

    ``key`` is what it waits for in the alias's bucket, ``find`` looks for it as ``reading.find`` does.
    """

    def __init__(self, alias: Alias, key: str, wait_s: float, find: Callable[[], Found]) -> None:
        self.alias = alias
        self._key, self._find = key, find
        # A key that may never come is another answer to one who reads below a prefix.
        self._place = (alias.bucket_id, key, AliasMode(alias.mode).is_prefix)
        self._deadline = time.monotonic() + wait_s
        self._roused = threading.Event()
        self.is_left = False

    def __enter__(self) -> Self:
        with _LOCK:
            self._table = _TABLES.get(self._place) or _Table(self.alias, self._key)
            self._table.seats.add(self)
            if len(self._table.seats) == 1:
                _TABLES[self._place] = self._table
                HUB.join(self._table, self._table.topics)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _LOCK:
            self._table.seats.discard(self)
            if not self._table.seats:
                del _TABLES[self._place]
                HUB.leave(self._table, self._table.topics)

    def rouse(self) -> None:
        """Let ``wait`` go on."""
        self._roused.set()

    def leave(self) -> None:
        """The reader has gone: ``wait`` ends soon."""
        self.is_left = True
        self._roused.set()

    def left_s(self) -> float:
        """How long the reader is still to wait."""
        return max(0.0, self._deadline - time.monotonic())

    def wait(self) -> Found:
        """The object, once it is there.

        Raises what the look raises where that is final, AliasRevoked, AliasExpired and AliasUsedUp where the
        alias has ended meanwhile, and DataPending, or what kept the last look from its answer, when the time is over.
        """
        _let_go()
        since = time.monotonic()
        expires_at = since + (aliases.ends_at(self.alias) - timezone.now()).total_seconds() + _CLOCKS_S
        while True:
            look = self._table.look(self._find, since)
            if state := look.ended.get(self.alias.pk):
                raise _ENDED[state]()
            if isinstance(look.seen, Found):
                if self.alias.bucket.mounted:
                    self._table.share()
                return look.seen
            now = time.monotonic()
            if self.is_left or _stopping.is_set():
                raise DataPending(retry_after_s=_STOPPING_RETRY_S)
            if not look.may_pass or (now >= self._deadline and look.began >= self._deadline - _FRESH_S):
                raise look.seen.with_traceback(None)  # Others raise the same one.
            again_at = now + RELOOK_S if self.alias.bucket.mounted or look.failed else math.inf
            self._roused.wait(max(0.0, min(self._deadline, expires_at, again_at) - now))
            self._roused.clear()
            now, since = time.monotonic(), self._table.woken_at
            if now >= self._deadline:
                since = max(since, now - _FRESH_S)
            if now >= expires_at:
                since, expires_at = max(since, expires_at), math.inf
            if now >= again_at:
                since = max(since, now - RELOOK_S)


def dismiss() -> None:
    """Send all who wait away, and whoever would wait from now on: this process stops."""
    _stopping.set()
    with _LOCK:
        tables = tuple(_TABLES.values())
    for table in tables:
        for seat in tuple(table.seats):
            seat.rouse()


def _seen(find: Callable[[], Found]) -> Found | Exception:
    try:
        return find()
    except (StagingError, AdapterError, OperationalError, InterfaceError) as exc:
        return exc


def _ended(ids: list[uuid.UUID]) -> dict[uuid.UUID, AliasState]:
    """Which of the aliases cannot be used any more."""
    states = reduce(or_, (aliases.in_state(state) for state in _ENDED))
    found: dict[uuid.UUID, AliasState] = {}
    for start in range(0, len(ids), 500):
        for alias in Alias.objects.filter(states, pk__in=ids[start : start + 500]):
            found[alias.pk] = aliases.state_of(alias)
    return found


def _let_go() -> None:
    """A thread that waits keeps no connection, on SQLite neither: each has a cache and open files."""
    if not connection.in_atomic_block:
        connection.close()
