"""What is the same for every adapter: keys and ranges are checked, calls are timed, streams held to their promise.

While a breaker finds that the storage fails, calls that would begin something are refused (adapters/breaker.py).

Whatever a driver lets slip that is no AdapterError becomes Unavailable, its cause kept, and counts as a leak: a
defect of the adapter, which its tests hold at zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from threading import Lock
from typing import ClassVar, Literal, Self, TypeVar, cast

from adapters.base import (
    CHUNK_BYTES,
    Adapter,
    CheckStep,
    CopiesWithin,
    Listed,
    ListsUnfinished,
    ObjectStat,
    ReadStream,
    ReadsUnfinished,
    ReportsSpace,
    SignsUrls,
    Traits,
    Unfinished,
    WriteMode,
    WriteSession,
)
from adapters.breaker import Breaker
from adapters.errors import AdapterError, RangeInvalid, Truncated, Unavailable
from adapters.keys import check_key, check_prefix
from adapters.tokens import WriteToken
from adapters.watch import Observe, Watch

T = TypeVar("T")


def guard(adapter: Adapter, *, observe: Observe | None = None, breaker: Breaker | None = None) -> Guarded:
    """The adapter behind a guard, which offers an optional capability exactly if the adapter does."""
    mixins = tuple(mixin for capability, mixin in _CAPABILITIES if isinstance(adapter, capability))
    return _guard_class(type(adapter), mixins)(adapter, observe=observe, breaker=breaker)


class Guarded(Adapter):
    """An adapter behind its guard; ``leaks`` counts what was raised and was no AdapterError."""

    wraps: ClassVar[type[Adapter]]

    def __init__(self, inner: Adapter, *, observe: Observe | None = None, breaker: Breaker | None = None) -> None:
        self.inner = inner
        self.name = inner.name
        self.observe = observe
        self.breaker = breaker
        self.leaks = 0
        self._lock = Lock()

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        """The inner adapter's, which may learn more of its server while it works."""
        return self.inner.traits

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        return cls(cls.wraps.build(name, options, credential))

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return cls.wraps.base_uri(options)

    def stat(self, key: str) -> ObjectStat:
        with Watch(self, "stat", key):
            return self.inner.stat(check_key(key, storage=self.name))

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        with Watch(self, "open_read", key):
            check_key(key, storage=self.name)
            if start < 0 or (stop is not None and stop < start):
                raise RangeInvalid(f"[{start}, {stop})", storage=self.name, key=key)
            return GuardedRead(self, self.inner.open_read(key, start, stop, version=version))

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        # A body of unknown length cannot be sent again: it is never refused for what the storage did to others.
        with Watch(self, "open_write", key, gated=size is not None):
            check_key(key, storage=self.name)
            return GuardedWrite(self, self.inner.open_write(key, size=size, mode=mode))

    def resume_write(self, token: str) -> WriteSession:
        with Watch(self, "resume_write"):
            return GuardedWrite(self, self.inner.resume_write(token))

    def unfinished_writes(self, key: str) -> list[str]:
        with Watch(self, "unfinished_writes", key):
            return self.inner.unfinished_writes(check_key(key, storage=self.name))

    def abort_write(self, token: str) -> None:
        with Watch(self, "abort_write"):
            self.inner.abort_write(token)

    def delete(self, key: str) -> None:
        with Watch(self, "delete", key):
            self.inner.delete(check_key(key, storage=self.name))

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        """Each step is timed by itself: what the caller does in between is none of the storage's time."""
        with Watch(self, "open_scan", prefix):
            found = iter(self.inner.scan(check_prefix(prefix, storage=self.name), after=after, recursive=recursive))
        return self._steps(found, prefix)

    def check(self) -> list[CheckStep]:
        try:
            with Watch(self, "check"):
                steps = self.inner.check()
        except AdapterError as exc:
            return [CheckStep("check", False, str(exc))]
        if self.breaker is not None and all(step.ok for step in steps):
            self.breaker.answered()
        return steps

    def close(self) -> None:
        with Watch(self, "close"):
            self.inner.close()

    def count_leak(self) -> None:
        with self._lock:
            self.leaks += 1

    def _steps(self, found: Iterator[T], prefix: str) -> Iterator[T]:
        try:
            while True:
                with Watch(self, "scan", prefix):
                    item = next(found, None)
                if item is None:
                    return
                yield item
        finally:
            if close := getattr(found, "close", None):  # A generator lets go of its connection or descriptor here.
                close()


