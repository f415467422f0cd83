"""Workers that die in the middle of a transfer, at every step and anywhere: nothing is lost, and nothing is left."""

import os
import random
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from staging import orphans, reading, replicas, replication, retiring
from staging.models import Bucket, Object, Replica, Transfer
from staging.states import ReplicaState, TransferState
from tests.servers.mortals import Mortals
from tests.staging.yard import MIB, Yard

DATA = os.urandom(MIB + 1)
BACK = {"write": "back", "lands_on": "fast"}
TWO = {"replicate_to": ["far"], "min_replicas": 2}


def read(target: Object) -> bytes:
    copies = list(target.replicas.filter(state=ReplicaState.AVAILABLE).select_related("storage__credential"))
    with reading.open_stream(reading.pinned(target, copies), 0, target.size) as stream:
        return b"".join(iter(stream.read, b""))


def let_leases_run_out() -> None:
    """As if whoever holds one had been silent for as long as it lasts."""
    Transfer.objects.filter(state=TransferState.RUNNING).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def recover(yard: Yard) -> None:
    """A healthy worker comes, and all comes to rest."""
    let_leases_run_out()
    while Transfer.objects.filter(state__in=replication.LIVE).exists():
        Transfer.objects.filter(state=TransferState.RUNNING).update(state=TransferState.QUEUED, lease_expires_at=None)
        yard.hurry()
        assert yard.work(most=500)
    assert set(Transfer.objects.values_list("state", flat=True)) <= {"done", "cancelled"}


def clean_copy(yard: Yard, bucket: Bucket, key: str) -> Object:
    """An object that is flushed, and lies on the fast storage still."""
    made = yard.put(bucket, key, DATA)
    recover(yard)
    return made


def evict(yard: Yard, bucket: Bucket, key: str) -> Object:
    made = clean_copy(yard, bucket, key)
    assert replicas.let_go(yard.copy_on(made, "fast"), reason="asked")
    return made


def verify(yard: Yard, bucket: Bucket, key: str) -> Object:
    made = clean_copy(yard, bucket, key)
    replication.verify(yard.copy_on(made, "home"), reason="asked")
    return made


def delete(yard: Yard, bucket: Bucket, key: str) -> Object:
    made = clean_copy(yard, bucket, key)
    retiring.delete(made)
    return made


Deed = Callable[[Yard, Bucket, str], Object]

#: What is to be done, and where its worker is killed: at which step of which storage.
POINTS: list[tuple[Deed, str, list[str]]] = [
    (lambda yard, bucket, key: yard.put(bucket, key, DATA), "fast", ["open_read", "read"]),
    (
        lambda yard, bucket, key: yard.put(bucket, key, DATA),
        "home",
        ["open_write", "write", "publish", "published", "open_read"],
    ),
    (verify, "home", ["open_read", "read"]),
    (evict, "fast", ["delete", "deleted"]),
    (delete, "home", ["delete", "deleted"]),
]


def test_a_worker_killed_at_any_step_loses_nothing_and_leaves_nothing(yard: Yard, mortals: Mortals) -> None:
    bucket = yard.bucket(**BACK, verify="read")
    for deed, storage, steps in POINTS:
        for step in steps:
            made = deed(yard, bucket, f"{storage}/{step}")
            # Twice: the second one finds what the first has left.
            for _ in range(2):
                yard.faults(storage).hold(step)
                worker = mortals.start()
                yard.faults(storage).wait_until_held(step)
                mortals.kill(worker)
                yard.faults(storage).heal()
                let_leases_run_out()
                made.refresh_from_db()
                assert not made.current or read(made) == DATA, f"{step} on {storage}"
            recover(yard)
            yard.assert_all_is_counted()
            made.refresh_from_db()
            wanted = {"home": "available"} if deed is evict else {"home": "available", "fast": "available"}
            assert yard.where(made) == (wanted if made.current else {}), f"{step} on {storage}"
            assert not made.current or yard.file(yard.copy_on(made, "home")).read_bytes() == DATA


@pytest.mark.parametrize("hung", [False, True], ids=["dead", "dead or only late"])
def test_workers_killed_anywhere_lose_nothing_and_leave_nothing(yard: Yard, mortals: Mortals, hung: bool) -> None:
    """``hung``: leases run out while workers live, so that late ones meet their successors."""
    seed = int(os.environ.get("WAYBILL_TEST_SEED") or time.time_ns() % 10**6)
    print(f"WAYBILL_TEST_SEED={seed}")
    dice = random.Random(seed)
    buckets = [yard.bucket("back", **BACK, **TWO), yard.bucket("two", **TWO), yard.bucket("through", lands_on="fast")]
    acknowledged: dict[tuple[Bucket, str], bytes] = {}
    workers: list[int] = []
    for turn in range(15):
        while len(workers) < (3 if hung else 1):
            workers.append(mortals.start())
        bucket, key = dice.choice(buckets), f"k{dice.randrange(8)}"
        if (bucket, key) in acknowledged and dice.random() < 0.3:
            retiring.delete(Object.objects.get(bucket=bucket, key=key, current=True))
            del acknowledged[bucket, key]
        else:
            acknowledged[bucket, key] = data = dice.randbytes(dice.choice([0, 10, MIB // 2, MIB + 1]))
            yard.put(bucket, key, data)
        for copy in Replica.objects.filter(state=ReplicaState.AVAILABLE, storage__name="fast").order_by("pk")[:1]:
            replicas.let_go(copy, reason="asked")
        for copy in Replica.objects.filter(state=ReplicaState.AVAILABLE, object__current=True).order_by("-pk")[:1]:
            replication.verify(copy, reason="asked")
        time.sleep(dice.random() * 0.05)  # No condition to wait for: it is to happen anywhere.
        mortals.kill(workers.pop(dice.randrange(len(workers))))
        # What was replaced goes at once.
        Transfer.objects.filter(state=TransferState.QUEUED).update(not_before=timezone.now())
        if not hung or turn % 2:
            let_leases_run_out()
    for worker in workers:
        mortals.kill(worker)
    recover(yard)
    if hung:
        # What a late worker published, and was killed before it could remove it, is nobody's.
        for path in yard.folder.rglob("*"):
            if path.is_file():
                os.utime(path, (0, 0))
        for name in yard.storages:
            assert not orphans.act(yard[name]).found[orphans.Kind.LOST].count
    yard.assert_all_is_counted()
    for (bucket, key), data in acknowledged.items():
        standing = Object.objects.get(bucket=bucket, key=key, current=True)
        copies = [yard.file(copy).read_bytes() for copy in standing.replicas.select_related("storage")]
        assert len(copies) >= (1 if bucket.name == "through" else 2)
        assert set(copies) == {data}
    assert Object.objects.filter(current=True).count() == len(acknowledged)
    assert "Traceback" not in mortals.log.read_text()
