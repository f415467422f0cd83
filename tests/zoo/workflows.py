"""The workflow engines of the zoo, Snakemake and cwltool, in a virtual environment of their own."""

from __future__ import annotations

from pathlib import Path

from tests.servers import own_venv
from tests.servers.process import ProgramMissing

VENV = own_venv.ROOT / ".venv-workflows"
REQUIREMENTS = Path(__file__).with_name("workflows-requirements.txt")


def install() -> None:
    """Make the engines' virtual environment, unless it is there with exactly the pinned versions."""
    own_venv.make(VENV, REQUIREMENTS)


def engine(name: str) -> str:
    """The path of an engine's program; raises ProgramMissing."""
    if not own_venv.is_made(VENV):
        raise ProgramMissing(f"{name} is not installed in {VENV.name}: python -m tests.servers.install")
    return str(VENV / "bin" / name)
