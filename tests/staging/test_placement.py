"""Placement: policies, where bytes go, in which order copies are read, how durable they make an object."""

from typing import Any

import pytest

from staging import placement
from staging.errors import InvalidRequest, StorageClosed
from staging.models import Bucket, Replica, Storage
from staging.policies import Policy
from staging.states import Durability, ReplicaState, StorageState


def replica(pk: int, *, tier: int = 1, storage: str = "active", state: str = "available", **options: Any) -> Replica:
    place = Storage(tier=tier, state=StorageState(storage), options=options)
    return Replica(pk=pk, state=ReplicaState(state), storage=place)


@pytest.mark.parametrize(
    ("replicas", "order"),
    [
        ([], []),
        ([replica(2), replica(1)], [1, 2]),
        ([replica(1, tier=2), replica(2, tier=0)], [2, 1]),
        ([replica(1, tier=0, storage="suspect"), replica(2, tier=2)], [2, 1]),
        ([replica(1, storage="lost"), replica(2)], [2]),
        ([replica(1, storage="draining"), replica(2, storage="cordoned")], [1, 2]),
        ([replica(n, state=state) for n, state in enumerate(["copying", "suspect", "bad", "deleting"])], []),
    ],
)
def test_readable_copies_come_healthy_and_fast_first(replicas: list[Replica], order: list[int]) -> None:
    assert [one.pk for one in placement.reading_order(replicas)] == order


@pytest.mark.parametrize(
    ("replicas", "durability"),
    [
        ([], Durability.EPHEMERAL),
        ([replica(1, tier=0)], Durability.EPHEMERAL),
        ([replica(1, tier=1)], Durability.LOCAL),
        ([replica(1, tier=1), replica(2, tier=1)], Durability.REPLICATED),
        ([replica(1, tier=2)], Durability.PERSISTED),
        ([replica(1, tier=0), replica(2, tier=2)], Durability.PERSISTED),
        ([replica(1, tier=2, sync=False)], Durability.EPHEMERAL),
        ([replica(1, tier=2, sync=True)], Durability.PERSISTED),
        ([replica(1, tier=2, state="copying"), replica(2, tier=1)], Durability.LOCAL),
    ],
)
def test_durability_is_what_the_readable_copies_make_it(replicas: list[Replica], durability: Durability) -> None:
    assert placement.durability(replicas) == durability


@pytest.mark.parametrize("state", [state for state in StorageState if state != StorageState.ACTIVE])
def test_only_an_active_storage_takes_new_bytes(state: StorageState) -> None:
    with pytest.raises(StorageClosed) as refused:
        placement.open_home(Bucket(storage=Storage(name="far", state=state)))
    assert refused.value.transient
    active = Storage(name="far", state=StorageState.ACTIVE)
    assert placement.open_home(Bucket(storage=active)) is active


def test_a_managed_key_tells_nothing_of_the_objects_name_and_a_mounted_one_is_it() -> None:
    object_id = "01234567-89ab-cdef-0123-456789abcdef"
    managed = placement.planned_key(Bucket(pk=7), "secret/name", object_id)
    assert managed == ".waybill/7/01/0123456789abcdef0123456789abcdef"
    assert placement.planned_key(Bucket(pk=7, mounted=True, prefix="in/"), "name", object_id) == "in/name"


@pytest.mark.parametrize("raw", [{}, {"max_object_bytes": 0}, {"max_object_bytes": 2**40}])
def test_a_policy_that_is_understood(raw: dict[str, Any]) -> None:
    assert Policy.parse(raw).max_object_bytes == raw.get("max_object_bytes", 0)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"max_object_bytes": -1}, "max_object_bytes"),
        ({"max_object_bytes": "5"}, "max_object_bytes"),
        ({"max_object_bytes": True}, "max_object_bytes"),
        ({"max_object_bytes": None}, "max_object_bytes"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_policy_that_is_not_is_refused_by_its_field(raw: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Policy.parse(raw)
    assert list(refused.value.fields) == [field]
