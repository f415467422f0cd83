"""A client that is a program: run to its end, offline, with nobody's settings."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import find_program


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit status and what it wrote."""

    exit: int
    output: str
    errors: str


def run(name: str, *arguments: str | Path, package: str, folder: Path, timeout_s: float = 60) -> Ended:
    """Run a program of a Debian package in ``folder``, which is its home too. Raises ProgramMissing."""
    return start([find_program(name, package=package), *map(str, arguments)], folder=folder, timeout_s=timeout_s)


def start(command: list[str], *, folder: Path, timeout_s: float = 60) -> Ended:
    """The same of any program."""
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"))


def environment(folder: Path) -> dict[str, str]:
    """No proxies, no settings of whoever runs the tests, and file names in UTF-8."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "LC_ALL": "C.UTF-8",
    }
