"""One run: the installation is set up, works, is killed and troubled, is left in peace, and is looked over."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from django.core.management import call_command

from tests.chaos import checker, nursery
from tests.chaos.clients import Client
from tests.chaos.killer import Killer
from tests.chaos.nursery import Nursery
from tests.chaos.troubles import Troubles
from tests.chaos.world import World
from tests.servers.ports import free_port
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis

CLIENTS = 4
#: So much longer it may take until somebody was killed at every kind of work, on a machine that has much else to do.
HITS_WITHIN_S = 240
#: Within so many seconds all comes to rest once nothing is killed any more.
REST_WITHIN_S = 150


@dataclass(frozen=True)
class Extent:
    """So many processes are killed, in at most so many seconds; then it ends with fewer, and says so."""

    kills: int
    seconds: float


class _Clock:
    def __init__(self) -> None:
        self._at, self._laps = time.monotonic(), []

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self._laps.append(f"{name} {now - self._at:.1f} s")
        self._at = now

    def __str__(self) -> str:
        return ", ".join(self._laps)


def chaos(folder: Path, redis: Redis, postgres: Postgres | None, seed: int, extent: Extent) -> None:
    """Raises AssertionError where something is not as it must be, and prints what was done."""
    clock = _Clock()
    nursery.load()
    clock.lap("loaded")
    with Nursery(folder) as home:
        call_command("migrate", verbosity=0)
        world, dice = World(folder), Random(seed)
        ports = [free_port(), free_port()]
        clients = [
            Client(number, world.slots(number), ports[number % 2 :] + ports[: number % 2], world.api_key, seed + number)
            for number in range(CLIENTS)
        ]
        clock.lap("set up")
        killer = Killer(home, [*(f"gateway {port}" for port in ports), "worker", "worker", "scheduler"], dice)
        for client in clients:
            client.wanted = lambda: killer.missed
        troubles = Troubles(world, redis, postgres, dice)
        try:
            _live_through(world, killer, troubles, clients, dice, extent, clock)
        finally:
            killer.stop()
            _tell(killer, troubles, clients)
            print(clock)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"processor time: {used.ru_utime + used.ru_stime:.1f} s in processes, {own.ru_utime + own.ru_stime:.1f} s here"
    )
    assert killer.count >= extent.kills, f"only {killer.count} kills in {extent.seconds} s"
    assert not killer.missed, f"nobody was killed at {', '.join(killer.missed)}"


def _live_through(
    world: World,
    killer: Killer,
    troubles: Troubles,
    clients: Sequence[Client],
    dice: Random,
    extent: Extent,
    clock: _Clock,
) -> None:
    for client in clients:
        client.start()
    _reign(killer, troubles, clients, dice, extent)
    clock.lap("reigned")
    troubles.heal(all_of_them=True)
    _end(clients)
    clock.lap("clients ended")
    _rest(killer)
    clock.lap("at rest")
    for client in clients:
        client.check()
    _rest(killer)  # Reads bring blocks to the fast storage, for which others may have to go.
    killer.stop()
    standing = [(slot, client.standing[slot]) for client in clients for slot in client.slots]
    assert all(len(contents) == 1 for _, contents in standing)
    expected = {(slot.bucket, slot.key): data for slot, (data,) in standing if data is not None}
    kept = {
        name: {(slot.bucket, slot.key): data for slot, data in members.items()}
        for client in clients
        for name, members in client.kept.items()
    }
    print(f"found: {_told(checker.check(world, expected, kept))}; failed transfers: {_told(checker.failed())}")
    clock.lap("checked")


def _tell(killer: Killer, troubles: Troubles, clients: Sequence[Client]) -> None:
    print(f"killed {killer.count}: {_told(killer.kills)}")
    print(f"at work on: {_told(killer.at_work)}")
    print(f"troubles: {_told(troubles.seen)}; ended by themselves: {_told(killer.ended_alone)}")
    for what in ("done", "answers"):
        print(f"{what}: {_told(sum((getattr(client, what) for client in clients), start=Counter()))}")


def _reign(killer: Killer, troubles: Troubles, clients: Sequence[Client], dice: Random, extent: Extent) -> None:
    until = time.monotonic() + extent.seconds
    crashes = {extent.kills // 3, extent.kills * 2 // 3}
    while killer.count < extent.kills and time.monotonic() < until:
        killer.kill_one()
        killer.replace_the_dead()
        troubles.heal()
        if killer.count in crashes:
            troubles.database_restarted()
        elif dice.random() < 0.2:
            troubles.happen("drain" if "drain" in killer.missed else "")
        _raise_for(clients)
        if not killer.count % 50:
            print(f"{killer.count} kills", flush=True)
    until += HITS_WITHIN_S
    while killer.missed and time.monotonic() < until:
        killer.kill_at_what_was_missed()
        killer.replace_the_dead()
        troubles.heal()
        if "drain" in killer.missed and dice.random() < 0.2:
            troubles.happen("drain")
        _raise_for(clients)


def _end(clients: Sequence[Client]) -> None:
    for client in clients:
        client.ending.set()
    for client in clients:
        client.join(timeout=300)
    _raise_for(clients)
    hanging = [(client.number, *line) for client in clients if client.is_alive() for line in list(client.diary)[-20:]]
    assert not hanging, "clients hang, which did last:\n" + "\n".join(map(str, hanging))


def _rest(killer: Killer) -> None:
    """By itself, and for good: what is done at rest makes no new work."""
    for _ in range(2):
        until = time.monotonic() + REST_WITHIN_S
        while unrest := checker.unrest():
            killer.replace_the_dead()
            if time.monotonic() > until:
                killer.ask_where_they_are()
                raise AssertionError(f"no rest in {REST_WITHIN_S} s:\n" + "\n".join(unrest))
            time.sleep(0.1)


def _raise_for(clients: Sequence[Client]) -> None:
    for client in clients:
        if client.breach is not None:
            paths = {path: slot for slot in client.slots for path in (slot.write, slot.read)}
            for began, took, method, path, *rest in client.diary:
                at = paths.get(str(path).partition("?")[0])
                print(f"{began:.2f} {took} {method}", f"{at.bucket}/{at.key}" if at else path, *rest)
            raise AssertionError(f"{type(client.breach).__name__}: {client.breach}") from client.breach


def _told(counts: object) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(dict(counts).items())) or "none"
