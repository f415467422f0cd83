"""Data that moves by itself: flushed, replicated, promoted, verified and evicted as policies want, and never lost."""

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from adapters.errors import AccessDenied, AdapterError, Offline
from staging import (
    buckets,
    catalog,
    chores,
    claims,
    drains,
    explaining,
    reading,
    replicas,
    replication,
    tiers,
    transfers,
    upkeep,
)
from staging.errors import InvalidRequest, NoSpace, StagingError
from staging.models import Event, Object, Replica, Storage, Transfer
from staging.states import ObjectState, ReplicaState, StorageState, TransferKind, TransferState
from tests.staging.yard import MIB, Yard

DATA = bytes(range(256)) * 64
BACK = {"write": "back", "lands_on": "fast"}
TWO = {"replicate_to": ["far"], "min_replicas": 2}


def kinds(done: list[Transfer]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.target.name, one.state) for one in done]


def read(target: Object) -> bytes:
    copies = list(target.replicas.filter(state=ReplicaState.AVAILABLE).select_related("storage__credential"))
    with reading.open_stream(reading.pinned(target, copies), 0, target.size) as stream:
        return b"".join(iter(stream.read, b""))


@pytest.mark.parametrize(
    ("policy", "at_once", "in_the_end"),
    [
        ({}, {"home": "available"}, {"home": "available"}),
        (BACK, {"fast": "dirty"}, {"fast": "available", "home": "available"}),
        ({**BACK, **TWO}, {"fast": "dirty"}, {"fast": "available", "home": "available", "far": "available"}),
        (TWO, {"home": "available"}, {"home": "available", "far": "available"}),
        ({"lands_on": "fast"}, {"home": "available"}, {"fast": "available", "home": "available"}),
        ({"lands_on": "fast", "max_replicas": 1}, {"home": "available"}, {"home": "available"}),
        ({"lands_on": "fast", "write": "around"}, {"home": "available"}, {"home": "available"}),
        ({"lands_on": "fast", "write": "ephemeral"}, {"fast": "available"}, {"fast": "available"}),
    ],
)
@pytest.mark.parametrize("data", [DATA, b""])
def test_the_policy_says_where_bytes_land_and_where_they_come_to_lie(
    yard: Yard, policy: dict[str, Any], at_once: dict[str, str], in_the_end: dict[str, str], data: bytes
) -> None:
    made = yard.put(yard.bucket(**policy), "out/x", data)
    assert {name: state for name, state in yard.where(made).items() if state != "copying"} == at_once
    yard.work()
    assert yard.where(made) == in_the_end
    assert {yard.file(copy).read_bytes() for copy in Replica.objects.select_related("storage")} == {data}
    assert not replication.settle(made), "nothing is left to do"
    yard.assert_all_is_counted()


def test_a_fault_that_passes_is_tried_again_and_the_first_error_is_kept(yard: Yard) -> None:
    made = yard.put(yard.bucket(**BACK), "x", DATA)
    yard.faults("home").fail("open_write", Offline)
    (flush,) = yard.work()
    assert (flush.state, flush.attempts, flush.error_code) == ("queued", 1, "offline")
    assert flush.not_before > timezone.now() - timedelta(seconds=1)
    assert yard.where(made) == {"fast": "dirty", "home": "copying"}
    yard.faults("home").heal()
    yard.hurry()
    (flush,) = yard.work()
    assert (flush.state, flush.attempts, flush.error_code) == ("done", 2, "offline")
    yard.assert_all_is_counted()


def test_a_copy_that_broke_off_goes_on_where_it_stopped(yard: Yard) -> None:
    data = bytes(5 * MIB)
    yard.put(yard.bucket(**BACK), "x", data)
    yard.faults("fast").fail("read", Offline, from_byte=3 * MIB, once=True)
    (flush,) = yard.work()
    assert (flush.state, bool(flush.token)) == ("queued", True)
    yard.hurry()
    (flush,) = yard.work()
    assert (flush.state, flush.start_offset, flush.bytes_done) == ("done", 3 * MIB, len(data))
    yard.assert_all_is_counted()


def test_a_copy_that_fails_for_good_leaves_nothing_and_can_be_tried_again(yard: Yard) -> None:
    made = yard.put(yard.bucket(**BACK), "x", DATA)
    yard.faults("home").fail("publish", AccessDenied)
    (flush,) = yard.work()
    assert (flush.state, flush.error_code) == ("failed", "access_denied")
    assert yard.where(made) == {"fast": "dirty"}, "the only copy stays"
    yard.assert_all_is_counted()
    yard.faults("home").heal()
    transfers.retry(flush)
    assert kinds(yard.work()) == [("flush", "home", "done")]
    with pytest.raises(InvalidRequest, match="failed"):
        transfers.retry(Transfer.objects.get(pk=flush.pk))


