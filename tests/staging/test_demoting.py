"""An object is demoted: first its bytes are safe, then its fast copies go."""

from typing import Any

import pytest

from adapters.errors import Offline
from staging import objects, replication
from staging.errors import InvalidRequest
from staging.models import Object
from tests.staging.yard import BACK, DATA, TWO, Yard, kinds, read

EPHEMERAL = {"write": "ephemeral", "lands_on": "fast"}


@pytest.mark.parametrize(
    ("policy", "first", "left"),
    [
        (BACK, "flush", {"home": "available"}),
        (EPHEMERAL, "flush", {"home": "available"}),
        ({**BACK, **TWO}, "flush", {"home": "available", "far": "available"}),
        ({"lands_on": "fast"}, "evict", {"home": "available"}),
    ],
)
def test_the_fast_copies_go_once_the_bytes_are_safe(
    yard: Yard, policy: dict[str, Any], first: str, left: dict[str, str]
) -> None:
    bucket = yard.bucket(**policy)
    made = yard.put(bucket, "a", DATA)
    if first == "evict":
        yard.work()
    yard.faults("home").fail("open_write", Offline, once=True)
    assert first in {kind for kind, _, _ in kinds(objects.demote(bucket, "a"))}
    yard.work()
    if first == "flush":
        assert "fast" in yard.where(made), "nothing goes before that"
    objects.demote(bucket, "a")
    yard.hurry()
    yard.work()
    assert yard.where(made) == left
    assert read(made) == DATA
    assert objects.demote(bucket, "a") == []
    yard.faults("home").heal()
    yard.assert_all_is_counted()


def test_what_the_policy_keeps_stays(yard: Yard) -> None:
    for name, policy in (("pinned", {"lands_on": "fast", "pin": True}), ("kept", {**EPHEMERAL, "spill": False})):
        bucket = yard.bucket(name, **policy)
        yard.put(bucket, "a", DATA)
        with pytest.raises(InvalidRequest, match="change that first"):
            objects.demote(bucket, "a")


def test_who_asked_and_died_is_obeyed_by_the_reconciler(yard: Yard) -> None:
    made = yard.put(yard.bucket(lands_on="fast"), "a", DATA)
    yard.work()
    Object.objects.update(demoting=True)
    replication.reconcile("", limit=10)
    yard.work()
    assert yard.where(made) == {"home": "available"}
