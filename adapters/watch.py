"""One call to a storage under watch: admitted, timed, told of; a driver's own exception is turned into ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from adapters.breaker import BEGINNINGS, PROOFS, Breaker
from adapters.errors import AdapterError, Failing, Unavailable

#: Told of every call: the storage's name, the operation, its seconds, and ``ok``, an error's code or ``leak``.
Observe = Callable[[str, str, float, str], None]


class Watched(Protocol):
    """Whose calls are watched."""

    name: str
    observe: Observe | None
    breaker: Breaker | None

    def count_leak(self) -> None: ...


class Watch:
    """One call under guard; a class, not a generator, because every chunk passes through one."""

    __slots__ = ("_began", "_gated", "_guard", "_key", "_operation", "_trying")

    def __init__(self, guard: Watched, operation: str, key: str = "", *, gated: bool = True) -> None:
        self._guard = guard
        self._operation = operation
        self._key = key
        self._gated = gated
        self._trying = False

    def __enter__(self) -> None:
        breaker = self._guard.breaker
        if breaker is not None and self._gated and self._operation in BEGINNINGS:
            try:
                self._trying = breaker.admit()
            except Failing as exc:
                exc.key = self._key
                if self._guard.observe is not None:
                    self._guard.observe(self._guard.name, self._operation, 0.0, exc.code)
                raise
        self._began = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._began
        leaked = isinstance(error, Exception) and not isinstance(error, AdapterError)
        guard = self._guard
        if guard.observe is not None:
            guard.observe(guard.name, self._operation, seconds, _outcome(error))
        if guard.breaker is not None and (error is not None or self._trying or self._operation in PROOFS):
            guard.breaker.note(self._operation, self._key, self._began, error, trying=self._trying)
        if leaked:
            guard.count_leak()
            raise Unavailable(
                f"{self._operation} raised {type(error).__name__}", storage=guard.name, key=self._key
            ) from error


def _outcome(error: BaseException | None) -> str:
    if isinstance(error, AdapterError):
        return error.code
    return "ok" if error is None else "leak" if isinstance(error, Exception) else "interrupted"
