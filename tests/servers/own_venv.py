"""A virtual environment of its own for a program of the tests whose pins are not ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def is_made(venv: Path) -> bool:
    """Whether it was installed to its end at some time."""
    return (venv / "requirements.txt").exists()


def make(venv: Path, requirements: Path) -> None:
    """Make it, unless it is there with exactly the pinned versions. Raises CalledProcessError."""
    stamp = venv / "requirements.txt"
    if is_made(venv) and stamp.read_text() == requirements.read_text():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "-r", str(requirements)], check=True)
    stamp.write_text(requirements.read_text())
