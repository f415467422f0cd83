"""Adapters that break a promise of keys, deleting, scanning or errors; ``test_kit_catches`` names what notices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from adapters.base import CheckStep, ObjectStat, Prefix, ReadStream, WriteMode, WriteSession
from adapters.errors import NotFound
from adapters.memory import MemoryAdapter
from adapters.testkit import AdapterContract


class FolderIsObject(MemoryAdapter):
    """A folder has a stat of its own."""

    def stat(self, key: str) -> ObjectStat:
        try:
            return super().stat(key)
        except NotFound:
            if next(iter(self.scan(f"{key}/")), None) is None:
                raise
            return ObjectStat(key, 0, None, "folder", version_is_strong=True)


class DecodesKeys(MemoryAdapter):
    """Keys are taken for URLs."""

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        return super().open_write(unquote(key), size=size, mode=mode)


class FoldsCase(MemoryAdapter):
    """Keys that differ in case only are one object."""

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        return super().open_write(key.lower(), size=size, mode=mode)


class DeleteOfMissingRaises(MemoryAdapter):
    def delete(self, key: str) -> None:
        self.stat(key)
        super().delete(key)


class DeleteTakesNeighbours(MemoryAdapter):
    """What begins like the key goes with it."""

    def delete(self, key: str) -> None:
        for item in list(self.scan(key)):
            super().delete(item.key)


class DeleteDoesNothing(MemoryAdapter):
    def delete(self, key: str) -> None:
        """Gone, says the cache."""


class OtherScan(MemoryAdapter):
    """Scans what ``found`` makes of the true answer."""

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[ObjectStat | Prefix]:
        return iter(self.found(list(super().scan(prefix, after=after, recursive=recursive)), prefix))

    def found(self, items: list[ObjectStat | Prefix], prefix: str) -> list[ObjectStat | Prefix]:
        raise NotImplementedError


class ScanUnordered(OtherScan):
    def found(self, items: list[ObjectStat | Prefix], prefix: str) -> list[ObjectStat | Prefix]:
        return items[::-1]


class ScanByFolder(OtherScan):
    """A folder's name is sorted without its slash, so that ``a/b`` comes before ``a-b``."""

    def found(self, items: list[ObjectStat | Prefix], prefix: str) -> list[ObjectStat | Prefix]:
        return sorted(items, key=lambda item: item.key.split("/"))


class ScanInUtf16Order(OtherScan):
    def found(self, items: list[ObjectStat | Prefix], prefix: str) -> list[ObjectStat | Prefix]:
        return sorted(items, key=lambda item: item.key.encode("utf-16-be"))


class ScanLosesAPage(OtherScan):
    """Only the first thousand, here the first ten, are listed."""

    def found(self, items: list[ObjectStat | Prefix], prefix: str) -> list[ObjectStat | Prefix]:
        return items[:10]


class ScanListsPartials(OtherScan):
    def found(self, items: list[ObjectStat | Prefix], prefix: str) -> list[ObjectStat | Prefix]:
        partials = [ObjectStat(token.partial, 0, None, "", version_is_strong=True) for token in self._unfinished]
        return sorted([*items, *partials], key=lambda item: item.key)


class ScanWholeFolders(MemoryAdapter):
    """A prefix is taken for a folder."""

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[ObjectStat | Prefix]:
        folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        return super().scan(folder, after=after, recursive=recursive)


class ScanRepeats(MemoryAdapter):
    """``after`` is taken for "from here on"."""

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[ObjectStat | Prefix]:
        return super().scan(prefix, after=after[:-1], recursive=recursive)


class NeverFolds(MemoryAdapter):
    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[ObjectStat | Prefix]:
        return super().scan(prefix, after=after)


class LeaksItsDriver(MemoryAdapter):
    """What is missing is the dictionary's KeyError."""

    def stat(self, key: str) -> ObjectStat:
        return self._objects[key].stat


class LeaksAndRecovers(MemoryAdapter):
    """A driver's exception at a close, where nobody looks."""

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        stream: Any = super().open_read(key, start, stop, version=version)
        stream.close = lambda: {}["connection"]
        return stream  # type: ignore[no-any-return]


class NamesNoKey(MemoryAdapter):
    """Its errors say that something failed somewhere."""

    def stat(self, key: str) -> ObjectStat:
        try:
            return super().stat(key)
        except NotFound as exc:
            raise NotFound from exc


class CheckLeavesItsFile(MemoryAdapter):
    def check(self) -> list[CheckStep]:
        AdapterContract.store(self, "check", b"")
        return super().check()
