"""The programme: every contest on every kind of storage, one storage after the other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from staging import storages
from tests.bench.contest import Contest, Result, hold
from tests.bench.lab import Lab
from tests.bench.local import Local
from tests.bench.rivalry import Rivalry
from tests.bench.s3 import S3
from tests.bench.sftp import Sftp
from tests.bench.waybill import Contests

SMALL_BYTES = 4 * 1024
_RIVALRIES: dict[str, type[Rivalry]] = {"local": Local, "sftp": Sftp, "s3": S3}


def run(
    folder: Path,
    *,
    parts: Sequence[str],
    size: int,
    count: int,
    rounds: int,
    seconds: int,
    report: Callable[[str], None],
) -> list[Result]:
    """Hold the contests of the large files of the storages in ``parts``, and of the small ones where they say so."""
    results: list[Result] = []
    if not {*parts} & {*_RIVALRIES, "small"}:
        return results
    lab, large = Lab(folder), folder / "large"
    _fill(large, size)
    for part, kind in _RIVALRIES.items():
        if part not in parts and "small" not in parts:
            continue
        place = folder / part
        try:
            with kind(place, large, os.urandom(SMALL_BYTES)) as rivalry, lab.gateway() as gateway:
                contests = Contests(gateway, lab.bucket(rivalry.spec()), rivalry)
                for contest in _programme(contests, part, parts, count=count, rounds=rounds, seconds=seconds):
                    results.append(hold(contest, rounds=rounds, report=report))
                storages.close_adapters()
        finally:
            shutil.rmtree(place)
    large.unlink()
    return results


def _programme(
    contests: Contests, part: str, parts: Sequence[str], *, count: int, rounds: int, seconds: int
) -> Iterator[Contest]:
    if part in parts:
        yield from contests.large(rounds)
    if "small" in parts:
        yield from contests.small(rounds, count, seconds=seconds)


def _fill(file: Path, size: int) -> None:
    """Random bytes, which nothing on the way can make smaller."""
    block = os.urandom(1024 * 1024)
    with file.open("wb") as target:
        for _ in range(size // len(block)):
            target.write(block)