class GuardedRead(ReadStream):
    """A stream that returns exactly its bytes: fewer raise Truncated, and none beyond them is passed on."""

    def __init__(self, guard: Guarded, inner: ReadStream) -> None:
        self.stat = inner.stat
        self.start = inner.start
        self.stop = inner.stop
        self._left = inner.stop - inner.start
        self._guard = guard
        self._inner = inner

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        with Watch(self._guard, "read", self.stat.key):
            data = self._inner.read(max_bytes)
            if len(data) > min(max_bytes, self._left):
                raise Unavailable("it sent more than was asked for", storage=self._guard.name, key=self.stat.key)
            self._left -= len(data)
            if self._left and not data:
                raise Truncated(f"{self._left} bytes are missing", storage=self._guard.name, key=self.stat.key)
            return data

    def close(self) -> None:
        with Watch(self._guard, "close_read", self.stat.key):
            self._inner.close()


class GuardedWrite(WriteSession):
    def __init__(self, guard: Guarded, inner: WriteSession) -> None:
        self.key = inner.key
        self.token = inner.token
        self.offset = inner.offset
        self._guard = guard
        self._inner = inner

    def write(self, data: bytes | memoryview) -> None:
        try:
            with Watch(self._guard, "write", self.key):
                self._inner.write(data)
        finally:
            self.offset = self._inner.offset

    def publish(self) -> ObjectStat:
        with Watch(self._guard, "publish", self.key):
            return self._inner.publish()

    def suspend(self) -> str:
        with Watch(self._guard, "suspend", self.key):
            return self._inner.suspend()

    def abort(self) -> None:
        with Watch(self._guard, "abort", self.key):
            self._inner.abort()


class _GuardedCopies(Guarded):
    def copy_within(self, source: str, token: WriteToken) -> ObjectStat:
        with Watch(self, "copy_within", source):
            check_key(source, storage=self.name)
            check_key(token.key, storage=self.name)
            return cast(CopiesWithin, self.inner).copy_within(source, token)


class _GuardedUrls(Guarded):
    def sign_url(self, key: str, *, method: Literal["GET", "PUT"], lifetime_s: int) -> str:
        with Watch(self, "sign_url", key):
            check_key(key, storage=self.name)
            return cast(SignsUrls, self.inner).sign_url(key, method=method, lifetime_s=lifetime_s)


class _GuardedSpace(Guarded):
    def free_bytes(self) -> int:
        with Watch(self, "free_bytes"):
            return cast(ReportsSpace, self.inner).free_bytes()


class _GuardedUnfinished(Guarded):
    def read_unfinished(self, token: str) -> ReadStream:
        with Watch(self, "read_unfinished"):
            return GuardedRead(self, cast(ReadsUnfinished, self.inner).read_unfinished(token))


class _GuardedLeftovers(Guarded):
    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]:
        with Watch(self, "open_scan", folder):
            check_prefix(folder, storage=self.name)
            found = iter(cast(ListsUnfinished, self.inner).scan_unfinished(folder))
        return self._steps(found, folder)


_CAPABILITIES: tuple[tuple[type, type[Guarded]], ...] = (
    (CopiesWithin, _GuardedCopies),
    (SignsUrls, _GuardedUrls),
    (ReportsSpace, _GuardedSpace),
    (ReadsUnfinished, _GuardedUnfinished),
    (ListsUnfinished, _GuardedLeftovers),
)


@cache
def _guard_class(wraps: type[Adapter], mixins: tuple[type[Guarded], ...]) -> type[Guarded]:
    names = {"wraps": wraps, "scheme": wraps.scheme, "fields": wraps.fields}
    return type(f"Guarded{wraps.__name__}", (*mixins, Guarded), names)
