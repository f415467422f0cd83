"""The real stage.sh under one shell, with waits that suit a test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.gateway import ROOT

SCRIPT = ROOT / "gateway" / "static" / "waybill" / "stage.sh"
USAGE, TOOL, REFUSED, GAVE_UP, DIGEST, LOCAL = 2, 3, 4, 5, 6, 7

_IMPATIENT = {
    "STAGE_PATIENCE_S": "40",
    "STAGE_WAIT_S": "40",
    "STAGE_MAX_PAUSE_S": "1",
    "STAGE_STALL_S": "10",
    "STAGE_VERBOSE": "2",
}


@dataclass(frozen=True)
class Ending:
    """How the script ended: its exit status, its standard output, and what it said on standard error."""

    exit: int
    output: bytes
    words: str


@dataclass
class Stage:
    """``shell`` is a command; the script runs in ``folder``, and its notes go to a folder of their own beside it."""

    shell: list[str]
    folder: Path
    notes: Path
    settings: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str | Path, timeout_s: float = 90, **settings: str) -> Ending:
        """Run it to its end."""
        return self.end(self.begin(*arguments, **settings), timeout_s=timeout_s)

    def begin(self, *arguments: str | Path, **settings: str) -> subprocess.Popen[bytes]:
        """Start it; ``end`` waits for it."""
        return subprocess.Popen(
            [*self.shell, str(SCRIPT), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def end(self, running: subprocess.Popen[bytes], *, timeout_s: float = 90) -> Ending:
        """Wait for a script that was begun."""
        try:
            output, words = running.communicate(timeout=timeout_s)
        finally:
            running.kill()
        return Ending(running.returncode, output, words.decode(errors="replace"))

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": path, "TMPDIR": str(self.notes), **_IMPATIENT, **self.settings, **settings}

    def files(self) -> list[str]:
        """What lies in its folder, everything below included."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir())

    def left_notes(self) -> list[str]:
        """What it left in the folder for its notes."""
        return sorted(os.listdir(self.notes))
