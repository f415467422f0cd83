"""Scans of storages that have folders: one folder after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from adapters.base import NO_KEY, Listed, ObjectStat, Prefix, Unfinished, Unreachable
from adapters.errors import InvalidKey
from adapters.keys import check_key, partial_of, shown
from adapters.tokens import WriteToken

T = TypeVar("T")


def walk(
    list_folder: Callable[[str], Iterable[tuple[str, T | Unreachable | None]]],
    describe: Callable[[str, T], ObjectStat],
    *,
    prefix: str,
    after: str,
    recursive: bool,
) -> Iterator[Listed]:
    """As ``Adapter.scan``. Keeps one folder's entries, for each folder on the way down, in memory.

    ``list_folder`` gives the keys in a folder (empty, or ending in ``/``) in their order, those of folders with a
    ``/`` at their end, each with what ``describe`` makes a stat of; of a folder that may be None. What no key names is
    an Unreachable with its own ``key``.
    """

    def below(folder: str) -> Iterator[Listed]:
        for key, told in list_folder(folder):
            if not key.startswith(prefix):
                continue
            if isinstance(told, Unreachable):
                if key > after:
                    yield told
            elif not key.endswith("/") and told is not None:
                if key > after:
                    yield describe(key, told)
            elif not recursive:
                if key > after:
                    yield Prefix(key)
            elif key > after or after.startswith(key):
                yield from below(key)

    yield from below(prefix[: prefix.rfind("/") + 1])


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder, whatever it is."""

    name: str
    is_folder: bool
    size: int
    modified: datetime | None


def named(folder: str, name: str, check: Callable[[str], str] = check_key) -> str | Unreachable | None:
    """The key of what a folder holds under this name; Unreachable where it can have none, None of an unfinished write.

    ``check`` raises InvalidKey for what is no key.
    """
    try:
        return check(folder + name)
    except InvalidKey:
        return None if partial_of(name) or name in (".", "..") else Unreachable(shown(folder + name), NO_KEY)


def walk_unfinished(list_folder: Callable[[str], Iterable[Entry]], folder: str) -> Iterator[Unfinished]:
    """As ``ListsUnfinished.scan_unfinished``, by the names of partials; ``list_folder`` gives all that is there."""
    folders = []
    for entry in list_folder(folder):
        if entry.is_folder:
            folders.append(entry.name)
        elif found := unfinished(folder, entry):
            yield found
    for name in sorted(folders):
        if _is_key(f"{folder}{name}"):
            yield from walk_unfinished(list_folder, f"{folder}{name}/")


def unfinished(folder: str, entry: Entry) -> Unfinished | None:
    """The unfinished write whose partial it is; None where it is no such name, or one of no key."""
    parts = partial_of(entry.name)
    if parts is None or not _is_key(key := folder + parts[0]):
        return None
    return Unfinished(str(WriteToken(key, parts[1])), key, entry.size, entry.modified)


def _is_key(key: str) -> bool:
    try:
        check_key(key)
    except InvalidKey:
        return False
    return True
