"""On which processor cores the programs run that adapters start, where the server keeps its own threads on one."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

_allowed: frozenset[int] = frozenset()


def allow(cores: Collection[int]) -> None:
    """From now on, programs may run on these cores; without this they run where the thread that starts them does."""
    global _allowed
    _allowed = frozenset(cores)


def release(pid: int) -> None:
    """Let a program that was just started run on the allowed cores; where that cannot be it stays where it is."""
    if _allowed:
        with suppress(OSError):  # It has ended, or the system has taken these cores away since.
            os.sched_setaffinity(pid, _allowed)
