"""Drains that could never end are refused, and those of nodes choose where they can."""

import pytest
from django.utils import timezone

from staging import checkpoints, drains, node_drains
from staging.checkpoints import CheckpointSpec
from staging.errors import InvalidRequest
from staging.models import Bucket, Node, Storage
from staging.states import StorageState
from tests.staging.yard import DATA, TWO, Yard


def test_a_drain_is_refused_where_it_cannot_work(yard: Yard) -> None:
    home, fast = yard["home"], yard["fast"]
    with pytest.raises(InvalidRequest):
        drains.start(home, home)
    Storage.objects.filter(pk=fast.pk).update(state=StorageState.CORDONED)
    with pytest.raises(InvalidRequest):
        drains.start(home, yard["fast"])
    with pytest.raises(InvalidRequest):
        drains.cancel(home)


def test_a_drain_that_policies_would_keep_from_its_end_is_refused_with_their_buckets(yard: Yard) -> None:
    yard.bucket("pairs", **TWO)
    Storage.objects.filter(name__in=["home", "far"]).update(site="east")
    Storage.objects.filter(name="fast").update(tier=2, site="west")
    yard.bucket("spread", replicate_to=["fast"], min_replicas=2, spread="sites")
    for one, to, bucket in (("home", "far", "pairs"), ("far", "home", "pairs"), ("home", "fast", "spread")):
        with pytest.raises(InvalidRequest) as refused:
            drains.start(yard[one], yard[to])
        assert f"{bucket} (1 of 2)" in refused.value.fields["to"]
        assert yard[one].state == StorageState.ACTIVE
    Bucket.objects.update(policy={})
    drains.start(yard["home"], yard["far"])


def test_a_drain_of_a_node_chooses_a_storage_with_which_policies_are_met(yard: Yard) -> None:
    yard.bucket(**TWO)
    now = timezone.now()
    node = Node.objects.create(name="n1", url="http://127.0.0.1:1", started_at=now, seen_at=now, changed_at=now)
    Storage.objects.filter(name="home").update(node=node)
    Storage.objects.filter(name="fast").update(tier=2)
    node_drains.start(node, None)
    assert yard["home"].drain_to == yard["fast"], "far, which would come first, has the other copies"


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


def test_two_storages_are_never_drained_to_each_other(yard: Yard) -> None:
    home, far = yard["home"], yard["far"]
    drains.start(yard["home"], yard["far"])
    with pytest.raises(InvalidRequest):
        drains.start(far, home)  # As somebody saw them before that.
    assert yard["far"].state == StorageState.ACTIVE
