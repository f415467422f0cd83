"""`python -m tests.bench.questions OBJECTS` fills the database of DATABASE_URL and asks what it reads, a line each.

Prints lines of JSON: how long the load took and what may be asked, then the latencies of each question in seconds.
"""

from __future__ import annotations

import json
import random
import sys
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from tests.bench.rows import Yard

Ask = Callable[[], Callable[[], object]]
#: How often at a time: a short question, and one that does the work of hundreds.
SHORT_RUNS, LONG_RUNS = 20, 5


def main() -> None:
    django.setup()
    from django.core.management import call_command

    from tests.bench import rows

    objects = int(sys.argv[1])
    call_command("migrate", verbosity=0)
    began, yard = time.monotonic(), rows.prepare()
    rows.load(yard, objects)
    loaded_s = time.monotonic() - began
    known = questions(yard, objects, rows.alias_tokens(yard, objects))
    for ask, _ in known.values():
        _timed(ask, 3)  # What is made at the first time only is not counted.
    _tell(loaded_s=loaded_s, questions=list(known))
    for line in sys.stdin:
        _tell(seconds=_timed(*known[line.strip()]))


def questions(yard: Yard, objects: int, tokens: list[str]) -> dict[str, tuple[Ask, int]]:
    """Each with how often it is asked at a time; ``ask()`` prepares one and returns what is to be timed."""
    from django.test import Client

    from staging import aliases, api_keys, claims, listing, reading, replication, tiers, transfers
    from staging.models import Storage, Transfer
    from staging.states import Role, TransferState
    from tests.bench.rows import SIZE, key_of

    dice = random.Random(objects)
    _, key = api_keys.issue_key(yard.project, Role.VIEWER, label="bench")
    client, header = Client(), {"Authorization": f"Bearer {key}", "Host": "127.0.0.1"}
    far = yard.storages["far"]

    def resolve() -> Callable[[], object]:
        token = dice.choice(tokens)
        return lambda: reading.find(aliases.resolve(token))

    def list_flat() -> Callable[[], object]:
        after = key_of(dice.randrange(objects))
        return lambda: listing.page(yard.data, after=after, limit=100)

    def list_folded() -> Callable[[], object]:
        after = key_of(dice.randrange(objects))[:11]
        return lambda: listing.page(yard.data, folded=True, after=after, limit=100)

    def ask_api() -> Callable[[], object]:
        path = f"/api/v1/buckets/data/objects?prefix={key_of(dice.randrange(objects))[:11]}"
        cursor = client.get(path, headers=header).json()["next"]
        return lambda: client.get(f"{path}&cursor={cursor}", headers=header).json()["items"][99]

    def list_failed() -> Callable[[], object]:
        path = "/api/v1/transfers?state=failed"
        return lambda: client.get(path, headers=header).json()["items"]

    def claim() -> Callable[[], object]:
        for one in Transfer.objects.filter(state=TransferState.RUNNING):
            claims.finish(one, TransferState.DONE)

        def take() -> object:
            [due] = claims.next_at([far.pk], limit=1)
            taken = claims.take(str(due.pk))
            assert taken
            return taken

        return take

    def sweep() -> Callable[[], object]:
        return transfers.sweep

    def plan(name: str) -> Ask:
        """One copy is enough to bring the storage below its low mark; how much is on it by its own word is not true."""

        def fill() -> Callable[[], object]:
            Storage.objects.filter(tier__lte=1).update(capacity_bytes=None, used_bytes=0)
            Storage.objects.filter(name=name).update(capacity_bytes=2 * SIZE, used_bytes=2 * SIZE * 81 // 100)

            def relieve() -> None:
                made = tiers.relieve()
                assert made == 1, made

            return relieve

        return fill

    def reconcile() -> Callable[[], object]:
        after = str(uuid.UUID(int=dice.randrange(2**127)))
        return lambda: replication.reconcile(after, limit=500)

    return {
        "an alias's object": (resolve, SHORT_RUNS),
        "100 objects behind a key": (list_flat, SHORT_RUNS),
        "100 folders behind a key": (list_folded, SHORT_RUNS),
        "GET a page of 100 objects": (ask_api, SHORT_RUNS),
        "GET the transfers that failed": (list_failed, SHORT_RUNS),
        "claim of the next transfer": (claim, SHORT_RUNS),
        "sweep of 500 transfers that are due": (sweep, LONG_RUNS),
        "eviction from a full storage": (plan("fast"), LONG_RUNS),
        "flush from a full storage": (plan("burst"), LONG_RUNS),
        "reconciler's look at 500 objects": (reconcile, LONG_RUNS),
    }


def _timed(ask: Ask, runs: int) -> list[float]:
    found = []
    for _ in range(runs):
        work = ask()
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return found


def _tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
