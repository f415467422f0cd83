"""What processes cost: CPU seconds, and memory above what they hold when idle."""

from __future__ import annotations

import os
import resource
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: How a look at a process fails that has ended meanwhile: a gateway of the openssh engine has some that come and go.
_ENDED = (FileNotFoundError, ProcessLookupError)


class Usage(ABC):
    """Whose work is being measured."""

    @abstractmethod
    def cpu_s(self) -> float:
        """CPU seconds so far, of user and system."""

    @abstractmethod
    def forget_peak(self) -> None:
        """Let ``extra_bytes`` count from now on."""

    @abstractmethod
    def extra_bytes(self) -> int | None:
        """The most memory held since ``forget_peak`` above the idle amount, or None where that is not known."""


class Clients(Usage):
    """This process and the children it has waited for. Their memory is not looked at."""

    def cpu_s(self) -> float:
        spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in spent)

    def forget_peak(self) -> None:
        pass

    def extra_bytes(self) -> None:
        return None


class ProcessTree(Usage):
    """A server: a process and all that descend from it. What they hold when this is made is the idle amount."""

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._idle_bytes = sum(_memory(each, "VmRSS") for each in self._pids())

    def cpu_s(self) -> float:
        # The fields 14 to 17 of proc(5): user and system time, of the process and of children that it waited for.
        return sum(map(_ticks, self._pids())) / _TICKS_PER_S

    def forget_peak(self) -> None:
        for pid in self._pids():
            with suppress(*_ENDED):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def extra_bytes(self) -> int:
        return sum(_memory(pid, "VmHWM") for pid in self._pids()) - self._idle_bytes

    def _pids(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for pid, parent in _parents():
            children.setdefault(parent, []).append(pid)
        found = [self._root]
        for pid in found:
            found.extend(children.get(pid, ()))
        return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(*_ENDED):
                yield int(entry.name), int(_stat(int(entry.name))[1])


def _stat(pid: int) -> list[str]:
    """The fields from the third on; the second, a name, may hold spaces and parentheses."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _ticks(pid: int) -> int:
    """Of one that has just ended, none: its parent has them once it has waited for it."""
    with suppress(*_ENDED):
        return sum(map(int, _stat(pid)[11:15]))
    return 0


def _memory(pid: int, name: str) -> int:
    with suppress(*_ENDED):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
