"""Drains: every copy is moved away, and reads go on."""

import io
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from adapters.errors import AccessDenied, Offline
from staging import aliases, checkpoints, drains, replicas, replication, reservations, retiring, transfers, writing
from staging.alias_terms import AliasSpec
from staging.checkpoints import CheckpointSpec
from staging.drain_measure import Amount, measure
from staging.errors import StorageClosed
from staging.explaining import explain
from staging.models import Bucket, Node, Object, Replica, Storage, Transfer, Upload
from staging.offers import Offer
from staging.states import AliasMode, StorageState, TransferKind, TransferState
from staging.storages import adapter_for
from tests.staging.bodies import Body
from tests.staging.yard import BACK, DATA, MIB, TWO, Yard, read

EPHEMERAL = {"write": "ephemeral", "lands_on": "fast"}


def test_a_drain_moves_every_copy_and_reads_go_on(yard: Yard) -> None:
    plain, safe, around = yard.bucket("plain"), yard.bucket("safe", **TWO), yard.bucket("around", write="around")
    objects = [yard.put(bucket, "x", DATA) for bucket in (plain, safe, around)]
    yard.work()
    Storage.objects.filter(name="fast").update(tier=2)
    drains.start(yard["home"], yard["fast"])
    left = drains.progress(yard["home"])
    assert (left.replicas, left.bytes) == (3, 3 * len(DATA))
    assert set(drains.left(yard["home"])) == {"plain/x", "safe/x", "around/x"}
    assert [read(one) for one in objects] == [DATA] * 3
    for _ in range(3):
        drains.sweep()
        yard.work()
    assert drains.progress(yard["home"]).replicas == 0
    drains.sweep()
    assert yard["home"].state == StorageState.DRAINED
    assert [read(one) for one in objects] == [DATA] * 3
    assert yard.where(objects[1]) == {"far": "available", "fast": "available"}
    assert yard.where(yard.put(plain, "new", DATA)) == {"fast": "available"}, "new bytes follow"
    yard.assert_all_is_counted()
    plain.refresh_from_db()
    assert plain.storage.name == "fast"
    drains.cancel(yard["home"])
    assert yard["home"].state == StorageState.ACTIVE


def test_what_comes_and_goes_meanwhile_leaves_the_measure_of_a_drain_true(yard: Yard) -> None:
    bucket = yard.bucket()
    first, *_ = [yard.put(bucket, key, bytes(MIB)) for key in "abc"]
    Storage.objects.filter(name="fast").update(tier=2)

    def told() -> tuple[int, int, int]:
        found = drains.progress(yard["home"]).measure
        assert found
        assert found.start == Amount(3, 3 * MIB)
        return found.done.replicas, found.done.bytes, found.percent

    assert drains.progress(yard["home"]).measure is None
    late = aliases.create(Bucket.objects.get(pk=bucket.pk), [AliasSpec(AliasMode.WRITE, "late")])[0]
    body = Body(bytes(9 * MIB), at_end=lambda: drains.start(yard["home"], yard["fast"]))
    came = writing.receive(late, Offer(9 * MIB), body).object
    assert yard.where(came) == {"home": "available"}, "it was on its way when the drain began"
    assert told() == (0, 0, 0)
    retiring.delete(first)
    yard.faults("fast").fail("write", Offline, from_byte=2 * MIB)
    for _ in range(3):
        yard.work()
        drains.sweep()
    assert set(drains.left(yard["home"])) == {"runs/late"}
    assert told() == (3, 3 * MIB, 25), "more is left than there was"
    yard.faults("fast").heal()
    for _ in range(3):
        yard.hurry()
        yard.work()
        drains.sweep()
    assert told() == (3, 3 * MIB, 100)
    drains.cancel(yard["home"])
    assert drains.progress(yard["home"]).measure is None


@pytest.mark.parametrize(
    ("start", "old", "left", "percent", "pace"),
    [
        (Amount(10, 1000), Amount(10, 1000), Amount(10, 1000), 0, (None, None)),
        (Amount(10, 1000), Amount(5, 600), Amount(5, 600), 40, (40, 15)),
        (Amount(10, 1000), Amount(0, 0), Amount(1, 1), 99, (100, 0)),
        (Amount(10, 1000), Amount(11, 1200), Amount(12, 5000), 0, (None, None)),
        (Amount(4, 0), Amount(3, 0), Amount(3, 0), 25, (None, None)),
        (Amount(0, 0), Amount(0, 0), Amount(0, 0), 0, (None, None)),
    ],
    ids=["begun", "half", "nearly", "more than there was", "empty objects", "nothing"],
)
def test_a_drain_is_measured(
    start: Amount, old: Amount, left: Amount, percent: int, pace: tuple[int | None, int | None]
) -> None:
    now = timezone.now()
    found = measure(now - timedelta(seconds=10), start, old, left, now=now)
    assert (found.percent, (found.bytes_per_s, found.seconds_left)) == (percent, pace)
    assert measure(now, start, old, left, now=now, is_over=True).percent == 100


