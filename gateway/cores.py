"""Processor cores: small requests share one of them, large bodies use all; see docs/decisions/11-cores.md."""

import os

from adapters import cores as program_cores

#: From this size on a body is worth more than one core.
LARGE_BYTES = 1024 * 1024


class Cores:
    """Where the threads of one server process run. A thread begins where the one that started it was."""

    def __init__(self) -> None:
        self._all: set[int] = set()
        self._home: set[int] = set()

    def settle(self, number: int) -> None:
        """Keep this thread, and those it will start, on one core of those the process may use."""
        self._all = os.sched_getaffinity(0)
        program_cores.allow(self._all)
        self._home = {sorted(self._all)[number % len(self._all)]}
        self.gather()

    def spread(self) -> None:
        """Let this thread, and those it will start, run anywhere."""
        self._move(self._all)

    def gather(self) -> None:
        """Bring this thread back."""
        self._move(self._home)

    def _move(self, cores: set[int]) -> None:
        if len(self._all) > 1:
            os.sched_setaffinity(0, cores)


CORES = Cores()
