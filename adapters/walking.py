"""Scans of storages that have folders: one folder after the other, in the order of the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from adapters.base import ObjectStat, Prefix

T = TypeVar("T")


def walk(
    list_folder: Callable[[str], Iterable[tuple[str, T | None]]],
    describe: Callable[[str, T], ObjectStat],
    *,
    prefix: str,
    after: str,
    recursive: bool,
) -> Iterator[ObjectStat | Prefix]:
    """As ``Adapter.scan``. Keeps one folder's entries, for each folder on the way down, in memory.

    ``list_folder`` gives the keys in a folder (empty, or ending in ``/``) in their order, those of folders with a
    ``/`` at their end, each with what ``describe`` makes a stat of; of a folder that may be None.
    """

    def below(folder: str) -> Iterator[ObjectStat | Prefix]:
        for key, told in list_folder(folder):
            if not key.startswith(prefix):
                continue
            if not key.endswith("/") and told is not None:
                if key > after:
                    yield describe(key, told)
            elif not recursive:
                if key > after:
                    yield Prefix(key)
            elif key > after or after.startswith(key):
                yield from below(key)

    yield from below(prefix[: prefix.rfind("/") + 1])
