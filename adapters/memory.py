"""Objects in the memory of one adapter: for tests and as a process's own fastest tier; gone with the process."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from adapters.base import (
    CHUNK_BYTES,
    Adapter,
    CheckStep,
    Field,
    Listed,
    ObjectStat,
    Prefix,
    ReadStream,
    Traits,
    Unfinished,
    WriteMode,
    WriteSession,
)
from adapters.errors import (
    AlreadyExists,
    NotFound,
    OutOfSpace,
    RangeInvalid,
    SizeMismatch,
    VersionChanged,
    WriteLost,
)
from adapters.tokens import WriteToken

DEFAULT_CAPACITY_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class _Stored:
    stat: ObjectStat
    data: bytes


class MemoryAdapter(Adapter):
    """Keeps what the contract asks as long as the adapter lives; every thread that holds the adapter sees the same."""

    scheme = "memory"
    title = "Memory of one process"
    shared = False
    fields = (
        Field(
            "capacity_bytes",
            "integer",
            "How many bytes all objects and unfinished writes together may take",
            default=DEFAULT_CAPACITY_BYTES,
        ),
    )
    traits = Traits(atomic_create=True, atomic_replace=True, resumes=True, strong_versions=True)

    def __init__(self, name: str, *, capacity_bytes: int = DEFAULT_CAPACITY_BYTES) -> None:
        self.name = name
        self._capacity = capacity_bytes
        self._used = 0
        self._objects: dict[str, _Stored] = {}
        self._unfinished: dict[WriteToken, bytearray] = {}
        self._lock = threading.Lock()

    @classmethod
    def build(
        cls,
        name: str,
        options: Mapping[str, object],
        credential: Mapping[str, str],  # noqa: ARG003 - the contract's signature; there is none
    ) -> Self:
        capacity = options.get("capacity_bytes", DEFAULT_CAPACITY_BYTES)
        if not isinstance(capacity, int) or capacity < 0:
            raise ValueError("capacity_bytes: a number of bytes, not negative, was expected")
        return cls(name, capacity_bytes=capacity)

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:  # noqa: ARG003 - the contract's signature
        return "memory:///"

    def stat(self, key: str) -> ObjectStat:
        return self._stored(key).stat

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        stored = self._stored(key)
        if version is not None and version != stored.stat.version:
            raise VersionChanged(storage=self.name, key=key)
        stop = stored.stat.size if stop is None else stop
        if not 0 <= start <= stop <= stored.stat.size:
            raise RangeInvalid(f"[{start}, {stop}) of {stored.stat.size} bytes", storage=self.name, key=key)
        return _MemoryRead(stored, start, stop)

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        token = WriteToken.new(key, size=size, mode=mode)
        with self._lock:
            if mode is WriteMode.CREATE and key in self._objects:
                raise AlreadyExists(storage=self.name, key=key)
            self._unfinished[token] = bytearray()
        return _MemoryWrite(self, token, 0)

    def resume_write(self, token: str) -> WriteSession:
        parsed = WriteToken.parse(token, storage=self.name)
        with self._lock:
            return _MemoryWrite(self, parsed, len(self._partial(parsed)))

    def unfinished_writes(self, key: str) -> list[str]:
        with self._lock:
            return [str(token) for token in self._unfinished if token.key == key]

    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]:
        with self._lock:
            found = [(token, len(data)) for token, data in self._unfinished.items() if token.key.startswith(folder)]
        for token, size in found:
            yield Unfinished(str(token), token.key, size, None)

    def abort_write(self, token: str) -> None:
        self.forget(WriteToken.parse(token, storage=self.name))

    def delete(self, key: str) -> None:
        with self._lock:
            stored = self._objects.pop(key, None)
            self._used -= stored.stat.size if stored else 0

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        with self._lock:
            found = {key: stored.stat for key, stored in self._objects.items() if key.startswith(prefix)}
        folded = ""
        for key in sorted(found):  # Python orders text by code point, which is the order of its UTF-8 bytes.
            folder, slash, _ = key[len(prefix) :].partition("/")
            if recursive or not slash:
                if key > after:
                    yield found[key]
            elif (whole := f"{prefix}{folder}/") != folded:
                folded = whole
                if whole > after:
                    yield Prefix(whole)

    def check(self) -> list[CheckStep]:
        return [CheckStep("space", True, f"{self.free_bytes()} bytes are free")]

    def close(self) -> None:
        """Nothing to close: the objects stay."""

    def free_bytes(self) -> int:
        with self._lock:
            return self._capacity - self._used

    def append(self, token: WriteToken, data: bytes | memoryview) -> int:
        """Add to an unfinished write, all or nothing; returns how many bytes it holds now."""
        with self._lock:
            partial = self._partial(token)
            if self._used + len(data) > self._capacity:
                raise OutOfSpace(f"all {self._capacity} bytes are used", storage=self.name, key=token.key)
            partial += data
            self._used += len(data)
            return len(partial)

    def publish(self, token: WriteToken) -> ObjectStat:
        """Make an unfinished write the object at its key."""
        with self._lock:
            data = bytes(self._partial(token))
            if token.size is not None and token.size != len(data):
                raise SizeMismatch(f"{len(data)} of {token.size} bytes", storage=self.name, key=token.key)
            old = self._objects.get(token.key)
            if old is not None and token.mode is WriteMode.CREATE:
                raise AlreadyExists(storage=self.name, key=token.key)
            stat = ObjectStat(token.key, len(data), datetime.now(UTC), secrets.token_hex(8), version_is_strong=True)
            self._objects[token.key] = _Stored(stat, data)
            del self._unfinished[token]
            self._used -= old.stat.size if old else 0
            return stat

    def forget(self, token: WriteToken) -> None:
        """Drop an unfinished write; one that is gone is success."""
        with self._lock:
            self._used -= len(self._unfinished.pop(token, b""))

    def _stored(self, key: str) -> _Stored:
        with self._lock:
            try:
                return self._objects[key]
            except KeyError as exc:
                raise NotFound(storage=self.name, key=key) from exc

    def _partial(self, token: WriteToken) -> bytearray:
        try:
            return self._unfinished[token]
        except KeyError as exc:
            raise WriteLost(storage=self.name, key=token.key) from exc


class _MemoryRead(ReadStream):
    def __init__(self, stored: _Stored, start: int, stop: int) -> None:
        self.stat = stored.stat
        self.start = self._position = start
        self.stop = stop
        self._data = stored.data

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        begin = self._position
        self._position = min(begin + max_bytes, self.stop)
        return self._data[begin : self._position]

    def close(self) -> None:
        """Nothing to close."""


class _MemoryWrite(WriteSession):
    def __init__(self, adapter: MemoryAdapter, token: WriteToken, offset: int) -> None:
        self.key = token.key
        self.token = str(token)
        self.offset = offset
        self._adapter = adapter
        self._token = token
        self._over = False

    def write(self, data: bytes | memoryview) -> None:
        if self._token.size is not None and self.offset + len(data) > self._token.size:
            raise SizeMismatch(
                f"more than {self._token.size} bytes were written", storage=self._adapter.name, key=self.key
            )
        self.offset = self._adapter.append(self._token, data)

    def publish(self) -> ObjectStat:
        stat = self._adapter.publish(self._token)
        self._over = True
        return stat

    def suspend(self) -> str:
        self._over = True
        return self.token

    def abort(self) -> None:
        if not self._over:
            self._over = True
            self._adapter.forget(self._token)
