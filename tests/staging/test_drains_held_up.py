"""Drains that are held up: what waits keeps nothing else on a storage that is drained."""

from datetime import timedelta

import pytest
from django.utils import timezone

from adapters.errors import Offline
from staging import drains
from staging.models import Transfer
from tests.staging.yard import BACK, DATA, Yard, kinds

EPHEMERAL = {"write": "ephemeral", "lands_on": "fast"}


def test_what_cannot_be_moved_keeps_nothing_else_on_a_storage_that_is_drained(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drains, "_AT_ONCE", 1)
    bucket = yard.bucket()
    unreadable, other = (yard.put(bucket, key, DATA) for key in ("a", "b"))
    drains.start(yard["home"], yard["far"])
    Transfer.objects.filter(object=unreadable).update(state="failed", finished_at=timezone.now())
    drains.sweep()
    assert kinds(yard.work()) == [("flush", "far", "done")]
    for _ in range(2):
        drains.sweep()
        yard.work()
    assert yard.where(other) == {"far": "available"}
    Transfer.objects.filter(object=unreadable).update(finished_at=timezone.now() - timedelta(hours=7))
    for _ in range(3):
        drains.sweep()
        yard.work()
    assert yard["home"].state == "drained"


def test_what_waits_to_be_flushed_elsewhere_keeps_nothing_else_on_a_storage_that_is_drained(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drains, "_AT_ONCE", 1)
    dirty = yard.put(yard.bucket("back", **BACK), "a", DATA)
    other = yard.put(yard.bucket("ephemeral", **EPHEMERAL), "b", DATA)
    yard.faults("home").fail("open_write", Offline)
    drains.start(yard["fast"], yard["far"])
    for _ in range(3):
        drains.sweep()
        yard.work()
    assert yard.where(other) == {"far": "available"}
    assert yard.where(dirty)["fast"] == "dirty"
    yard.faults("home").heal()
    yard.hurry()
    for _ in range(3):
        drains.sweep()
        yard.work()
    assert yard["fast"].state == "drained"
    assert yard.where(dirty) == {"home": "available"}
