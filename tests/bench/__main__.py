"""Measure Waybill against what its storages can do without it, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import django

from tests.bench import facts
from tests.servers.install import install_packages

#: Programs that no test needs, and their Debian packages.
PROGRAMS = {"globus-url-copy": "globus-gass-copy-progs", "wrk": "wrk"}

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
PARTS = ("local", "sftp", "s3", "small", "grid", "waiting", "catalog")
#: Of the grid.
STORAGES = ("local", "sftp", "s3", "webdav", "gridftp", "irods")
#: The source, what is stored, what the rivals store and what is still to be removed lie there at once.
ROOM = 6


def main() -> int:
    options = _arguments()
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if missing and os.getuid() == 0:
        install_packages(missing)
    # A bench that is told to end takes its servers along.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="waybill-bench-", dir=_roomy(options.size)))
    try:
        _set_up_django(folder / "data")
        return _measure(options, folder)
    finally:
        shutil.rmtree(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the large file (default: 1024)")
    parser.add_argument("--count", type=int, default=10_000, help="how many files of 4 KiB (default: 10000)")
    parser.add_argument("--rounds", type=int, default=5, help="of each contest, 3 or more (default: 5)")
    parser.add_argument("--seconds", type=int, default=5, help="of each run of wrk (default: 5)")
    parser.add_argument("--only", type=_some(PARTS), default=PARTS, metavar="PART,…", help=f"some of {','.join(PARTS)}")
    parser.add_argument(
        "--grid-rounds", type=int, default=3, metavar="ROUNDS", help="of each cell of the grid (default: 3)"
    )
    parser.add_argument(
        "--storages",
        type=_some(STORAGES),
        default=STORAGES,
        metavar="STORAGE,…",
        help=f"of the grid, {','.join(STORAGES)}",
    )
    parser.add_argument("--no-digest", action="store_true", help="the adapters of the grid hash as little as others do")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="64 MiB, 600 files, 3 rounds (1 of the grid), 2 s; the page is not written",
    )
    options = parser.parse_args()
    if options.quick:
        options.size, options.count, options.rounds, options.seconds = 64, 600, 3, 2
        options.grid_rounds = 1
    if (
        options.rounds < 3
        or options.size < 1
        or options.seconds < 1
        or options.count < options.rounds
        or options.grid_rounds < 1
    ):
        parser.error("at least 3 rounds (1 of the grid), 1 MiB, 1 second and one small file a round are needed")
    return options


def _some(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def some(words: str) -> tuple[str, ...]:
        chosen = tuple(words.split(","))
        if unknown := set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none of {', '.join(known)}")
        return chosen

    return some


def _roomy(size: int) -> str | None:
    """The memory-backed file system where there is one with enough room, else the usual temporary folder."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > ROOM * size * 1024**2:
        return str(memory)
    print(f"/dev/shm has no room for {ROOM} times {size} MiB: the disk will have its say in the numbers.")
    return None


def _set_up_django(data: Path) -> None:
    for name in ("DATABASE_URL", "BROKER_URL", "HOST", "PORT"):
        os.environ.pop(name, None)
    os.environ |= {"DATA_DIR": str(data), "DJANGO_SETTINGS_MODULE": "gateway.settings"}
    django.setup()


def _measure(options: argparse.Namespace, folder: Path) -> int:
    # These import the models, for which Django has to be set up.
    from tests.bench import catalog, clients, page, programme, waiting
    from tests.bench.grid import programme as grid
    from tests.bench.grid import table

    machine = facts.collect()

    def report(line: str) -> None:
        print(line, flush=True)

    results = programme.run(
        folder,
        parts=options.only,
        size=options.size * 1024**2,
        count=options.count,
        rounds=options.rounds,
        seconds=options.seconds,
        report=report,
    )
    grids = []
    if "grid" in options.only:
        grids = grid.run(
            folder / "grid",
            storages=options.storages,
            largest=options.size * 1024**2,
            rounds=options.grid_rounds,
            digest=not options.no_digest,
            report=report,
        )
    waits = waiting.run(folder / "waiting", report=report) if "waiting" in options.only else []
    sizes = catalog.SIZES[:2] if options.quick else catalog.SIZES
    grown = catalog.run(folder / "catalog", sizes=sizes, report=report) if "catalog" in options.only else []
    machine |= {"rounds": f"{options.rounds}, of each adapter by itself {options.grid_rounds}"}
    method = table.method(options.size * 1024**2, digest=not options.no_digest)
    how = {"connections": clients.CONNECTIONS, "seconds": options.seconds, "grid_method": method}
    text = page.write(results, machine, grids=grids, waits=waits, grown=grown, **how)
    print(f"\n{text}")
    if (options.only, options.storages) == (PARTS, STORAGES) and not (options.quick or options.no_digest):
        PAGE.write_text(text)
    else:
        print(f"Not all of it was measured at full length: {PAGE.name} stays as it is.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
