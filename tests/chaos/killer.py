"""The killer keeps an installation's processes running, and kills one after another, in the midst of what it does."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.chaos.nursery import Nursery
from tests.servers.process import wait_until

#: What the killer waits for in turn, to kill who does it.
AIMS = ("flush", "replicate", "promote", "evict", "delete", "verify", "copy", "move", "within", "plan", "share")
AIMS += ("put", "janitor", "rename", "drain", "checkpoint", "restore", "unpin", "demote")
_WAIT_S = 0.4
#: Who is killed where nobody does that: mostly the scheduler, or nobody would come to what he is to be killed at.
_WEIGHTS = {"gateway": 1, "worker": 1, "scheduler": 2}


class Killer:
    """``roles`` are those of the nursery; the same one may be named several times."""

    def __init__(self, nursery: Nursery, roles: Sequence[str], dice: Random) -> None:
        self._nursery, self._dice, self._roles = nursery, dice, roles
        self._crew = {place: nursery.start(role) for place, role in enumerate(roles)}
        self.kills: Counter[str] = Counter()
        self.at_work: Counter[str] = Counter()
        self.ended_alone: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return sum(self.kills.values())

    @property
    def missed(self) -> list[str]:
        """What nobody was at when he was killed, so far."""
        return [kind for kind in AIMS if not self.at_work[kind]]

    def kill_one(self) -> None:
        """Kill somebody who does what is next in turn, or what nobody was killed at yet, or anybody, at any moment; a
        successor comes at once.
        """
        if not self._kill_at({AIMS[self.count % len(AIMS)], *self.missed}):
            time.sleep(self._dice.random() ** 2 * 0.05)  # No condition to wait for: it is to happen anywhere.
            self._kill(self._anybody())

    def kill_at_what_was_missed(self) -> None:
        """Kill somebody who does what nobody was killed at yet, if anybody does it soon."""
        self._kill_at(set(self.missed))

    def _kill_at(self, kinds: Collection[str]) -> bool:
        pid = self._aim(kinds)
        if pid is None:
            return False
        time.sleep(self._dice.random() ** 2 * 0.03)  # Somewhere in the midst of it.
        place = self._place_of(pid)
        if place is not None:
            self._kill(place)
        return place is not None

    def replace_the_dead(self) -> None:
        """Start again what ended by itself, as an init system does."""
        for place, pid in self._crew.items():
            if not _is_alive(pid):
                self.ended_alone[self._roles[place].split()[0]] += 1
                self._crew[place] = self._nursery.start(self._roles[place])

    def ask_where_they_are(self) -> None:
        """Have every process write into the log where each of its threads is."""
        for pid in self._crew.values():
            for one in (pid, *_children(pid)):
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGUSR2)
        time.sleep(1)  # No condition to wait for: they write what they write.

    def stop(self) -> None:
        """End all of them."""
        for pid in self._crew.values():
            self._end(pid)

    def _kill(self, place: int) -> None:
        """A whole process group; of a gateway sometimes its serving process alone, whose master goes on."""
        role, pid = self._roles[place].split()[0], self._crew[place]
        serving = _children(pid) if role == "gateway" and self._dice.random() < 0.7 else []
        pids = {pid, *_children(pid)}
        if serving:
            pids = set(serving)
            for one in serving:
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
        else:
            self._end(pid)
            self._crew[place] = self._nursery.start(self._roles[place])
        self.kills[f"{role}'s server" if serving else role] += 1
        self.at_work.update(self._nursery.take_work_of(pids))

    def _end(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        wait_until(lambda: not _is_alive(pid), what=f"the process {pid} is gone")

    def _aim(self, kinds: Collection[str]) -> int | None:
        """Somebody who does such work, if anybody comes to it soon."""
        until = time.monotonic() + _WAIT_S
        while time.monotonic() < until:
            found = [pid for pid, one in self._nursery.doing() if one in kinds]
            if found:
                return self._dice.choice(found)
            time.sleep(0.002)
        return None

    def _anybody(self) -> int:
        weights = [_WEIGHTS[role.split()[0]] for role in self._roles]
        return self._dice.choices(range(len(self._roles)), weights)[0]

    def _place_of(self, pid: int) -> int | None:
        with suppress(ProcessLookupError):
            group = os.getpgid(pid)
            return next((place for place, leader in self._crew.items() if leader == group), None)
        return None


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
