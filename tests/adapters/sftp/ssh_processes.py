"""The ssh programs that a process has started, as the system shows them, and another program in their place."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest


def ssh_processes(parent: int | None = None) -> list[int]:
    """Their ids, of this process or another, those that ended and were not waited for among them."""
    found = []
    for children in Path(f"/proc/{parent or os.getpid()}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # The thread has ended.
            found += [int(pid) for pid in children.read_text().split()]
    return [pid for pid in found if _name(pid) == "ssh"]


def only_ssh() -> int:
    [pid] = ssh_processes()
    return pid


def is_there(pid: int) -> bool:
    """Running, or ended and not waited for."""
    return Path(f"/proc/{pid}").exists()


def words_of(pid: int) -> bytes:
    """Its command line and its environment."""
    return b"\0".join(Path(f"/proc/{pid}/{part}").read_bytes() for part in ("cmdline", "environ"))


def fake_ssh(
    folder: Path, script: str, monkeypatch: pytest.MonkeyPatch, *, version: str = "OpenSSH_9.2p1 Debian"
) -> None:
    """Another program in the place of ssh."""
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n[ \"$1\" = -V ] && echo '{version}' >&2 && exit\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def _name(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
