"""Who does the jobs of the grid: processes that are driven, and other people's programs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from tests.bench import clients
from tests.bench.grid.driver import Driver
from tests.bench.grid.loads import Job
from tests.bench.usage import Clients, Usage
from tests.servers.process import find_program

PUT, GET = "PUT", "GET"


class Mover(ABC):
    """``usage`` is what it costs."""

    name: str
    usage: Usage

    @abstractmethod
    def move(self, job: Job) -> float:
        """The seconds that the job took. Raises WrongAnswer."""

    def renew(self) -> None:  # noqa: B027  most have nothing to do
        """Called after each job, outside of the measured time."""

    def close(self) -> None:  # noqa: B027
        """End what it holds."""


class Driven(Mover):
    """A process that has loaded all it needs; it connects within the time, and has a thread for each lane."""

    def __init__(self, name: str, kind: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self._driver = Driver(kind, settings)

    def warm_up(self, job: Job) -> None:
        """Upload and download something small, so that what this loads is no cost of what is measured."""
        for way in (PUT, GET):
            self.move(replace(job, way=way))
        self._driver.renew()
        self.usage = self._driver.usage()

    def move(self, job: Job) -> float:
        lanes = [[(job.key(name), str(job.file(name))) for name in lane] for lane in job.lanes]
        return self._driver.do(job.way.lower(), lanes)

    def check(self, job: Job) -> None:
        """Raises WrongAnswer unless all objects of the job are there in full length; an adapter only."""
        self._driver.do("require", [[(job.key(name), job.load.size) for name in job.names]])

    def delete(self, job: Job) -> None:
        """Remove all objects of the job; an adapter only."""
        self._driver.do("delete", [[(job.key(name),) for name in job.names]])

    def renew(self) -> None:
        self._driver.renew()

    def close(self) -> None:
        self._driver.close()


@dataclass
class Program(Mover):
    """A program that is started once for each lane, all of them at the same time.

    ``command`` makes its words and what it is told on standard input. With ``own_lanes`` it is started once for all
    and knows by itself how to do several at once.
    """

    name: str
    command: Callable[[Job, Sequence[str]], tuple[Sequence[str], str]]
    env: Mapping[str, str] = field(default_factory=dict)
    own_lanes: bool = False
    usage: Usage = field(default_factory=Clients)

    def move(self, job: Job) -> float:
        commands = [self.command(job, lane) for lane in ([job.names] if self.own_lanes else job.lanes)]
        began = time.perf_counter()
        with ThreadPoolExecutor(len(commands)) as threads:
            for _ in threads.map(lambda command: clients.call(command[0], stdin=command[1], env=self.env), commands):
                pass
        return time.perf_counter() - began


def rclone(place: str, **remote: object) -> Program:
    """``rclone copyto`` of the folder with the job's files, from and to ``place`` of a remote with these settings.

    It has no configuration of the user's, and tries once.
    """
    program = find_program("rclone", package="rclone")
    env = {f"RCLONE_CONFIG_BENCH_{name.upper()}": str(value) for name, value in remote.items()}

    def command(job: Job, names: Sequence[str]) -> tuple[Sequence[str], str]:
        there, here = f"bench:{place}{job.prefix}", str(job.folder)
        ways = {PUT: [here, there], GET: [there, here]}
        options = ["--config", "/dev/null", "--retries", "1", "--transfers", str(job.load.at_once)]
        return [program, "copyto", *options, *ways[job.way]], ""

    return Program("rclone", command, env=env, own_lanes=True)


def curl(name: str, url: Callable[[str, str], str]) -> Program:
    """curl, whose one process gets or puts all files of a lane over one connection; ``url`` is that of way and key."""
    program = find_program("curl", package="curl")

    def command(job: Job, names: Sequence[str]) -> tuple[Sequence[str], str]:
        option = {PUT: "-T", GET: "-o"}[job.way]
        words = [word for each in names for word in (option, str(job.file(each)), url(job.way, job.key(each)))]
        return [program, "-fsSg", *words], ""

    return Program(name, command)