def test_what_a_drain_moved_counts_for_a_policy_that_names_the_drained_storage(yard: Yard) -> None:
    made = yard.put(yard.bucket(**TWO), "x", DATA)
    yard.work()
    Storage.objects.filter(name="fast").update(tier=2)
    drains.start(yard["far"], yard["fast"])
    for _ in range(3):
        yard.work()
        drains.sweep()
    assert yard["far"].state == StorageState.DRAINED
    assert yard.where(made) == {"home": "available", "fast": "available"}
    assert explain(made).next == ["Nothing: all that the policy asks for is done."]


@pytest.mark.parametrize("state", [StorageState.DRAINED, StorageState.LOST])
def test_nothing_is_begun_on_a_storage_that_was_drained_or_given_up_since_it_was_looked_at(
    yard: Yard, state: StorageState
) -> None:
    home = yard["home"]
    alias = aliases.create(yard.bucket(), [AliasSpec(AliasMode.WRITE, "x")])[0]
    Storage.objects.filter(pk=home.pk).update(state=state)
    with pytest.raises(StorageClosed):
        reservations.reserve(alias, home, "k", uuid.uuid4(), 5, "")
    assert not Upload.objects.exists()
    yard.assert_all_is_counted()


def test_an_upload_that_begins_while_a_drain_ends_is_moved_too(yard: Yard) -> None:
    home, begun = yard["home"], list[Upload]()
    alias = aliases.create(yard.bucket(), [AliasSpec(AliasMode.WRITE, "x")])[0]

    def begin_behind_the_last_look(execute: Any, sql: str, *more: Any) -> Any:
        result = execute(sql, *more)
        if sql.startswith("SELECT") and "staging_cachedblock" in sql and "LIMIT 1" in sql and not begun:
            begun.append(reservations.reserve(alias, home, "k", uuid.uuid4(), 5, ""))
        return result

    with connection.execute_wrapper(begin_behind_the_last_look):
        drains.start(home, yard["far"])
    assert yard["home"].state == StorageState.DRAINING, "an upload is on its way there"
    reservations.drop(begun[0])
    drains.sweep()
    assert yard["home"].state == StorageState.DRAINED


def test_a_copy_on_its_way_to_a_storage_that_is_drained_goes_on_to_the_other(yard: Yard) -> None:
    made = yard.put(yard.bucket(**TWO), "x", DATA)
    yard.faults("far").fail("publish", Offline)
    yard.work()
    assert yard.where(made)["far"] == "copying"
    Storage.objects.filter(name="fast").update(tier=2)
    drains.start(yard["far"], yard["fast"])
    yard.hurry()
    yard.work()
    drains.sweep()
    assert yard["far"].state == StorageState.DRAINED
    assert yard.where(made) == {"home": "available", "fast": "available"}
    yard.assert_all_is_counted()


def test_a_drain_of_a_fast_storage_keeps_ephemeral_dirty_and_pinned_bytes(yard: Yard) -> None:
    settings: list[dict[str, Any]] = [{"write": "ephemeral"}, {"write": "back"}, {"pin": True}]
    made = [yard.put(yard.bucket(f"b{n}", lands_on="fast", **one), "x", DATA) for n, one in enumerate(settings)]
    transfers.run(str(Transfer.objects.get(kind=TransferKind.PROMOTE).pk))
    drains.start(yard["fast"], yard["far"])
    for _ in range(3):
        yard.work()
        drains.sweep()
    assert yard["fast"].state == StorageState.DRAINED
    assert [yard.where(one) for one in made] == [{"far": "available"}, {"home": "available"}, {"home": "available"}]
    yard.assert_all_is_counted()


def test_ephemeral_bytes_leave_a_storage_whatever_the_bucket_asks_for_the_others(yard: Yard) -> None:
    bucket = yard.bucket(**TWO, lands_on="fast")
    made = yard.put(bucket, "x", DATA)
    yard.work()
    Object.objects.filter(pk=made.pk).update(policy={"write": "ephemeral"})
    Replica.objects.filter(object=made).exclude(storage__name="fast").delete()
    drains.start(yard["fast"], yard["far"])
    yard.work()
    drains.sweep()
    yard.work()
    drains.sweep()
    assert (yard["fast"].state, yard.where(made)) == (StorageState.DRAINED, {"far": "available"})


def test_a_flush_that_ends_on_a_storage_whose_drain_is_given_up_leaves_nothing_dirty(yard: Yard) -> None:
    made = yard.put(yard.bucket(**BACK), "x", DATA)
    yard.faults("home").fail("publish", Offline, once=True)
    yard.work()
    # It has looked at the storage before the drain begins, and is done after that.
    flush, home = Transfer.objects.get(), yard["home"]
    copying = Replica.objects.get(object=made, storage=home)
    Storage.objects.filter(pk=home.pk).update(state=StorageState.DRAINING, drain_to=yard["far"])
    stat = adapter_for(home).stat(_write(home, copying.key))
    with transaction.atomic():
        replicas.publish_copy(copying, stat)
    Transfer.objects.filter(pk=flush.pk).update(state=TransferState.DONE)
    assert yard.where(made) == {"fast": "dirty", "home": "available"}
    Storage.objects.filter(pk=home.pk).update(state=StorageState.ACTIVE, drain_to=None)
    replication.reconcile("", limit=10)
    assert yard.where(made) == {"fast": "available", "home": "available"}


