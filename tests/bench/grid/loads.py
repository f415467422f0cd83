"""What is moved in one run of a cell of the grid: how many files, how large, how many of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.bench.contest import MIB, size_in_words

AT_ONCE = 8
#: Files of these sizes are moved beside the largest.
SIZES = (1 * MIB, 64 * MIB)
#: Enough of them for a measurement of what takes milliseconds, and for a program's start to be a small part of it.
MOST_FILES = 16
#: What one run moves of the smaller files, one at a time.
ABOUT_BYTES = 128 * MIB


@dataclass(frozen=True, slots=True)
class Load:
    """``files`` of ``size`` bytes, ``at_once`` of them at any moment."""

    size: int
    files: int
    at_once: int

    @property
    def total(self) -> int:
        return self.size * self.files

    def __str__(self) -> str:
        size = size_in_words(self.size)
        return size if self.at_once == 1 else f"{self.at_once} times {size}"


@dataclass(frozen=True, slots=True)
class Job:
    """One run: the files ``names`` in ``folder`` go to, or come from, the keys ``prefix/name``."""

    way: str
    load: Load
    folder: Path
    prefix: str

    @property
    def names(self) -> list[str]:
        return [f"{number:03}" for number in range(self.load.files)]

    @property
    def lanes(self) -> list[list[str]]:
        """The names, dealt to those who work at the same time."""
        return [self.names[first :: self.load.at_once] for first in range(self.load.at_once)]

    def key(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def file(self, name: str) -> Path:
        return self.folder / name


def loads(largest: int) -> list[Load]:
    """One at a time, and then eight at once, from the smallest size to ``largest``.

    Eight at once of what is larger than SIZES would not fit into memory three times over: these eight are an eighth
    of it each, so that the bytes are the same.
    """
    sizes = [*(size for size in SIZES if size < largest), largest]
    alone = [Load(size, max(1, min(MOST_FILES, ABOUT_BYTES // size)), 1) for size in sizes]
    return [*alone, *(_at_once(load) for load in alone)]


def _at_once(alone: Load) -> Load:
    size = alone.size // AT_ONCE if alone.size > max(SIZES) else alone.size
    return Load(size, AT_ONCE * max(1, alone.files // 4), AT_ONCE)
