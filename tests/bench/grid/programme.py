"""The grid's programme: every load each way on every storage, all movers in turn."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.clients import WrongAnswer
from tests.bench.contest import MIB, Contender, Contest, Result, Work, hold_together
from tests.bench.grid.loads import Job, Load, loads
from tests.bench.grid.movers import GET, PUT, Driven, Mover
from tests.bench.grid.sites import LocalSite, SftpSite, Site, WebDavSite
from tests.bench.grid.sites_with_login import GridFtpSite, IrodsSite, S3Site
from tests.servers.process import ProgramMissing

SITES: Mapping[str, type[Site]] = {
    "local": LocalSite,
    "sftp": SftpSite,
    "s3": S3Site,
    "webdav": WebDavSite,
    "gridftp": GridFtpSite,
    "irods": IrodsSite,
}


@dataclass(frozen=True)
class Cell:
    """One load one way: a result for each of Waybill's contenders."""

    way: str
    load: Load
    results: Sequence[Result]


@dataclass(frozen=True)
class Grid:
    """All cells of one storage."""

    name: str
    remark: str
    cells: list[Cell] = field(default_factory=list)

    def misses(self) -> Iterator[str]:
        """A sentence for each bar that was not reached."""
        for cell in self.cells:
            for result in cell.results:
                yield from result.misses()


def run(
    folder: Path, *, storages: Sequence[str], largest: int, rounds: int, digest: bool, report: Callable[[str], None]
) -> list[Grid]:
    """The grids of these SITES, with files up to ``largest`` bytes; those whose programs are missing are left out.

    Without ``digest``, Waybill computes no SHA-256, as the others do not.
    """
    grids = []
    for storage in storages:
        place = folder / storage
        place.mkdir(parents=True)
        try:
            with SITES[storage](place) as site, ExitStack() as ending:
                court = _Court(site, ending, digest=digest, report=report)
                grid = Grid(site.name, site.remark)
                grids.append(grid)
                for load in [*([site.small] if site.small else []), *loads(largest)]:
                    grid.cells.extend(court.cells(load, rounds))
        except ProgramMissing as exc:
            report(f"Not measured: {exc}")
        finally:
            shutil.rmtree(place)
    return grids


class _Court:
    """The movers of one storage, and one adapter more that puts there what is downloaded, checks and removes."""

    def __init__(self, site: Site, ending: ExitStack, *, digest: bool, report: Callable[[str], None]) -> None:
        self._site, self._report = site, report
        self._source, self._target = site.folder / "source", site.folder / "target"

        def driven(name: str, settings: Mapping[str, Any]) -> Driven:
            mover = Driven(name, "adapter", {**settings, "digest": digest})
            ending.callback(mover.close)
            return mover

        self._keeper = driven("keeper", site.settings())
        self._ours = [driven(name, settings) for name, settings in site.ours().items()]
        self._rivals = list(site.rivals())
        for rival in self._rivals:
            ending.callback(rival.close)
        self._warm_up()

    def cells(self, load: Load, rounds: int) -> Iterator[Cell]:
        """The load up, and down."""
        put, get = Job(PUT, load, self._source, PUT), Job(GET, load, self._target, GET)
        with self._files(put):
            yield self._cell(put, self._after_put, rounds)
            self._keeper.move(replace(put, prefix=GET))
        self._target.mkdir()
        yield self._cell(get, self._after_get, rounds)
        self._target.rmdir()
        self._keeper.delete(get)

    def _cell(self, job: Job, after: Callable[[Job], None], rounds: int) -> Cell:
        small = job.load == self._site.small
        bars: dict[str, Any] = {"large": not small, "least_rate": self._site.least_small if small else None}
        if job.load.at_once == 1:
            bars["most_extra_bytes"] = self._site.most_extra_bytes
        amount = job.load.files if small else job.load.total

        def run(mover: Mover, _: int) -> Work:
            return Work(amount, mover.move(job))

        def tidy(mover: Mover, _: int) -> None:
            after(job)
            mover.renew()

        def contender(mover: Mover, bar: float | None = None) -> Contender:
            return Contender(mover.name, partial(run, mover), mover.usage, bar, partial(tidy, mover))

        title, contests = f"{self._site.name}, {job.way} {job.load}", []
        for ours in self._ours:
            parts = {} if small else self._site.bars(ours.name)
            rivals = [contender(rival, parts.get(rival.name)) for rival in self._rivals]
            contests.append(Contest(f"{title}, {ours.name}", contender(ours), rivals, **bars))
        return Cell(job.way, job.load, hold_together(contests, title, rounds=rounds, report=self._report))

    def _after_put(self, job: Job) -> None:
        self._keeper.check(job)
        self._keeper.delete(job)

    def _after_get(self, job: Job) -> None:
        for name in job.names:
            if (found := job.file(name).stat().st_size) != job.load.size:
                raise WrongAnswer(f"{found} of {job.load.size} bytes came")
            job.file(name).unlink()

    @contextmanager
    def _files(self, job: Job) -> Iterator[None]:
        """The job's files: one of random bytes, which nothing on the way can make smaller, under all the names."""
        job.folder.mkdir()
        first, *others = job.names
        with job.file(first).open("wb") as target:
            for at in range(0, job.load.size, MIB):
                target.write(os.urandom(min(MIB, job.load.size - at)))
        for name in others:
            job.file(name).hardlink_to(job.file(first))
        yield
        shutil.rmtree(job.folder)

    def _warm_up(self) -> None:
        warm = Job(PUT, Load(4096, 1, 1), self._source, PUT)
        for mover in (self._keeper, *self._ours, *self._rivals):
            if isinstance(mover, Driven):
                with self._files(warm):
                    mover.warm_up(warm)
                self._keeper.delete(warm)
