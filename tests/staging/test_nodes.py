"""Nodes are given up by what they do not say, and what they bring back counts once it was read."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from staging import handover, node_copies, nodes, policies
from staging.errors import InvalidRequest, ObjectUnavailable
from staging.models import Node, Object, Replica, Storage, Transfer
from staging.states import NodeState, ReplicaState
from tests.staging.yard import DATA, Yard, kinds, read

EPHEMERAL = {"write": "ephemeral", "lands_on": "fast", "spill": False}


@pytest.fixture
def node(yard: Yard, settings: Any) -> Node:
    """This process is the node ``alpha``, whose memory is the storage ``fast``."""
    settings.NODE_NAME, settings.NODE_URL = "alpha", "http://127.0.0.1:1"
    assert nodes.beat(timezone.now())
    found = Node.objects.get()
    Storage.objects.filter(name="fast").update(node=found, tier=0)
    return found


def pass_by(seconds: int, *columns: str) -> str:
    Node.objects.update(**{column: F(column) - timedelta(seconds=seconds) for column in columns})
    nodes.judge()
    return str(Node.objects.get().state)


def test_a_node_is_given_up_only_after_it_was_suspect_for_long(yard: Yard, node: Node) -> None:
    Storage.objects.filter(name="home").update(node=node, state="cordoned")
    assert pass_by(29, "seen_at") == "active"
    assert pass_by(500, "seen_at") == "suspect", "the catalog may have been away, so that nobody was heard"
    assert pass_by(0) == "suspect"
    assert [yard[name].state for name in ("fast", "home", "far")] == ["suspect", "cordoned", "active"]
    assert pass_by(100, "changed_at") == "lost"
    assert [yard[name].state for name in ("fast", "home", "far")] == ["lost", "lost", "active"]
    assert nodes.beat(timezone.now())
    assert [yard[name].state for name in ("fast", "home", "far")] == ["active", "cordoned", "active"]


def test_who_was_told_to_stop_or_bears_a_name_that_is_taken_speaks_for_no_node(
    yard: Yard, node: Node, settings: Any
) -> None:
    began_at = timezone.now()
    nodes.leave()
    assert not nodes.beat(began_at), "another process of the same gateway, which is told to stop too"
    assert Node.objects.get().state == NodeState.SUSPECT
    Node.objects.update(leaving_at=timezone.now() - timedelta(seconds=6))
    assert nodes.beat(began_at), "a process that goes on was not told to stop: the gateway was reloaded"
    nodes.leave()
    assert nodes.beat(timezone.now()), "its successor"
    assert (Node.objects.get().state, yard["fast"].state) == ("active", "active")
    settings.NODE_URL = "http://127.0.0.1:2"
    assert not nodes.beat(timezone.now())
    assert Node.objects.get().url == "http://127.0.0.1:1"
    revision = yard["fast"].revision
    Node.objects.update(seen_at=timezone.now() - timedelta(seconds=60))
    assert nodes.beat(timezone.now()), "the other one is silent: the node has moved"
    assert yard["fast"].revision == revision + 1, "so that peers ask at the new address"


def test_the_memory_of_a_machine_that_was_started_anew_is_doubted(yard: Yard, node: Node) -> None:
    bucket = yard.bucket(**EPHEMERAL)
    kept, gone = yard.put(bucket, "kept", DATA), yard.put(bucket, "gone", DATA)
    (yard.folder / "fast" / gone.replicas.get().key).unlink()
    Node.objects.update(boot_id="another")
    assert nodes.beat(timezone.now())
    with pytest.raises(ObjectUnavailable):
        read(kept)
    node_copies.follow()
    node_copies.follow()
    assert kinds(yard.work())[:2] == [("verify", "fast", "done"), ("verify", "fast", "done")]
    yard.work()
    assert read(kept) == DATA
    states = {found.key: found.state for found in Object.objects.all()}
    assert states == {"kept": "available", "gone": "lost"}
    assert not gone.replicas.exclude(state=ReplicaState.AVAILABLE).exists(), "nothing to repair is left of it"
    assert yard["fast"].used_bytes == len(DATA)


def test_what_is_missing_in_memory_does_not_count_once_its_gateway_has_begun_anew(yard: Yard, node: Node) -> None:
    bucket = yard.bucket(write="back", lands_on="fast")
    kept, gone, sole = (yard.put(bucket, key, DATA) for key in ("kept", "gone", "sole"))
    Transfer.objects.filter(object=sole).delete()
    yard.work()
    for target in (gone, sole):
        yard.file(yard.copy_on(target, "fast")).unlink()
    assert node_copies.look() == 2
    yard.work()
    assert yard.where(kept) == {"fast": "available", "home": "available"}
    assert yard.where(gone)["home"] == "available"
    assert yard.where(gone).get("fast") != "available"
    states = {found.key: found.state for found in Object.objects.all()}
    assert states == {"kept": "available", "gone": "available", "sole": "unavailable"}
    assert node_copies.look() == 0


def test_copies_are_spread_over_nodes(yard: Yard, node: Node) -> None:
    Storage.objects.filter(name__in=["home", "far"]).update(node=node)
    asked = {"replicate_to": ["far"], "min_replicas": 2, "spread": "nodes"}
    with pytest.raises(InvalidRequest) as refused:
        policies.check(yard.bucket(), asked, Storage.objects.all())
    assert "2 nodes are needed" in refused.value.fields["spread"]
    other = Node.objects.create(name="beta", seen_at=node.seen_at, started_at=node.seen_at, changed_at=node.seen_at)
    Storage.objects.filter(name="far").update(node=other)
    policies.check(yard.bucket("more"), asked, Storage.objects.all())


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of a handover is one copy, and there is no pause."""
    monkeypatch.setattr("staging.handover._AT_ONCE", 1)
    monkeypatch.setattr("staging.handover._PAUSE_S", 0)