def test_a_transfer_can_be_cancelled_while_it_waits_and_while_it_runs(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CONFIRM_S", 0.0)
    bucket = yard.bucket(**TWO)
    made = yard.put(bucket, "x", bytes(3 * MIB))
    waiting = Transfer.objects.get()
    transfers.cancel(waiting)
    assert waiting.state == TransferState.CANCELLED
    replication.settle(made)
    running = Transfer.objects.get(state=TransferState.QUEUED)
    keep = claims.Claim.keep

    def cancelled_in_the_middle(claim: claims.Claim, done: int) -> None:
        if done == 2 * MIB:
            transfers.cancel(Transfer.objects.get(pk=running.pk))
        keep(claim, done)

    monkeypatch.setattr(claims.Claim, "keep", cancelled_in_the_middle)
    assert kinds(yard.work()) == [("replicate", "far", "cancelled")]
    assert Transfer.objects.get(pk=running.pk).bytes_done <= 2 * MIB
    yard.assert_all_is_counted()


def test_a_worker_that_is_told_to_end_hands_its_copy_back(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.put(yard.bucket(**BACK), "x", bytes(4 * MIB))
    keep = claims.Claim.keep

    def stops_in_the_middle(claim: claims.Claim, done: int) -> None:
        if done == 2 * MIB:
            claims.stopping.set()
        keep(claim, done)

    monkeypatch.setattr(claims.Claim, "keep", stops_in_the_middle)
    transfer = Transfer.objects.get()
    transfers.run(str(transfer.pk))
    claims.stopping.clear()
    monkeypatch.undo()
    transfer.refresh_from_db()
    assert (transfer.state, transfer.attempts, bool(transfer.token)) == ("queued", 0, True)
    (flush,) = yard.work()
    assert (flush.state, flush.start_offset) == ("done", 2 * MIB)
    yard.assert_all_is_counted()


def test_of_two_workers_with_one_transfer_the_late_one_changes_nothing(yard: Yard) -> None:
    made = yard.put(yard.bucket(**BACK), "x", DATA)
    name = str(Transfer.objects.get().pk)
    late = claims.take(name)
    assert late
    assert claims.take(name) is None, "it is claimed"
    Transfer.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    transfers.run(name)
    after = Transfer.objects.values().get()
    transfers._WORK[TransferKind.FLUSH](late, claims.Claim(late))
    transfers._fail(late, Offline(storage="home"))
    assert Transfer.objects.values().get() == after
    assert yard.where(made) == {"fast": "available", "home": "available"}
    yard.assert_all_is_counted()


def test_a_late_writer_removes_what_it_published_and_nothing_else(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    made = yard.put(yard.bucket(**BACK), "x", DATA)
    name = str(Transfer.objects.get().pk)
    late = claims.take(name)
    assert late
    confirm = claims.Claim.confirm

    def taken_over(claim: claims.Claim, done: int) -> None:
        """Between its last look and its publish, somebody else does the transfer whole."""
        confirm(claim, done)
        if claim.transfer.fence == late.fence:
            Transfer.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
            transfers.run(name)

    monkeypatch.setattr(claims.Claim, "confirm", taken_over)
    with contextlib.suppress(AdapterError, StagingError):
        transfers._WORK[TransferKind.FLUSH](late, claims.Claim(late))
    assert yard.where(made) == {"fast": "available", "home": "available"}
    assert yard.file(yard.copy_on(made, "home")).read_bytes() == DATA
    yard.assert_all_is_counted()


def test_an_object_that_was_deleted_meanwhile_is_not_copied(yard: Yard) -> None:
    made = yard.put(yard.bucket(**BACK), "x", DATA)
    catalog.delete(made)
    assert {state for _, _, state in kinds(yard.work())} == {"cancelled", "done"}
    assert not Replica.objects.exists()
    yard.assert_all_is_counted()


def test_a_storage_runs_no_more_transfers_at_once_than_it_is_allowed(yard: Yard) -> None:
    bucket = yard.bucket(**TWO)
    Storage.objects.filter(name="far").update(max_transfers=1)
    for key in "ab":
        yard.put(bucket, key, DATA)
    first, second = (str(pk) for pk in Transfer.objects.values_list("pk", flat=True))
    assert claims.take(first)
    assert claims.take(second) is None
    Transfer.objects.filter(pk=first).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert claims.take(second), "a worker that is gone holds no slot"


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_copy_is_found_and_made_anew(yard: Yard, damage: str) -> None:
    made = yard.put(yard.bucket(**TWO), "x", DATA)
    yard.work()
    file = yard.file(yard.copy_on(made, "far"))
    if damage == "flip":
        file.write_bytes(b"!" + DATA[1:])
    else:
        file.unlink()
    Replica.objects.filter(storage__name="far").update(verified_at=timezone.now() - timedelta(days=99))
    assert upkeep.scrub(for_s=60) == 1
    done = kinds(yard.work())
    assert done == [("verify", "far", "done"), ("delete", "far", "done"), ("replicate", "far", "done")]
    assert yard.where(made) == {"home": "available", "far": "available"}
    assert yard.file(yard.copy_on(made, "far")).read_bytes() == DATA
    assert Event.objects.filter(kind="replica.bad").count() == 1
    yard.assert_all_is_counted()


def test_the_last_copy_is_kept_even_if_it_is_damaged_and_taken_back_once_it_is_whole(yard: Yard) -> None:
    made = yard.put(yard.bucket(), "x", DATA)
    copy = yard.copy_on(made, "home")
    yard.file(copy).write_bytes(b"!" + DATA[1:])
    replication.verify(copy, reason="asked")
    yard.work()
    made.refresh_from_db()
    assert (made.state, yard.where(made)) == (ObjectState.UNAVAILABLE, {"home": "bad"})
    assert "nothing can be copied" in str(explaining.explain(made).next)
    yard.file(copy).write_bytes(DATA)
    replication.verify(Replica.objects.get(), reason="asked")
    yard.work()
    made.refresh_from_db()
    assert (made.state, yard.where(made)) == (ObjectState.AVAILABLE, {"home": "available"})


def test_a_copy_of_damaged_bytes_is_never_published(yard: Yard) -> None:
    made = yard.put(yard.bucket(**BACK), "x", DATA)
    yard.file(yard.copy_on(made, "fast")).write_bytes(b"!" + DATA[1:])
    done = kinds(yard.work())
    assert ("flush", "home", "done") not in done
    assert yard.where(made).get("home") in (None, "copying")
    assert yard.where(made)["fast"] in ("bad", "dirty")


def test_a_full_fast_storage_makes_room_by_clean_copies_only_and_the_hot_ones_stay(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    bucket = yard.bucket(**BACK)
    hot, cold, dirty = (yard.put(bucket, key, bytes(25)) for key in ("hot", "cold", "dirty"))
    flushes = Transfer.objects.exclude(object=dirty)
    for transfer in flushes:
        transfers.run(str(transfer.pk))
    Replica.objects.filter(object=hot, storage__name="fast").update(reads=2)
    made = yard.put(bucket, "new", bytes(40))
    assert yard.where(cold) == {"home": "available"}, "evicted: read least"
    assert yard.where(hot) == {"home": "available", "fast": "available"}
    assert yard.where(dirty) == {"fast": "dirty"}
    assert yard.where(made) == {"fast": "dirty"}
    assert yard["fast"].used_bytes == 90
    yard.assert_all_is_counted()


def test_what_finds_no_room_goes_to_the_buckets_storage_or_is_refused(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    assert yard.where(yard.put(yard.bucket("a", **BACK), "x", bytes(96))) == {"home": "available"}
    spills = yard.bucket("b", write="ephemeral", lands_on="fast")
    assert yard.where(yard.put(spills, "x", bytes(96))) == {"home": "available"}
    stays = yard.bucket("c", write="ephemeral", lands_on="fast", spill=False)
    with pytest.raises(NoSpace):
        yard.put(stays, "x", bytes(96))
    yard.assert_all_is_counted()


def test_above_the_high_mark_dirty_bytes_are_flushed_and_copies_evicted_down_to_the_low_one(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    bucket = yard.bucket(write="ephemeral", lands_on="fast")
    old, new = yard.put(bucket, "old", bytes(45)), yard.put(bucket, "new", bytes(40))
    assert tiers.relieve() == 1
    assert kinds(yard.work()) == [("flush", "home", "done")]
    tiers.relieve()
    assert kinds(yard.work()) == [("evict", "fast", "done")]
    assert (yard.where(old), yard.where(new)) == ({"home": "available"}, {"fast": "available"})
    assert tiers.relieve() == 0
    yard.assert_all_is_counted()


@pytest.mark.parametrize(("cache", "reads"), [("read", 1), ("promote", 2)])
def test_what_is_read_comes_to_the_fast_storage(yard: Yard, cache: str, reads: int) -> None:
    bucket = yard.bucket(lands_on="fast", write="around", cache=cache)
    made = yard.put(bucket, "x", DATA)
    for count in range(reads):
        assert not Transfer.objects.exists(), f"after {count} reads"
        Replica.objects.update(read_at=timezone.now() - timedelta(hours=1))
        found = reading.pinned(made, list(made.replicas.select_related("storage", "object")))
        with tiers.open_stream(bucket, found, 0, 5) as stream:
            assert stream.read() == DATA[:5]
    assert kinds(yard.work()) == [("promote", "fast", "done")]


def test_a_drain_moves_every_copy_and_reads_go_on(yard: Yard) -> None:
    plain, safe, brief = yard.bucket("plain"), yard.bucket("safe", **TWO), yard.bucket("brief", write="around")
    objects = [yard.put(bucket, "x", DATA) for bucket in (plain, safe, brief)]
    yard.work()
    Storage.objects.filter(name="fast").update(tier=2)
    drains.start(yard["home"], yard["fast"])
    left = drains.progress(yard["home"])
    assert (left.replicas, left.bytes) == (3, 3 * len(DATA))
    assert set(drains.left(yard["home"])) == {"plain/x", "safe/x", "brief/x"}
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
    drains.cancel(yard["home"])
    assert yard["home"].state == StorageState.ACTIVE


def test_a_drain_is_refused_where_it_cannot_work(yard: Yard) -> None:
    home, fast = yard["home"], yard["fast"]
    with pytest.raises(InvalidRequest):
        drains.start(home, home)
    Storage.objects.filter(pk=fast.pk).update(state=StorageState.CORDONED)
    with pytest.raises(InvalidRequest):
        drains.start(home, yard["fast"])
    with pytest.raises(InvalidRequest):
        drains.cancel(home)


def test_the_only_good_copy_is_never_let_go(yard: Yard) -> None:
    made = yard.put(yard.bucket(**TWO), "x", DATA)
    copy = yard.copy_on(made, "home")
    assert replicas.let_go(copy, reason="asked") is None
    yard.work()
    assert replicas.let_go(copy, reason="asked") is None, "the policy asks for two"
    assert not Transfer.objects.filter(kind=TransferKind.EVICT).exists()


def test_the_reconciler_makes_what_a_new_policy_asks_for(yard: Yard) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "x", DATA)
    buckets.set_policy(bucket, TWO)
    chores.is_due(upkeep.RECONCILE, every_s=0)
    assert upkeep.reconcile() == 1
    assert upkeep.reconcile() == 0, "it is under way"
    yard.work()
    assert yard.where(made) == {"home": "available", "far": "available"}


def test_an_object_ends_with_its_time_to_live(yard: Yard) -> None:
    bucket = yard.bucket(ttl_s=60)
    made = yard.put(bucket, "x", DATA)
    assert upkeep.expire() == 0
    Object.objects.filter(pk=made.pk).update(expires_at=timezone.now())
    assert upkeep.expire() == 1
    assert yard.current(bucket, "x") is None
    yard.work()
    yard.assert_all_is_counted()


def test_a_flush_that_is_late_goes_first(yard: Yard) -> None:
    yard.put(yard.bucket(**BACK, flush_within_s=60), "x", DATA)
    assert upkeep.hasten() == 0
    Transfer.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    assert upkeep.hasten() == 1
    assert Transfer.objects.get().priority == replication.URGENT


def test_explain_says_why_each_copy_is_there_and_what_comes_next(yard: Yard) -> None:
    made = yard.put(yard.bucket(**BACK, **TWO), "x", DATA)
    before = explaining.explain(made)
    assert before.durability == "local"
    assert "flushed to home within 300 s" in before.policy[0]
    assert before.replicas == ["fast (tier 1): where new bytes land; it is not safe elsewhere yet, so that it stays."]
    assert (
        "Waybill is to bring it to home: the first copy where the policy wants the bytes to be safe" in before.next[0]
    )
    yard.work()
    after = explaining.explain(made)
    assert after.durability == "persisted"
    assert after.next == ["Nothing: all that the policy asks for is done."]
    assert "it may be evicted" in after.replicas[0]
