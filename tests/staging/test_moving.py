"""Data that moves by itself: flushed, replicated and promoted as policies want, and never lost."""

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from adapters.errors import AccessDenied, AdapterError, Offline
from staging import (
    buckets,
    chores,
    claims,
    explaining,
    objects,
    planning,
    queue,
    replication,
    retiring,
    storages,
    transfers,
    upkeep,
)
from staging.errors import InvalidRequest, StagingError
from staging.models import Replica, Storage, Transfer
from staging.states import TransferKind, TransferState
from tests.staging.yard import BACK, DATA, MIB, TWO, Yard, kinds


@pytest.mark.parametrize(
    ("policy", "at_once", "in_the_end"),
    [
        ({}, {"home": "available"}, {"home": "available"}),
        (BACK, {"fast": "dirty"}, {"fast": "available", "home": "available"}),
        ({**BACK, **TWO}, {"fast": "dirty"}, {"fast": "available", "home": "available", "far": "available"}),
        (TWO, {"home": "available"}, {"home": "available", "far": "available"}),
        ({"lands_on": "fast"}, {"home": "available"}, {"fast": "available", "home": "available"}),
        ({"lands_on": "fast", "max_replicas": 1}, {"home": "available"}, {"home": "available"}),
        (
            {"lands_on": "fast", **TWO, "max_replicas": 2},
            {"home": "available"},
            {"home": "available", "far": "available"},
        ),
        ({**BACK, "max_replicas": 1}, {"fast": "dirty"}, {"home": "available"}),
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
    assert not replication.settle(made), "what failed for good is not made again and again"
    assert explaining.explain(made).next[0].startswith("Waybill could not bring it to home: ")
    Transfer.objects.update(
        error_detail="no route", last_error_code="offline", last_error_detail="refused", attempts=12
    )
    assert explaining.explain(made).next[0].endswith(": no route; at last, after 12 attempts: refused")
    Transfer.objects.update(finished_at=timezone.now() - timedelta(hours=7))
    assert replication.settle(made) == [flush], "but after a rest"
    assert [one.state for one in yard.work()] == ["failed"]
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
    assert (transfer.state, transfer.attempts, transfer.bytes_done) == ("queued", 0, 2 * MIB)
    assert transfer.token
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
    retiring.delete(made)
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


@pytest.mark.parametrize(("slots", "woken"), [(1, 1), (2, 0)])
def test_who_found_no_slot_is_told_when_one_is_free_and_nobody_else_is(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, slots: int, woken: int
) -> None:
    bucket = yard.bucket(**TWO)
    Storage.objects.filter(name="far").update(max_transfers=slots)
    for key in "ab":
        yard.put(bucket, key, DATA)
    first, second = Transfer.objects.all()
    told: list[Transfer] = []
    monkeypatch.setattr(queue, "enqueue_transfer", told.append)
    transfers.run(str(first.pk))
    assert Transfer.objects.get(pk=first.pk).state == TransferState.DONE
    assert told == [second][:woken]


def test_the_reconciler_makes_what_a_new_policy_asks_for(yard: Yard) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "x", DATA)
    buckets.set_policy(bucket, TWO)
    chores.is_due(upkeep.RECONCILE, every_s=0)
    assert upkeep.reconcile() == 1
    assert upkeep.reconcile() == 0, "it is under way"
    yard.work()
    assert yard.where(made) == {"home": "available", "far": "available"}


def test_copies_beyond_the_most_go_and_those_that_the_policy_has_no_use_for_go_first(yard: Yard) -> None:
    made = yard.put(bucket := yard.bucket(**BACK, **TWO), "x", DATA)
    yard.work()
    buckets.set_policy(bucket, {**BACK, "max_replicas": 2})
    made.bucket = bucket
    assert explaining.explain(made).next == ["Waybill will remove the copy on far: the policy allows 2 copies."]
    upkeep.reconcile()
    assert kinds(yard.work()) == [("evict", "far", "done")]
    buckets.set_policy(bucket, {"lands_on": "fast", "pin": True, "max_replicas": 1})
    upkeep.reconcile()
    assert set(yard.where(made)) == {"home", "fast"}, "it is pinned"
    buckets.set_policy(bucket, {})
    upkeep.reconcile()
    assert yard.work() == [], "there may be any number"
    told = explaining.explain(made).replicas
    assert "from a former policy or a drain; the policy can do without it, but nothing makes room there" in told[0]
    yard.assert_all_is_counted()


def test_a_pinned_copy_for_which_there_is_no_room_is_not_tried_again_and_again(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    yard.put(yard.bucket("stays", write="ephemeral", lands_on="fast", spill=False), "x", bytes(60))
    made = yard.put(yard.bucket("pinned", lands_on="fast", pin=True), "x", bytes(36))
    upkeep.reconcile()
    assert yard.work() == []
    assert explaining.explain(made).next == [
        "The policy is not met: fast has no room for the copy that is pinned there."
    ]
    Storage.objects.filter(name="fast").update(capacity_bytes=200)
    upkeep.reconcile()
    assert kinds(yard.work()) == [("promote", "fast", "done")]


def test_a_flush_that_is_late_goes_first(yard: Yard) -> None:
    yard.put(yard.bucket(**BACK, flush_within_s=60), "x", DATA)
    assert upkeep.hasten() == 0
    Transfer.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    assert upkeep.hasten() == 1
    assert Transfer.objects.get().priority == planning.URGENT


def test_late_flushes_are_found_behind_any_number_of_others(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_AT_ONCE", 2)
    patient, urgent = yard.bucket("patient", **BACK, flush_within_s=1000), yard.bucket("urgent", **BACK)
    waiting = [yard.put(patient, key, DATA) for key in "abc"]
    late = [yard.put(urgent, "x", DATA)]
    for key, within_s in (("d", 2000), ("e", 10)):
        made = yard.put(patient, key, DATA)
        objects.set_policy(patient, key, {"flush_within_s": within_s})
        (late if within_s == 10 else waiting).append(made)
    objects.set_policy(urgent, "x", {"verify": "size"})
    Transfer.objects.update(created_at=timezone.now() - timedelta(seconds=301))
    assert upkeep.hasten() == 2
    hurried = Transfer.objects.filter(priority=planning.URGENT)
    assert {transfer.object for transfer in hurried} == set(late)
    assert upkeep.hasten() == 0


def test_a_storage_that_takes_nothing_for_long_fails_no_transfer(yard: Yard) -> None:
    made = yard.put(yard.bucket(**BACK), "x", DATA)
    storages.cordon(yard["home"])
    for _ in range(20):
        yard.hurry()
        [flush] = yard.work()
    assert (flush.state, flush.attempts, flush.error_code) == ("queued", 0, "storage_closed")
    assert "UTC: The storage home is cordoned." in explaining.explain(made).next[0]
    storages.uncordon(yard["home"])
    yard.faults("home").fail("open_write", Offline)
    yard.hurry()
    [flush] = yard.work()
    assert (flush.attempts, flush.error_code) == (1, "offline"), "the first error is that of one who was asked"
    yard.faults("home").heal()
    yard.hurry()
    assert kinds(yard.work()) == [("flush", "home", "done")]


def test_explain_says_why_each_copy_is_there_and_what_comes_next(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=10**6)
    made = yard.put(yard.bucket(**BACK, **TWO, dirty_budget_bytes=10**6), "x", DATA)
    before = explaining.explain(made)
    assert before.durability == "local"
    assert "flushed to home within 300 s" in before.policy[0]
    assert "Once 1,000,000 bytes of the bucket wait" in before.policy[1]
    assert before.replicas == ["fast (tier 1): where new bytes land; it is not safe elsewhere yet, so that it stays."]
    assert (
        "Waybill is to bring it to home: the first copy where the policy wants the bytes to be safe" in before.next[0]
    )
    yard.work()
    after = explaining.explain(made)
    assert after.durability == "persisted"
    assert after.next == ["Nothing: all that the policy asks for is done."]
    assert "it may be evicted" in after.replicas[0]


def test_two_copies_to_one_storage_are_one_whatever_they_are_for(yard: Yard) -> None:
    made = yard.put(yard.bucket(**BACK, **TWO), "x", DATA)
    transfers.run(str(Transfer.objects.get(kind=TransferKind.REPLICATE).pk))
    assert not replication.settle(made), "the flush to home is that copy"
    again = replication.ask(made, planning.Step(TransferKind.PROMOTE, yard["home"], "asked", 70))
    assert again.kind == TransferKind.FLUSH
    assert kinds(yard.work()) == [("flush", "home", "done")]
    assert yard.where(made) == {"fast": "available", "home": "available", "far": "available"}
    yard.assert_all_is_counted()
