"""Chaos: hundreds of kills; nothing that was acknowledged is lost, nothing is left, and all comes to rest by itself.

`make chaos` does the same for longer; a run that failed is repeated with the CHAOS_SEED that it printed.
"""

import os
import subprocess
import sys

import pytest

from tests.servers.gateway import ROOT
from tests.servers.process import ProgramMissing

#: Two databases, and at least 200 kills in all.
KILLS = int(os.environ.get("CHAOS_KILLS") or 105)
SECONDS = float(os.environ.get("CHAOS_SECONDS") or 120)
#: What the programme ends with where a server is not installed.
MISSING = 77


@pytest.mark.timeout(SECONDS + 720)
@pytest.mark.parametrize(
    "vendor",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"chaos-{name}")) for name in ("postgresql", "sqlite")],
)
def test_an_installation_gets_over_every_kill_and_every_trouble(vendor: str) -> None:
    environment = {**os.environ, "CHAOS_KILLS": str(KILLS), "CHAOS_SECONDS": str(SECONDS)}
    command = [sys.executable, "-m", "tests.chaos", vendor]
    ended = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)
    print(ended.stdout)
    if ended.returncode == MISSING:
        raise ProgramMissing(ended.stdout.splitlines()[-1])
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
