"""The grid: what is moved in a run, that nobody wins by moving less, and the table."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench import page
from tests.bench.clients import WrongAnswer
from tests.bench.contest import MIB, Contender, Contest, Work, hold_together
from tests.bench.grid import programme, table
from tests.bench.grid.loads import Job, Load, loads
from tests.bench.grid.movers import Mover, Program
from tests.bench.grid.programme import Cell, Grid
from tests.bench.grid.sites import LocalSite


class Lying(LocalSite):
    """With a client that does nothing and is content."""

    def rivals(self) -> Sequence[Mover]:
        return [Program("true", lambda job, names: (["true"], ""))]


def measured(kind: type[LocalSite], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Grid]:
    monkeypatch.setattr(programme, "SITES", {"local": kind})
    return programme.run(folder, storages=["local"], largest=MIB, rounds=1, digest=True, report=lambda _: None)


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (1, [(1, 16, 1), (1, 32, 8)]),
        (64, [(1, 16, 1), (64, 2, 1), (1, 32, 8), (64, 8, 8)]),
        (1024, [(1, 16, 1), (64, 2, 1), (1024, 1, 1), (1, 32, 8), (64, 8, 8), (128, 8, 8)]),
    ],
)
def test_eight_at_once_of_the_largest_are_an_eighth_of_it(largest: int, expected: list[tuple[int, int, int]]) -> None:
    assert loads(largest * MIB) == [Load(size * MIB, files, at_once) for size, files, at_once in expected]


def test_every_file_is_moved_once_by_somebody() -> None:
    job = Job("PUT", Load(MIB, 20, 8), Path("there"), "PUT")
    assert len(job.lanes) == 8
    assert sorted(name for lane in job.lanes for name in lane) == job.names


def test_every_cell_is_measured_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [grid] = measured(LocalSite, tmp_path, monkeypatch)
    assert [(cell.way, str(cell.load)) for cell in grid.cells] == [
        (way, load) for load in ("1 MiB", "8 times 1 MiB") for way in ("PUT", "GET")
    ]
    assert all(result.waybill.rate > 0 and result.waybill.cpu[0] > 0 for cell in grid.cells for result in cell.results)
    assert not list(tmp_path.iterdir())


def test_a_client_that_moves_nothing_is_no_rival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongAnswer):
        measured(Lying, tmp_path, monkeypatch)


def test_contenders_of_two_contests_run_once_a_round_and_each_contest_has_its_bars() -> None:
    ran: list[str] = []

    def contender(name: str, seconds: float, bar: float | None = None) -> Contender:
        def run(_: int) -> Work:
            ran.append(name)
            return Work(64 * MIB, seconds)

        return Contender(name, run, bar=bar)

    quick, slow = contender("quick", 1), contender("slow", 2)
    contests = [
        Contest("SFTP, quick", quick, [contender("sftp", 1, 1.0)], large=True),
        Contest("SFTP, slow", slow, [contender("sftp", 1, 0.6)], large=True),
    ]
    results = hold_together(contests, "SFTP", rounds=2, report=lambda _: None)
    assert sorted(ran) == ["quick", "quick", "sftp", "sftp", "slow", "slow"]

    grid = Grid("SFTP", "A remark.", [Cell("PUT", Load(64 * MIB, 1, 1), results)])
    method = table.method(1024 * MIB, digest=True)
    text = page.write([], {}, connections=16, seconds=5, grids=[grid], grid_method=method)
    assert "| **PUT 64 MiB** | quick | 67 (67 to 67) | 1.00 (1.00 to 1.00) of 67, bar 1.0 |" in text
    assert "|  | slow | 34 (34 to 34) | 0.50 (0.50 to 0.50) of 67, bar 0.6 **missed** |" in text
    assert "|  | slow | sftp | 0.50, 0.50, 0.50 | 1 of 1 rows |" in text
    assert "- SFTP, slow: 0.50 of sftp, the bar is 0.60" in text
    assert "16 of 1 MiB, 2 of 64 MiB, 1 of 1 GiB" in " ".join(text.split())
