"""Readers that wait for data: how soon after its publish they get the first byte, against readers that poll."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.servers.postgres import Postgres
from tests.servers.process import ProgramMissing

#: The slowest but one in twenty of this many waiting readers may take this long.
BAR_READERS, BAR_S = 50, 0.050


@dataclass(frozen=True)
class Wait:
    """Latencies in seconds, from the publish to the first byte at each reader."""

    database: str
    waits: bool
    readers: int
    seconds: Sequence[float]

    def quantile(self, share: float) -> float:
        """The latency that this share of all does not exceed."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def misses(self) -> Iterator[str]:
        """A sentence if the bar was not reached."""
        p95 = self.quantile(0.95)
        if self.waits and self.readers == BAR_READERS and p95 > BAR_S:
            yield (
                f"{self.readers} readers waiting, {self.database}: 95 % have the first byte after "
                f"{p95 * 1000:.0f} ms, the bar is {BAR_S * 1000:.0f} ms"
            )


def run(folder: Path, *, report: Callable[[str], None]) -> list[Wait]:
    """Measure on SQLite, and on PostgreSQL where it is installed."""
    results = []
    for database, server in (("SQLite", nullcontext()), ("PostgreSQL", Postgres())):
        place = folder / database
        place.mkdir(parents=True)
        try:
            with server as running:
                url = running.create_database("waybill") if isinstance(running, Postgres) else ""
                for line in _run(place, url):
                    document = json.loads(line)
                    wait = Wait(database, document["wait"], document["readers"], document["seconds"])
                    results.append(wait)
                    report(f"{wait.readers} readers, {_kind(wait)}, {database}: {_milliseconds(wait)}")
        except ProgramMissing as exc:
            report(f"Not measured: {exc}")
    return results


def table(results: Sequence[Wait]) -> Iterator[str]:
    """The section of the page."""
    yield "| catalog | readers | how | p50 | p95 | p99 | bar for p95 |"
    yield "|---|---|---|---|---|---|---|"
    for wait in results:
        has_bar = wait.waits and wait.readers == BAR_READERS
        missed = " **missed**" if any(wait.misses()) else ""
        bar = f"{BAR_S * 1000:.0f} ms{missed}" if has_bar else ""
        yield f"| {wait.database} | {wait.readers} | {_kind(wait)} | {_milliseconds(wait)} | {bar} |"


def _run(place: Path, database_url: str) -> Iterator[str]:
    environment = {**os.environ, "DATA_DIR": str(place / "data"), "DATABASE_URL": database_url}
    command = [sys.executable, "-m", "tests.bench.wakeups", str(place)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        yield from child.stdout
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {child.returncode}")


def _kind(wait: Wait) -> str:
    return "waiting" if wait.waits else "polling each second"


def _milliseconds(wait: Wait) -> str:
    return " | ".join(f"{wait.quantile(share) * 1000:,.0f} ms" for share in (0.50, 0.95, 0.99))
