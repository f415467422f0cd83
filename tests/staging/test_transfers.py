"""Transfers: claimed once, fenced, retried while it may help, and never forgotten."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from adapters.base import ObjectStat
from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    ChecksumMismatch,
    Damaged,
    Offline,
    SizeMismatch,
    WriteLost,
)
from staging import claims, credentials, planning, policies, replicas, replication, retiring, transfers, upkeep
from staging.errors import LeaseLost, StorageClosed
from staging.models import Object, Replica, Storage, Transfer
from staging.planning import Step
from staging.policies import Policy
from staging.states import OnExists, ReplicaState, TransferKind, TransferState
from tests.place import Place
from tests.servers.faulty import Faults
from tests.staging.bodies import put
from tests.staging.yard import Yard


def deleted(place: Place) -> Transfer:
    retiring.delete(put(place, b"x" * 10).object)
    return Transfer.objects.get()


def test_the_bytes_of_a_deleted_object_go_and_their_space_is_free(place: Place) -> None:
    transfer = deleted(place)
    transfers.run(str(transfer.pk))
    transfer.refresh_from_db()
    assert (transfer.state, transfer.bytes_done, transfer.attempts) == (TransferState.DONE, 10, 1)
    assert transfer.finished_at is not None
    assert place.files() == []
    place.assert_nothing_is_left()


def test_a_message_that_comes_twice_late_or_for_nothing_does_no_harm(place: Place) -> None:
    transfer = deleted(place)
    for _ in range(3):
        transfers.run(str(transfer.pk))
    transfers.run("00000000-0000-0000-0000-000000000000")
    transfer.refresh_from_db()
    assert transfer.attempts == 1


def test_who_claims_what_a_late_worker_is_just_ending_and_that_worker_never_wait_for_each_other(place: Place) -> None:
    deleted(place)
    late = claims.take(str(Transfer.objects.get().pk))
    assert late
    Transfer.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    ended = threading.Event()

    def end() -> None:
        with closing(connection), transaction.atomic():
            assert claims.finish(late, TransferState.DONE)
            ended.set()
            time.sleep(0.3)  # No condition to wait for: the other may do what he will.
            Storage.objects.filter(pk=place.storage.pk).update(used_bytes=0)

    with ThreadPoolExecutor(1) as threads:
        ending = threads.submit(end)
        assert ended.wait(30)
        assert claims.take(str(late.pk)) is None
        ending.result()


def test_a_transfer_is_not_run_before_its_time(place: Place) -> None:
    put(place, b"old")
    put(place, b"new", on_exists=OnExists.REPLACE)
    transfers.run(str(Transfer.objects.get().pk))
    assert Transfer.objects.get().state == TransferState.QUEUED
    assert len(place.files()) == 2


def test_a_fault_that_may_pass_is_tried_again_later_and_the_first_error_is_kept(
    faulty_place: Place, faults: Faults
) -> None:
    transfer = deleted(faulty_place)
    faults.fail("delete", Offline)
    transfers.run(str(transfer.pk))
    transfer.refresh_from_db()
    assert (transfer.state, transfer.error_code, transfer.lease_expires_at) == (TransferState.QUEUED, "offline", None)
    faults.heal()
    Transfer.objects.update(not_before=timezone.now())
    transfers.run(str(transfer.pk))
    transfer.refresh_from_db()
    assert (transfer.state, transfer.error_code, transfer.attempts) == (TransferState.DONE, "offline", 2)
    faulty_place.assert_nothing_is_left()


def test_a_fault_that_stays_or_repeats_too_often_fails_the_transfer(faulty_place: Place, faults: Faults) -> None:
    transfer = deleted(faulty_place)
    faults.fail("delete", AccessDenied)
    transfers.run(str(transfer.pk))
    transfer.refresh_from_db()
    assert (transfer.state, transfer.error_code) == (TransferState.FAILED, "access_denied")
    faults.fail("delete", Offline)
    Transfer.objects.update(state=TransferState.QUEUED, attempts=11, not_before=timezone.now())
    transfers.run(str(transfer.pk))
    assert Transfer.objects.get().state == TransferState.FAILED
    assert Replica.objects.count() == 1, "the bytes are still there, and listed"


@pytest.mark.parametrize("fault", [ChecksumMismatch, Damaged, SizeMismatch, WriteLost])
def test_what_spoiled_the_bytes_of_one_attempt_is_tried_again(
    faulty_place: Place, faults: Faults, fault: type[AdapterError]
) -> None:
    transfer = deleted(faulty_place)
    faults.fail("delete", fault)
    transfers.run(str(transfer.pk))
    transfer.refresh_from_db()
    assert (transfer.state, transfer.error_code) == (TransferState.QUEUED, fault.code)


def test_a_new_credential_of_its_storage_ends_the_rest_of_what_failed(faulty_place: Place, faults: Faults) -> None:
    transfer = deleted(faulty_place)
    faults.fail("delete", AccessDenied)
    transfers.run(str(transfer.pk))
    faults.heal()
    # Not before: this storage would take none.
    credential = credentials.create(faulty_place.project, "old", {"password": "expired"})
    Storage.objects.filter(pk=transfer.target_id).update(credential=credential)
    assert (upkeep.reconcile(), Transfer.objects.get().state) == (0, "failed")
    credentials.store(credential, {"password": "new"})
    assert (upkeep.reconcile(), Transfer.objects.get().state) == (1, "queued")


def test_the_last_error_is_told_beside_the_first_until_it_is_tried_anew(faulty_place: Place, faults: Faults) -> None:
    transfer = deleted(faulty_place)
    for fault in (Offline, Busy, AccessDenied, Busy):
        faults.heal()
        faults.fail("delete", fault)
        Transfer.objects.filter(state=TransferState.FAILED).update(state=TransferState.QUEUED)
        Transfer.objects.update(not_before=timezone.now())
        transfers.run(str(transfer.pk))
        transfer.refresh_from_db()
        assert transfer.error_code == "offline"
        assert transfer.ended_otherwise == (transfer.last_error_code == "access_denied")
    assert transfer.attempts == 2, "a storage that is busy was not even asked"
    assert transfer.last_error_code == "access_denied", "and tells nothing of what is wrong"
    Transfer.objects.update(state=TransferState.FAILED)
    transfers.retry(transfer)
    assert (transfer.error_code, transfer.last_error_code, transfer.last_error_detail) == ("", "", "")


def test_a_removal_that_failed_is_tried_again_once_it_has_rested(faulty_place: Place, faults: Faults) -> None:
    transfer = deleted(faulty_place)
    faults.fail("delete", AccessDenied)
    transfers.run(str(transfer.pk))
    faults.heal()
    assert (upkeep.reconcile(), Transfer.objects.get().state) == (0, "failed")
    Transfer.objects.update(finished_at=timezone.now() - timedelta(hours=7))
    assert upkeep.reconcile() == 1
    transfers.run(str(transfer.pk))
    assert Transfer.objects.get().state == "done"
    faulty_place.assert_nothing_is_left()


def test_a_storage_that_cannot_be_built_puts_the_transfer_off_and_does_not_end_the_worker(sftp_place: Place) -> None:
    transfer = deleted(sftp_place)
    credential = Storage.objects.get(pk=sftp_place.storage.pk).credential
    assert credential
    credential.sealed, credential.revision = b"sealed by a key that is gone", 99
    credential.save()
    transfers.run(str(transfer.pk))
    put_off = Transfer.objects.get()
    assert (put_off.state, put_off.error_code) == (TransferState.QUEUED, "storage_unusable")


def test_the_sweep_takes_up_what_lost_its_worker(place: Place) -> None:
    transfer = deleted(place)
    past = timezone.now() - timedelta(seconds=1)
    Transfer.objects.update(state=TransferState.RUNNING, lease_expires_at=past, fence=1)
    assert transfers.sweep() == 1
    assert Transfer.objects.get().state == TransferState.QUEUED
    transfers.run(str(transfer.pk))
    place.assert_nothing_is_left()


def test_a_transfer_that_ends_its_workers_again_and_again_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    retiring.delete(put(place, b"x").object)
    transfer = Transfer.objects.get()

    def break_down(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr("staging.transfers.replicas.is_last", break_down)
    for attempt in range(1, 4):
        with pytest.raises(SystemExit):
            transfers.run(str(transfer.pk))
        Transfer.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        transfers.sweep()
        transfer.refresh_from_db()
        told = "worker_lost" if attempt == 3 else ""
        assert (transfer.state, transfer.attempts, transfer.error_code) == ("queued", attempt, told)
    monkeypatch.undo()
    transfers.run(str(transfer.pk))
    transfer.refresh_from_db()
    assert transfer.state == "done"


def test_what_fails_in_a_way_that_nobody_foresaw_keeps_no_slot_and_ends_among_what_failed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    Storage.objects.update(max_transfers=1)
    bucket = yard.bucket(replicate_to=["far"], min_replicas=2)
    bad, good = (yard.put(bucket, key, b"x" * 10) for key in "ab")
    whole = policies.of

    def of(target: Object) -> Policy:
        if target.pk == bad.pk:
            raise KeyError("nobody thought of that")
        return whole(target)

    monkeypatch.setattr("staging.policies.of", of)
    broken = bad.transfers.get()
    transfers.run(str(broken.pk))
    transfers.run(str(good.transfers.get().pk))
    assert yard.where(good) == {"home": "available", "far": "available"}, "the slot is free at once"
    for attempt in range(1, broken.max_attempts):
        broken.refresh_from_db()
        assert (broken.state, broken.attempts, broken.error_code) == ("queued", attempt, "unforeseen")
        assert "KeyError" in broken.error_detail
        yard.hurry()
        transfers.run(str(broken.pk))
    broken.refresh_from_db()
    assert broken.state == "failed"
    monkeypatch.undo()
    transfers.retry(broken)
    yard.work()
    assert yard.where(bad) == yard.where(good)


def test_what_waits_for_one_storage_hides_nothing_that_waits_for_another_from_the_sweep(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, woken = yard.bucket(), set[object]()
    first, second, other = (yard.put(bucket, key, b"x" * 10) for key in "abc")
    retiring.delete(first)
    for target, storage, priority in ((first, "far", 10), (second, "far", 10), (other, "fast", 90)):
        replication.queue_step(target, Step(TransferKind.REPLICATE, yard[storage], "test", priority))
    Transfer.objects.filter(kind=TransferKind.DELETE).update(not_before=timezone.now(), priority=90)
    monkeypatch.setattr(
        "staging.queue.enqueue_transfer", lambda transfer: woken.add((transfer.kind, transfer.target.name))
    )
    transfers.sweep(limit=2)
    assert woken == {("replicate", "far"), ("replicate", "fast"), ("delete", "home")}


def test_where_the_catalog_is_away_a_transfer_is_left_to_its_lease(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = deleted(place)

    def away(*_: object) -> None:
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as patched:
        patched.setattr("staging.transfers.replicas.is_last", away)
        with pytest.raises(OperationalError):
            transfers.run(str(transfer.pk))
    transfer.refresh_from_db()
    assert (transfer.state, transfer.error_code) == ("running", "")


def test_a_worker_that_comes_late_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = deleted(place)
    late = claims.take(str(transfer.pk))
    assert late
    Transfer.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    transfers.run(str(transfer.pk))
    after = Transfer.objects.values().get()
    transfers._remove_bytes(late, claims.Claim(late))
    transfers._fail(late, Offline(storage="disk"))
    assert Transfer.objects.values().get() == after
    place.assert_nothing_is_left()


def test_only_ended_transfers_are_forgotten(place: Place) -> None:
    transfer = deleted(place)
    future = timezone.now() + timedelta(days=1)
    assert transfers.purge(future) == 0
    transfers.run(str(transfer.pk))
    assert transfers.purge(timezone.now() - timedelta(days=1)) == 0
    assert transfers.purge(future) == 1
    assert Object.objects.count() == 1


@pytest.mark.parametrize(("attempt", "most"), [(1, 4), (2, 8), (8, 512), (9, 900), (1000, 900)])
def test_waits_double_up_to_their_cap(attempt: int, most: float) -> None:
    assert transfers.retry_delay_s(attempt, chance=0) == 0
    assert transfers.retry_delay_s(attempt, chance=1) == most
    assert 0 <= transfers.retry_delay_s(attempt) <= most


def test_of_two_attempts_at_one_copy_only_the_one_whose_key_it_has_makes_it(yard: Yard) -> None:
    made = yard.put(yard.bucket(), "x", b"data")
    mine = replicas.plan_copy(made, yard["far"], "k1")
    with pytest.raises(StorageClosed, match="already"):
        replicas.plan_copy(made, yard["far"], "k2")
    replicas.move_plan(Replica.objects.get(pk=mine.pk), "k2")
    with transaction.atomic():
        assert not replicas.publish_copy(mine, ObjectStat("k1", 4, None, "1", True))
    with pytest.raises(LeaseLost):
        replicas.move_plan(mine, "k3")
    left = Replica.objects.get(pk=mine.pk)
    assert (left.key, left.state, yard["far"].reserved_bytes) == ("k2", ReplicaState.COPYING, 4)


def test_one_copy_to_a_storage_is_enough_whatever_it_is_made_for(yard: Yard) -> None:
    policy = {"write": "back", "lands_on": "fast", "replicate_to": ["far"], "min_replicas": 2}
    made = yard.put(yard.bucket(**policy), "x", b"data")
    flush, further = Transfer.objects.order_by("priority")
    assert (flush.target, further.target) == (yard["home"], yard["far"])
    transfers.run(str(further.pk))
    replication.settle(made)
    assert Transfer.objects.filter(target=yard["home"]).count() == 1
    step = planning.Step(TransferKind.PROMOTE, yard["home"], "asked", 10)
    assert replication.ask(made, step) == flush