@pytest.mark.parametrize("chain", [False, True], ids=["failed for good", "drained on"])
def test_a_drain_of_ephemeral_bytes_ends_whatever_became_of_the_first_try(yard: Yard, chain: bool) -> None:
    bucket = yard.bucket(**EPHEMERAL)
    made = yard.put(bucket, "x", DATA)
    yard.faults("far").fail("open_write", Offline if chain else AccessDenied)
    drains.start(yard["fast"], yard["far"])
    yard.work()
    if chain:
        Storage.objects.filter(pk=bucket.storage_id).update(tier=1)
        drains.start(yard["far"], yard["home"])
    yard.faults("far").heal()
    Transfer.objects.filter(state=TransferState.FAILED).update(finished_at=timezone.now() - timedelta(hours=7))
    for _ in range(3):
        yard.hurry()
        drains.sweep()
        yard.work()
    drains.sweep()
    assert yard["fast"].state == StorageState.DRAINED
    assert yard.where(made) == {"home" if chain else "far": "available"}


def test_the_buckets_of_a_storage_go_to_the_end_of_a_chain_of_drains(yard: Yard) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "x", DATA)
    Storage.objects.filter(name="fast").update(tier=2)
    drains.start(yard["home"], yard["far"])
    drains.start(yard["far"], yard["fast"])
    for _ in range(3):
        yard.work()
        drains.sweep()
    bucket.refresh_from_db()
    assert (bucket.storage.name, yard.where(made)) == ("fast", {"fast": "available"})


def test_a_damaged_copy_does_not_keep_a_drain_from_its_end(yard: Yard) -> None:
    made = yard.put(yard.bucket(**TWO), "x", DATA)
    yard.work()
    Storage.objects.filter(name="fast").update(tier=2)
    drains.start(yard["home"], yard["fast"])
    replicas.condemn(yard.copy_on(made, "home"), "it is damaged")
    for _ in range(3):
        yard.work()
        drains.sweep()
    assert yard["home"].state == StorageState.DRAINED
    assert yard.where(made) == {"far": "available", "fast": "available"}
    yard.assert_all_is_counted()


def test_a_drain_moves_what_is_persisted_for_a_checkpoint_alone(yard: Yard) -> None:
    bucket = yard.bucket(**EPHEMERAL)
    made = yard.put(bucket, "x", DATA)
    checkpoints.create(yard.project, CheckpointSpec("step", bucket))
    yard.work()
    drains.start(yard["home"], yard["far"])
    for _ in range(3):
        yard.work()
        drains.sweep()
    assert yard["home"].state == StorageState.DRAINED
    assert yard.where(made) == {"fast": "available", "far": "available"}


def _write(storage: Storage, key: str) -> str:
    with adapter_for(storage).open_write(key, size=len(DATA)) as session:
        session.write(DATA)
        session.publish()
    return key


def drain(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("drain", *arguments, stdout=out)
    return int(str(ended.value.code)), out.getvalue()


def test_the_command_begins_a_drain_tells_how_far_it_is_and_cancels_it(yard: Yard) -> None:
    made = yard.put(yard.bucket(), "x", DATA)
    assert drain("home") == (0, f"home: active, 1 copies of {len(DATA)} bytes and 0 uploads left\n")
    with pytest.raises(CommandError, match="--to"):
        call_command("drain", "home", "--start")
    with pytest.raises(CommandError, match="no storage nowhere"):
        call_command("drain", "home", "--start", "--to", "nowhere")
    text = f"home: draining to far, 1 copies of {len(DATA)} bytes and 0 uploads left, 0 % done\n"
    assert drain("home", "--start", "--to", "far", "--deadline-s", "3600") == (1, text)
    with pytest.raises(CommandError, match="cannot be drained"):
        call_command("drain", "home", "--start", "--to", "far")
    assert drain("home", "--cancel")[0] == 0
    now = timezone.now()
    node = Node.objects.create(name="alpha", url="http://127.0.0.1:1", started_at=now, seen_at=now, changed_at=now)
    Storage.objects.filter(name="home").update(node=node)
    assert drain("alpha", "--node", "--start")[1].startswith("home: draining to far, 1 copies")
    for _ in range(2):
        yard.work()
        drains.sweep()
    text = "home: drained to far, 0 copies of 0 bytes and 0 uploads left, 100 % done\n"
    assert drain("alpha", "--node", "--wait") == (0, text)
    assert yard.where(made) == {"far": "available"}
    assert drain("alpha", "--node", "--cancel")[1].startswith("home: active, 0 copies")
    assert node.storages.get().state == StorageState.ACTIVE
