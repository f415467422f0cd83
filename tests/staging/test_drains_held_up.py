"""Drains that could not end are refused, and what waits keeps nothing else on a storage that is drained."""

from datetime import timedelta

import pytest
from django.utils import timezone

from adapters.errors import Offline
from staging import checkpoints, drains, node_drains
from staging.checkpoints import CheckpointSpec
from staging.errors import InvalidRequest
from staging.models import Bucket, Node, Storage, Transfer
from staging.states import StorageState
from tests.staging.yard import BACK, DATA, TWO, Yard, kinds

EPHEMERAL = {"write": "ephemeral", "lands_on": "fast"}


def test_a_drain_that_could_never_end_is_refused_with_the_reason(yard: Yard) -> None:
    safe = yard.bucket("safe", **TWO)
    for name in ("home", "far"):
        other = {"home": "far", "far": "home"}[name]
        with pytest.raises(InvalidRequest) as refused:
            drains.start(yard[name], yard[other])
        assert refused.value.fields["to"] == "the policy of the bucket safe asks for 2 copies and would have 1"
    Storage.objects.filter(name="fast").update(tier=2)
    drains.start(yard["home"], yard["fast"])
    with pytest.raises(InvalidRequest, match="cannot be drained"):
        drains.start(yard["far"], yard["fast"])
    assert yard["far"].state == StorageState.ACTIVE
    drains.cancel(yard["home"])
    Bucket.objects.filter(pk=safe.pk).update(policy={**TWO, "min_replicas": 1})
    drains.start(yard["home"], yard["far"])


def test_the_storages_of_a_node_go_where_their_copies_stay_apart(yard: Yard) -> None:
    yard.bucket("safe", **TWO)
    yard.storages["cold"] = yard._storage("cold", 2)
    now = timezone.now()
    node = Node.objects.create(name="alpha", url="http://127.0.0.1:1", started_at=now, seen_at=now, changed_at=now)
    Storage.objects.filter(name="fast").update(tier=2)
    Storage.objects.filter(name__in=["home", "far"]).update(node=node)
    node_drains.start(node, yard.project)
    assert {str(yard[name].drain_to) for name in ("home", "far")} == {"cold", "fast"}


def test_what_a_checkpoint_holds_is_not_drained_to_where_nothing_persists(yard: Yard) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "x", DATA)
    checkpoint, _ = checkpoints.create(yard.project, CheckpointSpec("step", bucket, ""))
    with pytest.raises(InvalidRequest) as refused:
        drains.start(yard["home"], yard["fast"])
    assert refused.value.fields["to"] == "checkpoints hold versions on home, and nothing persists there"
    assert checkpoints.release(checkpoint)
    drains.start(yard["home"], yard["fast"])
    for _ in range(2):
        yard.work()
        drains.sweep()
    assert yard["home"].state == StorageState.DRAINED
    assert yard.where(made) == {"fast": "available"}


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