@pytest.mark.usefixtures("few")
def test_what_may_not_leave_a_node_that_stops_hides_nothing_that_may(yard: Yard, node: Node) -> None:
    stays, goes = yard.bucket("stays", **EPHEMERAL), yard.bucket("goes", **{**EPHEMERAL, "spill": True})
    for key in "abc":
        yard.put(stays, key, b"small")
    made = yard.put(goes, "x", DATA)
    assert handover.hand_over(60) == 3
    assert yard.where(made)["home"] == ReplicaState.AVAILABLE


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("bad", [0, 1])
def test_what_cannot_be_handed_over_keeps_nothing_else_from_its_turn(
    yard: Yard, node: Node, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    made = [yard.put(yard.bucket(write="back", lands_on="fast"), "a", b"1" * (bad + 1))]
    made.append(yard.put(yard.bucket("other", write="back", lands_on="fast"), "b", b"12"[: 2 - bad]))
    whole, calls = handover.place_for, list[object]()

    def place_for(replica: Replica) -> Storage | None:
        calls.append(replica)
        if replica.object == made[0]:
            raise KeyError("nobody thought of that")
        return whole(replica)

    monkeypatch.setattr("staging.handover.place_for", place_for)
    assert handover.hand_over(60) == 1
    assert yard.where(made[1])["home"] == ReplicaState.AVAILABLE


@pytest.mark.usefixtures("few")
def test_of_those_that_fail_each_has_its_turn_before_any_has_another(
    yard: Yard, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = yard.bucket(write="back", lands_on="fast")
    for key in "abc":
        yard.put(bucket, key, DATA)
    tried = list[str]()

    def fail(replica: Replica) -> None:
        tried.append(replica.object.key)
        if len(tried) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr("staging.handover._flush", fail)
    with pytest.raises(KeyboardInterrupt):
        handover.hand_over(60)
    assert tried == [*"abc", *"abc"]
