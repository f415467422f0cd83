"""The engines of the SFTP adapter, each by itself and without a gateway, against OpenSSH's own client."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.contest import MIB, Contender, Contest, Result, Work, hold, size_in_words
from tests.bench.sftp import Sftp
from tests.bench.usage import ProcessTree
from tests.servers.gateway import ROOT

#: The least part of the speed of sftp with the same cipher, for one large file each way.
BARS = {"openssh": 1.0, "paramiko": 0.6}
#: For one stream, the ssh program among it.
MOST_EXTRA_BYTES = 32 * MIB
#: Small files a second, one after the other over one connection.
LEAST_SMALL = 200
#: More of them would take longer and tell nothing else.
MOST_SMALL = 2_000


class Driver:
    """A process with one adapter; ``usage`` is what it and the programs that it starts cost."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        command = [sys.executable, "-m", "tests.bench.driven"]
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._send(settings)

    def do(self, deed: str, **order: object) -> float:
        """The seconds that it took. Raises ValueError where it failed; the process has said why."""
        assert self._process.stdout is not None
        self._send({"deed": deed, **order})
        return float(self._process.stdout.readline())

    def usage(self) -> ProcessTree:
        return ProcessTree(self._process.pid)

    def close(self) -> None:
        with self._process:
            self._process.communicate(timeout=60)

    def _send(self, told: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        print(json.dumps(told), file=self._process.stdin, flush=True)


def run(
    folder: Path, *, large: Path, small: bytes, count: int, rounds: int, report: Callable[[str], None]
) -> list[Result]:
    """One large file and many small ones, each way, by each engine."""
    results = []
    share = min(count, MOST_SMALL) // rounds
    for engine, bar in BARS.items():
        try:
            with Sftp(folder, large, small) as rivalry, _driver(rivalry, engine) as driver:
                for contest in _contests(driver, rivalry, engine, bar, rounds=rounds, share=share):
                    results.append(hold(contest, rounds=rounds, report=report))
        finally:
            shutil.rmtree(folder)
    return results


@contextmanager
def _driver(rivalry: Sftp, engine: str) -> Iterator[Driver]:
    spec = rivalry.spec()
    options = {**spec.options, "engine": engine, "max_connections": 1}
    driver = Driver({"options": options, "credential": dict(spec.secrets or {})})
    try:
        yield driver
    finally:
        driver.close()


def _contests(driver: Driver, rivalry: Sftp, engine: str, bar: float, *, rounds: int, share: int) -> Iterator[Contest]:
    file, target = rivalry.folder / "small", rivalry.folder / "driven"
    file.write_bytes(rivalry.small)
    # What is loaded by the first transfer is no cost of the others.
    driver.do("put", key="warm", file=str(file))
    driver.do("get", key="warm", file=str(target))
    driver.do("rest")
    usage = driver.usage()

    def put(number: int) -> Work:
        return Work(rivalry.size, driver.do("put", key=f"{engine}-{number}", file=str(rivalry.large)))

    def get(_: int) -> Work:
        return Work(rivalry.size, driver.do("get", key=f"{engine}-{rounds - 1}", file=str(target)))

    def discard(number: int) -> None:
        if number < rounds - 1:
            driver.do("delete", key=f"{engine}-{number}")

    def many(deed: str, place: Path, number: int) -> Work:
        return Work(share, driver.do(deed, keys=keys[number], file=str(place)))

    title = f"{size_in_words(rivalry.size)} by the {engine} engine"
    bars: dict[str, Any] = {"large": True, "most_extra_bytes": MOST_EXTRA_BYTES}
    ours = Contender("adapter alone", put, usage, tidy=discard)
    yield Contest(f"PUT {title}", ours, _with_bar(rivalry.put_large(), bar), **bars)
    ours = Contender("adapter alone", get, usage, tidy=lambda _: target.unlink())
    yield Contest(f"GET {title}", ours, _with_bar(rivalry.get_large(f"{engine}-{rounds - 1}"), bar), **bars)
    driver.do("delete", key=f"{engine}-{rounds - 1}")

    batches = [[f"{engine}-{at}-{number}" for number in range(share)] for at in range(rounds)]
    keys = [[f"{engine}/{name}" for name in batch] for batch in batches]
    title = f"{share} files of {size_in_words(len(rivalry.small))}, one connection, {engine} engine"
    bars = {"large": False, "least_rate": LEAST_SMALL}
    ours = Contender("adapter alone", partial(many, "put_all", file), usage)
    yield Contest(f"PUT {title}", ours, rivalry.put_small(batches), **bars)
    ours = Contender("adapter alone", partial(many, "get_all", target), usage)
    yield Contest(f"GET {title}", ours, rivalry.get_small(batches, seconds=0), **bars)


def _with_bar(rivals: Sequence[Contender], bar: float) -> list[Contender]:
    """The rivals, those of them that have a bar with this one."""
    return [rival if rival.bar is None else replace(rival, bar=bar) for rival in rivals]
