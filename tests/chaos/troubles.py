"""What happens besides kills: the broker forgets, the database crashes, storages fail, transfers are given to two."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from random import Random

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from adapters.errors import Offline, OutOfSpace
from staging import drains, queue
from staging.connections import release
from staging.errors import InvalidRequest
from staging.models import Storage, Transfer
from staging.replication import LIVE
from staging.states import StorageState, TransferState
from tests.chaos.world import World
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis

#: So long a storage is in trouble, in seconds.
_SPAN_S = (0.3, 1.5)
_STEPS = ("open_read", "read", "open_write", "write", "copy", "publish", "stat", "delete")
#: A storage is not as fast as memory: between these steps there is time to be killed in, which costs no computing.
_USUAL_S = dict.fromkeys(("open_read", "read", "write", "publish", "published", "delete", "deleted"), 0.01)
_USUAL_S["copy"] = 0.08


class Troubles:
    """``happen`` makes the next one; storages get well by themselves when their time is over and ``heal`` is called."""

    def __init__(self, world: World, redis: Redis, postgres: Postgres | None, dice: Random) -> None:
        self._world, self._redis, self._postgres, self._dice = world, redis, postgres, dice
        self._heal_at: dict[str, float] = {}
        self.seen: Counter[str] = Counter()
        for name in world.storages:
            self._set_usual(name)
        self._all: list[Callable[[], None]] = [
            self.broker_emptied,
            self.storage_away,
            self.storage_slow,
            self.storage_full,
            self.transfers_given_twice,
            self.workers_late,
            self.drain_begun_or_cancelled,
        ]

    def happen(self, wanted: str = "") -> None:
        """One of them, of those whose names begin like this."""
        trouble = self._dice.choice([one for one in self._all if one.__name__.startswith(wanted)])
        with suppress(DatabaseError, InterfaceError):
            trouble()
            self.seen[trouble.__name__] += 1
        release()

    def heal(self, *, all_of_them: bool = False) -> None:
        """End what has lasted long enough, or all."""
        for name, at in list(self._heal_at.items()):
            if all_of_them or time.monotonic() > at:
                self._set_usual(name)
                del self._heal_at[name]
        if all_of_them:
            for name in self._world.storages:
                self._world.faults(name).heal()

    def broker_emptied(self) -> None:
        self._redis.ask("FLUSHALL")

    def database_restarted(self) -> None:
        """As a crash of its machine's would, without the time that it takes."""
        if self._postgres:
            self.seen["database_restarted"] += 1
            self._postgres.crash()
            self._postgres.serve()
            connection.close()
            connection.close_pool()

    def storage_away(self) -> None:
        name = self._unlucky()
        for step in _STEPS:
            self._world.faults(name).fail(step, Offline)

    def storage_slow(self) -> None:
        name = self._unlucky()
        for step in self._dice.sample(_STEPS, 3):
            self._world.faults(name).slow(step, 0.15)

    def storage_full(self) -> None:
        self._world.faults(self._unlucky()).fail("write", OutOfSpace, from_byte=self._dice.choice([0, 10_000]))

    def transfers_given_twice(self) -> None:
        """Everybody is told of the same work at the same moment."""
        for transfer in Transfer.objects.filter(state__in=LIVE)[:20]:
            for _ in range(3):
                queue.enqueue_transfer(transfer)

    def workers_late(self) -> None:
        """Leases run out under workers that live, so that each of them meets a successor."""
        running = Transfer.objects.filter(state=TransferState.RUNNING)
        running.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        for transfer in running:
            queue.enqueue_transfer(transfer)

    def drain_begun_or_cancelled(self) -> None:
        far, cold = (Storage.objects.get(name=name) for name in ("far", "cold"))
        with suppress(InvalidRequest):
            if far.state == StorageState.DRAINED or (far.drain_to_id and self._dice.random() < 0.3):
                drains.cancel(far)
            elif far.replicas.exists():  # It would be over at once.
                drains.start(far, cold)

    def _set_usual(self, name: str) -> None:
        self._world.faults(name).heal()
        for step, seconds in _USUAL_S.items():
            self._world.faults(name).slow(step, seconds)

    def _unlucky(self) -> str:
        name = self._dice.choice(["home", "far", "fast", "cold", "lab"])
        self._world.faults(name).heal()
        self._heal_at[name] = time.monotonic() + self._dice.uniform(*_SPAN_S)
        return name
