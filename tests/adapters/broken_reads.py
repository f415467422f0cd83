"""Adapters that break a promise of reading; ``test_kit_catches`` names the test that notices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import NotFound
from adapters.local import LocalAdapter
from adapters.local_streams import LocalRead
from adapters.memory import MemoryAdapter
from adapters.tokens import WriteToken


class Altered(ReadStream):
    """Another stream with its bytes passed through ``alter``, its range still as asked for."""

    def __init__(self, inner: ReadStream, start: int, stop: int, alter: Callable[[bytes], bytes]) -> None:
        self.stat, self.start, self.stop = inner.stat, start, stop
        self._inner, self._alter = inner, alter

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        return self._alter(self._inner.read(max_bytes))

    def close(self) -> None:
        self._inner.close()


class ShortRead(MemoryAdapter):
    """The last byte is missing and the stream ends politely."""

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        whole = super().open_read(key, start, stop, version=version)
        short = super().open_read(key, start, max(start, whole.stop - 1))
        return Altered(short, start, whole.stop, bytes)


class LongRead(MemoryAdapter):
    """A range goes on to the end of the object."""

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        asked = super().open_read(key, start, stop, version=version)
        return Altered(super().open_read(key, start), start, asked.stop, bytes)


class WrongOffset(MemoryAdapter):
    """A range of the right length begins at the object's start."""

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        asked = super().open_read(key, start, stop, version=version)
        return Altered(super().open_read(key, 0, asked.stop - start), start, asked.stop, bytes)


class WrongBytes(MemoryAdapter):
    """Line ends are translated, as by an FTP server in text mode."""

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        asked = super().open_read(key, start, stop, version=version)
        return Altered(asked, asked.start, asked.stop, lambda data: data.replace(b"\n", b"\r"))


class IgnoresRange(MemoryAdapter):
    """A range beyond the end is cut to what there is."""

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        size = self.stat(key).size
        return super().open_read(key, min(start, size), min(size if stop is None else stop, size), version=version)


class IgnoresVersion(MemoryAdapter):
    """A pinned read gives whatever is there."""

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        return super().open_read(key, start, stop)


class MixesVersions(MemoryAdapter):
    """Each piece is read from what lies at the key by then."""

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        stream, position = super().open_read(key, start, stop, version=version), start

        def again(data: bytes) -> bytes:
            nonlocal position
            position += len(data)
            with MemoryAdapter.open_read(self, key, position - len(data), position) as fresh:
                return fresh.read(len(data))

        return Altered(stream, stream.start, stream.stop, again)


class LateRefusal(MemoryAdapter):
    """What is missing is an empty stream."""

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        with suppress(NotFound):
            return super().open_read(key, start, stop, version=version)
        MemoryAdapter.publish(self, self._begun(key))
        stream = super().open_read(key)
        self.delete(key)
        return stream

    def _begun(self, key: str) -> WriteToken:
        return WriteToken.parse(super().open_write(key, size=0).token, storage=self.name)


class SameVersion(MemoryAdapter):
    """The version is that of the key, not of its content."""

    def publish(self, token: WriteToken) -> ObjectStat:
        super().publish(token)
        stored = self._objects[token.key]
        self._objects[token.key] = dataclasses.replace(stored, stat=dataclasses.replace(stored.stat, version="1"))
        return self._objects[token.key].stat


class LeaksDescriptors(LocalAdapter):
    """Closing a stream closes nothing; ``close`` of the adapter makes up for it."""

    def __init__(self, name: str, root: str, *, sync: bool = True) -> None:
        super().__init__(name, root, sync=sync)
        self._kept: list[ReadStream] = []

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        stream = super().open_read(key, start, stop, version=version)
        stream.close = lambda: self._kept.append(stream)  # type: ignore[method-assign]
        return stream

    def close(self) -> None:
        for stream in self._kept:
            LocalRead.close(stream)  # type: ignore[arg-type]
