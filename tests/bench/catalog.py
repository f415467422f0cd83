"""The catalog as it grows: how long its most frequent questions take with ten thousand objects and with a million."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.postgres import Postgres
from tests.servers.process import ProgramMissing

#: How many objects there are, and how much longer the slowest but one in twenty may take with the most of them.
SIZES, BAR = (10_000, 100_000, 1_000_000), 2.0
#: How many times each catalog is asked some questions of a kind.
ROUNDS = 10
#: What a server of a catalog of this size would have; it collects its statistics when all is loaded.
_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "maintenance_work_mem": "512MB", "autovacuum": "off"}


@dataclass(frozen=True)
class Growth:
    """One question's latencies in seconds, by how many objects there were."""

    question: str
    seconds: Mapping[int, Sequence[float]]

    def quantile(self, objects: int, share: float) -> float:
        """The latency that this share of all does not exceed."""
        ordered = sorted(self.seconds[objects])
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def ratio(self, share: float) -> float:
        """How many times longer it takes with the most objects than with the fewest."""
        return self.quantile(max(self.seconds), share) / self.quantile(min(self.seconds), share)

    def misses(self) -> Iterator[str]:
        """A sentence if the bar was not reached."""
        if (ratio := self.ratio(0.95)) > BAR:
            yield (
                f"Catalog, {self.question}: 95 % take {ratio:.1f} times longer with {max(self.seconds):,} objects than "
                f"with {min(self.seconds):,}, the bar is {BAR:.0f} times"
            )


def run(folder: Path, *, sizes: Sequence[int] = SIZES, report: Callable[[str], None]) -> list[Growth]:
    """Measure on PostgreSQL where it is installed, else nothing.

    There is a database and a process for each size, which are asked in turn: a busy machine hits all alike.
    """
    try:
        with Postgres(settings=_SETTINGS) as server, ExitStack() as stack:
            catalogs = {}
            for size in sizes:
                url = server.create_database(f"waybill{size}")
                catalogs[size] = stack.enter_context(_Catalog(folder / str(size), url, size))
                report(f"{size:,} objects: loaded in {catalogs[size].loaded_s:.0f} s")
            return list(_measure(catalogs, report))
    except ProgramMissing as exc:
        report(f"Not measured: {exc}")
        return []


def _measure(catalogs: Mapping[int, _Catalog], report: Callable[[str], None]) -> Iterator[Growth]:
    for question in next(iter(catalogs.values())).questions:
        seconds: dict[int, list[float]] = {size: [] for size in catalogs}
        for _ in range(ROUNDS):
            for size, catalog in catalogs.items():
                seconds[size] += catalog.ask(question)
        growth = Growth(question, seconds)
        report(f"{question}: {'; '.join(f'{size:,} objects {_cells(growth, size)}' for size in catalogs)}")
        yield growth


def table(results: Sequence[Growth]) -> Iterator[str]:
    """The section of the page."""
    sizes = sorted(results[0].seconds)
    yield f"| question | {' | '.join(f'{size:,} objects: p50 | p95' for size in sizes)} | p50 grows | p95 grows | bar |"
    yield "|" + "---|" * (2 * len(sizes) + 4)
    for growth in results:
        cells = " | ".join(_cells(growth, size) for size in sizes)
        missed = " **missed**" if any(growth.misses()) else ""
        ratios = " | ".join(f"{growth.ratio(share):.2f}" for share in (0.50, 0.95))
        yield f"| {growth.question} | {cells} | {ratios} | {BAR:.0f}{missed} |"


def _cells(growth: Growth, objects: int) -> str:
    return " | ".join(f"{growth.quantile(objects, share) * 1000:,.2f} ms" for share in (0.50, 0.95))


class _Catalog:
    """A process over a database of its own, with so many objects in it."""

    def __init__(self, folder: Path, database_url: str, size: int) -> None:
        folder.mkdir(parents=True)
        own = {"DATA_DIR": str(folder), "DATABASE_URL": database_url, "BROKER_URL": "memory://"}
        own |= {"WAYBILL_LOG_LEVEL": "warning"}
        command = [sys.executable, "-m", "tests.bench.questions", str(size)]
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(command, env=os.environ | own, stdin=pipe, stdout=pipe, text=True)
        loaded = self._answer()
        self.loaded_s: float = loaded["loaded_s"]
        self.questions: list[str] = loaded["questions"]

    def __enter__(self) -> _Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.communicate(timeout=60)  # Its input ends, and with that it.

    def ask(self, question: str) -> list[float]:
        """Seconds that some runs of the question took."""
        assert self._child.stdin
        self._child.stdin.write(f"{question}\n")
        self._child.stdin.flush()
        seconds: list[float] = self._answer()["seconds"]
        return seconds

    def _answer(self) -> Any:
        assert self._child.stdout
        while line := self._child.stdout.readline():
            if line.startswith("{"):  # The rest is the log.
                return json.loads(line)
        raise RuntimeError(f"the process that asks the catalog ended with status {self._child.wait()}")
