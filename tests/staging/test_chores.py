"""Chores: what fails in a way that nobody foresaw keeps nothing else from its turn, and is told."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from staging import checkpoint_work, checkpoints, chores, drains, policies, replication, tiers, upkeep
from staging.checkpoints import CheckpointSpec
from staging.models import Bucket, Node, Object, Replica, Storage, Transfer
from staging.policies import Policy
from staging.states import NodeState, ReplicaState, TransferKind
from tests.place import Place
from tests.staging.bodies import put
from tests.staging.yard import BACK, DATA, TWO, Yard
from workers import tasks


def failed() -> set[str]:
    return {part for part, _, _ in chores.failures(timezone.now() - timedelta(hours=1))}


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Object], None]:
    """Whoever asks for the policy of a version that is spoilt finds what nobody thought of."""
    spoilt = set[object]()
    whole = policies.of

    def of(target: Object) -> Policy:
        if target.pk in spoilt:
            raise KeyError("nobody thought of that")
        return whole(target)

    monkeypatch.setattr("staging.policies.of", of)
    return lambda target: spoilt.add(target.pk)


def two(yard: Yard, bucket: Bucket) -> list[Object]:
    """Two versions; whichever is spoilt, in some pass it comes before the other."""
    return [yard.put(bucket, key, DATA) for key in ("a", "b")]


either = pytest.mark.parametrize("bad", [0, 1])


@pytest.mark.parametrize("fails", ["tiers.relieve", "upkeep.hasten", "drains.sweep", "checkpoint_work.sweep"])
def test_a_part_of_a_sweep_that_fails_keeps_none_of_the_others_from_its_turn(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    calls = list[str]()

    def part(name: str) -> Callable[[], None]:
        def do() -> None:
            calls.append(name)
            if name == fails:
                raise KeyError("nobody thought of that")

        return do

    parts = ["tiers.relieve", "upkeep.hasten", "drains.sweep", "checkpoint_work.sweep", "giving_up.sweep"]
    for name in parts:
        monkeypatch.setattr(f"staging.{name}", part(name))
    tasks.sweep_tiers()
    assert calls == parts
    assert len(failed()) == 1


@either
def test_the_reconciler_goes_on_behind_a_version_that_it_cannot_judge(
    yard: Yard, spoil: Callable[[Object], None], bad: int
) -> None:
    bucket = yard.bucket()
    made = two(yard, bucket)
    Bucket.objects.filter(pk=bucket.pk).update(policy=TWO)
    spoil(made[bad])
    upkeep.reconcile()
    assert [one.object for one in Transfer.objects.filter(kind=TransferKind.REPLICATE)] == [made[1 - bad]]
    assert failed() == {"replication.settle"}


@either
def test_a_drain_moves_all_but_the_copy_that_it_cannot_judge(
    yard: Yard, spoil: Callable[[Object], None], bad: int
) -> None:
    made = two(yard, yard.bucket())
    spoil(made[bad])
    drains.start(yard["home"], yard["far"])
    yard.work()
    tasks.sweep_tiers()
    yard.work()
    assert yard.where(made[1 - bad]) == {"far": "available"}
    assert yard.where(made[bad]) == {"home": "available"}
    assert failed() == {"drains.move"}


@either
def test_of_two_drains_one_that_fails_keeps_the_other_going(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    names, whole = ["fast", "far"], drains.advance
    for name in names:
        drains.start(yard[name], yard["home"])
    Storage.objects.filter(name__in=names).update(state="draining")

    def advance(storage: Storage) -> None:
        if storage.name == names[bad]:
            raise KeyError("nobody thought of that")
        whole(storage)

    monkeypatch.setattr("staging.drains.advance", advance)
    drains.sweep()
    assert (yard[names[bad]].state, yard[names[1 - bad]].state) == ("draining", "drained")
    assert failed() == {"drains.advance"}


@either
def test_pressure_is_relieved_beside_a_copy_that_nobody_can_judge(
    yard: Yard, spoil: Callable[[Object], None], bad: int
) -> None:
    made = two(yard, yard.bucket(**BACK))
    Storage.objects.filter(name="fast").update(capacity_bytes=2 * len(DATA))
    Transfer.objects.all().delete()
    spoil(made[bad])
    tiers.relieve()
    assert [one.object for one in Transfer.objects.filter(kind=TransferKind.FLUSH)] == [made[1 - bad]]
    assert failed() == {"tiers.judge"}


@either
def test_a_checkpoint_asks_for_the_copies_of_all_but_the_member_that_it_cannot_judge(
    yard: Yard, spoil: Callable[[Object], None], bad: int
) -> None:
    bucket = yard.bucket(write="ephemeral", lands_on="fast", spill=False)
    made = two(yard, bucket)
    checkpoint, _ = checkpoints.create(yard.project, CheckpointSpec("step", bucket, ""))
    Transfer.objects.all().delete()
    spoil(made[bad])
    checkpoint_work.look(str(checkpoint.pk))
    assert [one.object for one in Transfer.objects.all()] == [made[1 - bad]]
    assert failed() == {"checkpoint_work.flush"}


@either
def test_copies_of_a_node_that_is_back_are_read_but_the_one_that_cannot(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    made = two(yard, yard.bucket(**BACK))
    now, whole = timezone.now(), replication.verify
    node = Node.objects.create(
        name="alpha", url="http://127.0.0.1:1", started_at=now, seen_at=now, changed_at=now, state=NodeState.ACTIVE
    )
    Storage.objects.filter(name="fast").update(node=node)
    Transfer.objects.all().delete()
    Replica.objects.update(state=ReplicaState.SUSPECT)

    def verify(replica: Replica, **options: Any) -> Transfer:
        if replica.object == made[bad]:
            raise KeyError("nobody thought of that")
        return whole(replica, **options)

    monkeypatch.setattr("staging.replication.verify", verify)
    tasks.sweep_nodes()
    assert [one.object for one in Transfer.objects.filter(kind=TransferKind.VERIFY)] == [made[1 - bad]]
    assert failed() == {"node_copies.verify"}
    Replica.objects.update(state=ReplicaState.AVAILABLE, verified_at=now - timedelta(days=365))
    Transfer.objects.all().delete()
    tasks.scrub()
    assert [one.object for one in Transfer.objects.filter(kind=TransferKind.VERIFY)] == [made[1 - bad]]
    assert failed() == {"node_copies.verify", "upkeep.verify"}


def test_what_is_no_more_to_be_kept_is_purged_beside_what_cannot_be(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def purge_tombstones(_before: object) -> int:
        raise KeyError("nobody thought of that")

    yard.put(yard.bucket(), "a", DATA)
    yard.work()
    Transfer.objects.create(
        project=yard.project,
        kind=TransferKind.VERIFY,
        target=yard["home"],
        state="done",
        finished_at=timezone.now() - timedelta(days=999),
        not_before=timezone.now(),
    )
    monkeypatch.setattr("staging.retiring.purge_tombstones", purge_tombstones)
    tasks.sweep_leftovers()
    assert not Transfer.objects.filter(kind=TransferKind.VERIFY).exists()
    assert failed() == {"janitor.purge"}


def test_where_the_catalog_is_away_nothing_is_gone_on_with(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("server closed the connection")

    put(place, b"x")
    monkeypatch.setattr("staging.chores.Chore.objects.update_or_create", away)
    done = list[str]()
    with pytest.raises(OperationalError):
        chores.one_by_one(away, lambda: done.append("next"))
    assert done == []
