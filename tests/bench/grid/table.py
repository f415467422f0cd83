"""The grid's section of the page: a table for each storage, a row for each cell and contender of Waybill's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from statistics import median
from textwrap import fill

from tests.bench.contest import GIB, MIB, Contender, Result, size_in_words
from tests.bench.grid.loads import AT_ONCE, loads
from tests.bench.grid.programme import Grid

_METHOD = (
    "Each adapter by itself: files in memory go to a storage, or come from it, without a gateway. Waybill is a process"
    " that has loaded what it needs, as a worker has; as in a transfer, the pump moves the bytes between the file and"
    " the adapter's session or stream{digest}. Several at once are threads on one adapter. Its connections are ended"
    " between two runs, so that connecting is a part of its time.",
    "The others are programs, started within their time. For that to be a small part of it, a run is of {alone}, one"
    " after the other, by one process and over one connection where the program does that; and of {together}, by eight"
    " processes at once. rclone, boto3 and python-irodsclient do eight at once by themselves, in one process; boto3 and"
    " python-irodsclient are loaded before, as Waybill is.",
    "Eight at once of the largest size are files of an eighth of it, so that all of it fits into memory.",
    "rclone is Debian's: `rclone copyto` of a folder, with its defaults where nothing else is said.",
    'A cell shows the part of the other\'s speed that Waybill reaches and, after "of", that speed. CPU is that of the'
    " clients' processes, in the order of the columns; the servers take their part of the same processor. More memory"
    " is the most that Waybill's process and those that it starts hold above its idle amount, counting shared pages in"
    " each.",
)
_WIDTH = 120


def method(largest: int, *, digest: bool) -> str:
    """How the grid is measured, as a list."""
    alone, together = (
        ", ".join(f"{load.files} of {size_in_words(load.size)}" for load in loads(largest) if load.at_once == at_once)
        for at_once in (1, AT_ONCE)
    )
    hashing = " and computes their SHA-256, which the others do not" if digest else ""
    points = (point.format(alone=alone, together=together, digest=hashing) for point in _METHOD)
    return "\n".join(fill(point, _WIDTH, initial_indent="- ", subsequent_indent="  ") for point in points) + "\n"


def sections(grids: Sequence[Grid]) -> Iterator[str]:
    """Lines of Markdown."""
    yield from (*_summary(grids), "")
    for grid in grids:
        yield from (f"### {grid.name}", "", fill(grid.remark, _WIDTH), "", *_table(grid), "")


def _summary(grids: Sequence[Grid]) -> Iterator[str]:
    """How often and how far Waybill is ahead or behind."""
    yield _line(["storage", "by", "against", "part of its speed: least, median, most", "slower in"])
    yield "|---|---|---|---|---|"
    for grid in grids:
        for at, (ours, rival) in enumerate(product(_ours(grid), grid.cells[0].results[0].contest.rivals)):
            results = [
                result for cell in grid.cells for result in cell.results if result.waybill.contender.name == ours
            ]
            parts = [median(result.waybill.ratios(result.scores[rival.name])) for result in results]
            shown = f"{min(parts):.2f}, {median(parts):.2f}, {max(parts):.2f}"
            slower = f"{sum(part < 1 for part in parts)} of {len(parts)} rows"
            yield _line(["" if at else f"**{grid.name}**", ours, rival.name, shown, slower])


def _ours(grid: Grid) -> list[str]:
    return [result.waybill.contender.name for result in grid.cells[0].results]


def _table(grid: Grid) -> Iterator[str]:
    first = grid.cells[0].results
    several = len(_ours(grid)) > 1
    rivals = [rival.name for rival in first[0].contest.rivals]
    columns = ["work", *(["by"] if several else []), "MB/s", *(f"of {name}" for name in rivals)]
    yield _line([*columns, "CPU s/GiB", "more memory"])
    yield "|" + "---|" * (len(columns) + 2)
    for cell in grid.cells:
        for number, result in enumerate(cell.results):
            title = "" if number else f"**{cell.way} {cell.load}**"
            by = [result.contest.waybill.name] if several else []
            yield _line([title, *by, *_figures(result)])


def _figures(result: Result) -> list[str]:
    ours, large = result.waybill, result.contest.large
    theirs = [result.scores[rival.name] for rival in result.contest.rivals]
    shown = [_part(result, rival) for rival in result.contest.rivals]
    scale, unit = (GIB, "") if large else (1000, " ms a file")
    cpu = " · ".join(f"{median(score.cpu) * scale:.2f}" for score in (ours, *theirs) if score.cpu) + unit
    extra, most = ours.extra_bytes or 0, result.contest.most_extra_bytes
    bar = "" if most is None else f", bar {most // MIB}{' **missed**' if extra > most else ''}"
    memory = f"{extra / MIB:.0f} MiB{bar}"
    return [_speed(result), *shown, cpu, memory]


def _speed(result: Result) -> str:
    least = result.contest.least_rate
    missed = " **missed**" if result.waybill.rate < (least or 0) else ""
    return _spread([rate / _scale(result) for rate in result.waybill.rates], ",.0f") + (
        "" if least is None else f" files/s, bar {least:.0f}{missed}"
    )


def _part(result: Result, rival: Contender) -> str:
    theirs = result.scores[rival.name]
    ratios = result.waybill.ratios(theirs)
    missed = " **missed**" if median(ratios) < (rival.bar or 0) else ""
    bar = "" if rival.bar is None else f", bar {rival.bar:.1f}{missed}"
    return f"{_spread(ratios, '.2f')} of {theirs.rate / _scale(result):,.0f}{bar}"


def _scale(result: Result) -> float:
    return 1e6 if result.contest.large else 1


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
