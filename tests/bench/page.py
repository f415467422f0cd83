"""The results as the page docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from tests.bench import catalog, waiting
from tests.bench.catalog import Growth
from tests.bench.contest import GIB, MIB, Result, Score
from tests.bench.grid import table
from tests.bench.grid.programme import Grid
from tests.bench.waiting import Wait

_HEAD = """\
# Benchmarks

Written by `make bench`; every run replaces this page. All contenders of a contest do the same work in turn, round by
round, on one machine, so that the ratios mean more than the speeds do. Numbers are medians, with the lowest and the
highest round in brackets.
"""

_METHOD = """\
## How it is measured

- One gunicorn process (`deploy/gunicorn_embedded.py`) over SQLite serves all requests; a fresh one for each kind of
  storage. All data lies in a memory-backed file system, so that disks do not decide. Waybill hashes every upload with
  SHA-256 and syncs it before it answers; nginx does neither.
- Large files: curl, as a process for each transfer, throws away what it downloads. Times are those of the whole client
  process; for `sftp` that includes logging in. `sftp` and boto3 write to a file in memory, because they cannot throw
  away what they download.
- Small files: {connections} connections at once. Downloads are `wrk`'s, with one thread, which asks for all files in
  turn for {seconds} s; uploads are those of a small client of threads with kept connections. `sftp -r` sends one file
  after the other over one connection.
- S3 is OpenStack Swift with its S3 interface, in four processes of the same machine, and SFTP is OpenSSH's server:
  they take their part of the processor in every row. Small boto3 calls come from {connections} threads of one process.
- Waiting for data: readers ask for an object that is not there yet, and then 4 KiB are uploaded. Latencies are from
  the moment at which the catalog takes the new object, just before its commit, to the first byte that a reader gets:
  the values that half, 95 % and 99 % of all readers do not exceed. Those who poll come again a second after each 503,
  as `curl --retry-delay 1` does, each at its own time.
- A catalog that grows: a PostgreSQL database with so many objects that have two copies each, a tenth as many that are
  dirty and lie in one place, 10,000 aliases, a transfer that is done for each object and one that waits for each seven.
  No bytes are moved. The databases are asked in turn, each question 200 times (50 times where it looks at
  hundreds of rows), by one process each and at places drawn by lot.
- CPU is that of the gateway's process tree in Waybill's rows, of nginx in nginx's, and of the client in those of sftp,
  curl and boto3. More memory is the highest resident size during a transfer above that of the gateway when idle.
"""

_GRID_METHOD = """\
## How the adapters are measured

{method}"""


def write(
    results: Sequence[Result],
    facts: Mapping[str, str],
    *,
    connections: int,
    seconds: int,
    waits: Sequence[Wait] = (),
    grown: Sequence[Growth] = (),
    grids: Sequence[Grid] = (),
    grid_method: str = "",
) -> str:
    """The whole page in Markdown."""
    everything: list[Result | Wait | Grid | Growth] = [*results, *waits, *grown, *grids]
    misses = [miss for each in everything for miss in each.misses()]
    parts = [_HEAD, "\n".join(f"- {name}: {value}" for name, value in facts.items()), ""]
    if large := [result for result in results if result.contest.large]:
        parts += ["## Large files", "", *_table(large), ""]
    if small := [result for result in results if not result.contest.large]:
        parts += ["## Small files", "", *_table(small), ""]
    if grids:
        parts += ["## Each adapter by itself", "", *table.sections(grids)]
    if waits:
        parts += ["## Waiting for data", "", *waiting.table(waits), ""]
    if grown:
        parts += ["## A catalog that grows", "", *catalog.table(grown), ""]
    parts += ["## Bars that were missed", "", *([f"- {miss}" for miss in misses] or ["None."]), ""]
    parts += [_METHOD.format(connections=connections, seconds=seconds)]
    parts += [_GRID_METHOD.format(method=grid_method)] if grids else []
    return "\n".join(parts)


def _table(results: Sequence[Result]) -> Iterator[str]:
    large = results[0].contest.large
    columns = ["work", "by", "MB/s" if large else "files a second", "Waybill's part of it", "bar"]
    columns += ["CPU s/GiB", "more memory"] if large else ["CPU ms a file"]
    yield _line(columns)
    yield "|" + "---|" * len(columns)
    for result in results:
        contest, ours = result.contest, result.waybill
        bar = _bar(contest.least_rate, ",.0f", " a second", missed=ours.rate < (contest.least_rate or 0))
        yield _line([f"**{contest.title}**", *_scores(ours, large), "", bar, _cpu(ours, large), *_memory(result)])
        for rival in contest.rivals:
            theirs = result.scores[rival.name]
            ratios = ours.ratios(theirs)
            bar = _bar(rival.bar, ".2f", "", missed=median(ratios) < (rival.bar or 0))
            cells = ["", *_scores(theirs, large), _spread(ratios, ".2f"), bar, _cpu(theirs, large)]
            yield _line([*cells, ""] if large else cells)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _scores(score: Score, large: bool) -> list[str]:
    scale = 1e6 if large else 1
    return [score.contender.name, _spread([rate / scale for rate in score.rates], ",.0f")]


def _cpu(score: Score, large: bool) -> str:
    return f"{median(score.cpu) * (GIB if large else 1000):.2f}" if score.cpu else ""


def _bar(least: float | None, form: str, unit: str, *, missed: bool) -> str:
    return "" if least is None else f"{least:{form}}{unit}{' **missed**' if missed else ''}"


def _memory(result: Result) -> list[str]:
    extra, most = result.waybill.extra_bytes, result.contest.most_extra_bytes
    if extra is None or most is None:
        return []
    return [f"{extra / MIB:.1f} MiB{' **missed**' if extra > most else ''} (bar {most // MIB})"]


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
