"""Damaged copies: found, served to nobody, and made anew from good ones."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from staging import (
    explaining,
    replicas,
    replication,
    upkeep,
)
from staging.models import Event, Replica, Storage, Transfer
from staging.states import ObjectState, StorageState, TransferKind, TransferState
from tests.staging.yard import BACK, DATA, TWO, Yard, kinds


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


@pytest.mark.parametrize("why", ["asked", "failing", "away"])
def test_what_cannot_be_read_back_now_takes_nothing_from_what_can(yard: Yard, why: str) -> None:
    stuck, fine = yard.put(yard.bucket(), "a", DATA), yard.put(yard.bucket("other"), "b", DATA)
    Replica.objects.filter(object=fine).update(storage=yard["far"])
    Replica.objects.update(verified_at=timezone.now() - timedelta(days=99))
    Replica.objects.filter(object=stuck).update(verified_at=timezone.now() - timedelta(days=999))
    asked = replication.verify(yard.copy_on(stuck, "home"), reason="test")
    if why == "asked":
        Transfer.objects.filter(pk=asked.pk).update(size=0)
    if why == "failing":
        Storage.objects.filter(name="home").update(failing_since=timezone.now())
    if why == "away":
        asked.delete()
        Storage.objects.filter(name="home").update(state=StorageState.LOST, returns_to=StorageState.ACTIVE)
    for_s = len(DATA) / settings.SCRUB_BYTES_S
    assert upkeep.scrub(for_s=for_s) == 1
    assert Transfer.objects.filter(kind=TransferKind.VERIFY, object=fine).exists()


@pytest.mark.parametrize("state", [TransferState.QUEUED, TransferState.FAILED])
def test_a_copy_is_read_back_although_that_was_asked_for_of_an_earlier_one_there(
    yard: Yard, state: TransferState
) -> None:
    made = yard.put(yard.bucket(**TWO), "x", DATA)
    yard.work()
    earlier = yard.copy_on(made, "far")
    asked = replication.verify(earlier, reason="test")
    Transfer.objects.filter(pk=asked.pk).update(state=state, not_before=timezone.now() + timedelta(days=1))
    assert replicas.condemn(earlier, "a reader found it")
    replication.settle(made)
    yard.work()
    copy = yard.copy_on(made, "far")
    assert copy.pk != earlier.pk
    yard.file(copy).write_bytes(b"!" + DATA[1:])
    replication.verify(copy, reason="test")
    yard.hurry()
    yard.work()
    assert Event.objects.filter(kind="replica.bad").count() == 2
    assert yard.file(yard.copy_on(made, "far")).read_bytes() == DATA


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


def test_the_only_good_copy_is_never_let_go(yard: Yard) -> None:
    made = yard.put(yard.bucket(**TWO), "x", DATA)
    copy = yard.copy_on(made, "home")
    assert replicas.let_go(copy, reason="asked") is None
    yard.work()
    assert replicas.let_go(copy, reason="asked") is None, "the policy asks for two"
    assert not Transfer.objects.filter(kind=TransferKind.EVICT).exists()
