"""A circuit breaker for one storage: after failures in a row it is left alone for a while, then tried by one call.

Failures are faults that may pass and say something of the storage itself. Whatever the storage answered, a refusal
too, is a sign of life; what only the caller did wrong is neither.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock

from adapters.errors import (
    AccessDenied,
    AdapterError,
    AlreadyExists,
    Failing,
    InvalidKey,
    NotFound,
    NotTried,
    Offline,
    OutOfSpace,
    RangeInvalid,
    TimedOut,
    Unavailable,
    Unsupported,
    VersionChanged,
)

#: Calls that are refused while the storage is left alone. What goes on with a stream or a session never is.
BEGINNINGS = frozenset(
    {
        "stat",
        "open_read",
        "open_write",
        "resume_write",
        "unfinished_writes",
        "abort_write",
        "delete",
        "open_scan",
        "copy_within",
        "free_bytes",
        "read_unfinished",
    }
)
#: Calls whose success shows that the storage answers; the others may succeed without asking it anything.
PROOFS = frozenset({"stat", "open_read", "delete", "scan", "copy_within", "free_bytes", "read_unfinished", "publish"})
#: Calls whose failure counts; what cleans up after a failure would only tell it again.
_EVIDENCE = BEGINNINGS | {"scan", "read", "write", "publish"}

_FAILURES = (Offline, TimedOut, Unavailable)
_ANSWERS = (NotFound, AlreadyExists, VersionChanged, AccessDenied, OutOfSpace)
_UNASKED = (InvalidKey, RangeInvalid, Unsupported, NotTried)


@dataclass(frozen=True, slots=True)
class Rule:
    """``failures`` in a row over at least ``span_s`` seconds open the breaker.

    The first wait is a random time up to ``first_wait_s``; each further one may be twice as long, up to
    ``longest_wait_s``.
    """

    failures: int = 5
    span_s: float = 10.0
    first_wait_s: float = 2.0
    longest_wait_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Health:
    """``failing_since`` and the last failure's ``code`` and ``detail`` while a storage is left alone; else empty.

    Times are aware UTC. At ``next_try_at`` one call may try it again.
    """

    failing_since: datetime | None = None
    code: str = ""
    detail: str = ""
    next_try_at: datetime | None = None


class Breaker:
    """Thread-safe. Closed: every call passes. Open: none does, until a moment comes at which one may try.

    ``changed`` is told of the health when the breaker opens and when it closes, outside of any lock; it must not raise.
    With ``suspect`` the first sign of life is told too, because somebody else has found the storage failing.
    """

    def __init__(
        self,
        storage: str,
        rule: Rule,
        *,
        changed: Callable[[Health], None] = lambda _: None,
        suspect: bool = False,
        clock: Callable[[], float] = time.perf_counter,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.storage = storage
        self._rule = rule
        self._changed = changed
        self._suspect = suspect
        self._clock = clock
        self._chance = chance
        self._lock = Lock()
        self._is_open = False
        self._answered_at = float("-inf")
        self._run = 0  # failures since the last sign of life
        self._run_began_at = 0.0
        self._first_key: str | None = None
        self._blames_storage = False
        self._failing_since: datetime | None = None
        self._last: AdapterError | None = None
        self._waits = 0
        self._next_try_at = 0.0
        self._tried_at: float | None = None  # when the try began whose outcome is not known yet
        self._trying = False

    @property
    def health(self) -> Health:
        with self._lock:
            return self._health()

    @property
    def refuses(self) -> bool:
        """Whether a call would be refused now."""
        return self._is_open and (self._trying or self._clock() < self._next_try_at)

    def check(self) -> None:
        """Raises Failing where a call would be refused now."""
        with self._lock:
            if self.refuses:
                raise self._refusal(self._clock())

    def retire(self) -> None:
        """Tell nobody of anything any more: another breaker has the storage now."""
        with self._lock:
            self._changed = lambda _: None

    def admit(self) -> bool:
        """Let a call begin; true where it is the one that tries the storage. Raises Failing."""
        if not self._is_open:
            return False
        with self._lock:
            if not self._is_open:
                return False
            now = self._clock()
            if self.refuses:
                raise self._refusal(now)
            # Not every call shows anything by succeeding: the next one waits for as long again.
            self._trying, self._tried_at = True, now
            self._next_try_at = now + self._wait_s()
            return True

    def note(self, operation: str, key: str, began_at: float, error: BaseException | None, *, trying: bool) -> None:
        """A call has ended that ``admit`` let in, or one that did not have to ask."""
        if isinstance(error, _FAILURES):
            if operation in _EVIDENCE:
                self._failed(key, began_at, error)
        elif isinstance(error, _ANSWERS) or (error is None and operation in PROOFS):
            self.answered()
        if trying:
            with self._lock:
                self._trying = False
                if isinstance(error, _UNASKED):
                    self._tried_at, self._next_try_at = None, self._clock()

    def answered(self) -> None:
        """The storage has shown that it answers."""
        self._answered_at = self._clock()
        if not (self._run or self._is_open or self._suspect):
            return
        with self._lock:
            tell = self._is_open or self._suspect
            self._is_open = self._suspect = False
            self._run = self._waits = 0
            self._failing_since = self._last = None
            changed, health = self._changed, self._health()
        if tell:
            changed(health)

    def _failed(self, key: str, began_at: float, error: AdapterError) -> None:
        with self._lock:
            if began_at < self._answered_at:
                return  # It answered others since: this call hung on something of its own, or on what is over.
            self._last = error
            if self._is_open:
                if self._tried_at is not None and began_at >= self._tried_at:
                    self._leave_alone()
                return
            if not self._count(key, error):
                return
            self._is_open = True
            self._leave_alone()
            changed, health = self._changed, self._health()
        changed(health)

    def _count(self, key: str, error: AdapterError) -> bool:
        """Whether this failure is the one too many."""
        now = self._clock()
        if not self._run:
            self._run_began_at, self._failing_since = now, datetime.now(UTC)
            self._first_key, self._blames_storage = key, False
        self._run += 1
        # One object may fail, or be asked for in vain, again and again where all others are well.
        self._blames_storage |= isinstance(error, Offline) or key != self._first_key
        enough = self._run >= self._rule.failures and now - self._run_began_at >= self._rule.span_s
        return enough and self._blames_storage

    def _leave_alone(self) -> None:
        self._waits += 1
        self._tried_at = None
        self._next_try_at = self._clock() + self._wait_s()

    def _wait_s(self) -> float:
        ceiling = min(self._rule.longest_wait_s, self._rule.first_wait_s * 2.0 ** min(self._waits - 1, 30))
        return ceiling * self._chance()

    def _refusal(self, now: float) -> Failing:
        health = self._health()
        last = f"{health.code} ({health.detail})" if health.detail else health.code
        since, until = (f"{at:%Y-%m-%d %H:%M:%S} UTC" for at in (health.failing_since, health.next_try_at) if at)
        return Failing(
            f"since {since}, last with {last}; it is tried again at {until}",
            storage=self.storage,
            retry_after_s=max(1.0, self._next_try_at - now),
        )

    def _health(self) -> Health:
        if not self._is_open or self._last is None:
            return Health()
        left = timedelta(seconds=max(0.0, self._next_try_at - self._clock()))
        return Health(self._failing_since, self._last.code, self._last.detail, datetime.now(UTC) + left)
