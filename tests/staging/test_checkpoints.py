"""Checkpoints: what they hold stays, is made safe before they are complete, comes back, and goes when they let go."""

from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.utils import timezone

from staging import (
    aliases,
    checkpoint_work,
    checkpoints,
    drains,
    queue,
    replicas,
    retiring,
    sharing,
    transfers,
    upkeep,
    writing,
)
from staging.alias_terms import AliasSpec
from staging.checkpoints import CheckpointSpec
from staging.errors import InvalidRequest, NameTaken, ObjectUnavailable
from staging.models import Alias, Bucket, Checkpoint, Event, Object, Replica, Storage, Transfer
from staging.offers import Offer
from staging.states import AliasMode, CheckpointState, CopyOnExists
from tests.staging.bodies import Body
from tests.staging.test_pressure import Crew
from tests.staging.yard import BACK, DATA, Yard, read
from workers import tasks

EPHEMERAL = {"write": "ephemeral", "lands_on": "fast", "spill": False}


def take(yard: Yard, bucket: Bucket, name: str = "step-1", prefix: str = "") -> Checkpoint:
    return checkpoints.create(yard.project, CheckpointSpec(name, bucket, prefix))[0]


def finish(yard: Yard, checkpoint: Checkpoint) -> CheckpointState:
    """Do all that is due."""
    yard.work()
    checkpoint_work.sweep()
    checkpoint.refresh_from_db()
    return CheckpointState(checkpoint.state)


def told(kind: str) -> list[dict[str, Any]]:
    return [event.facts for event in Event.objects.filter(kind=kind).order_by("pk")]


def content(yard: Yard, bucket: Bucket, key: str) -> bytes | None:
    found = yard.current(bucket, key)
    return read(found) if found else None


def test_it_is_complete_once_every_member_is_persisted_and_never_before(yard: Yard) -> None:
    bucket = yard.bucket(**EPHEMERAL)
    inside = [yard.put(bucket, f"out/{number}", DATA) for number in range(3)]
    outside = yard.put(bucket, "other", DATA)
    checkpoint = take(yard, bucket, prefix="out/")
    assert (checkpoint.state, checkpoint.count, checkpoint.size) == ("pending", 3, 3 * len(DATA))
    for done in range(3):
        assert checkpoints.progress(checkpoint).persisted == done
        checkpoint_work.sweep()
        checkpoint.refresh_from_db()
        assert checkpoint.state == "pending"
        transfers.run(str(Transfer.objects.filter(state="queued").order_by("pk")[0].pk))
    assert not told("checkpoint.complete")
    assert finish(yard, checkpoint) == CheckpointState.COMPLETE
    assert told("checkpoint.complete") == [{"members": 3, "size": 3 * len(DATA)}]
    assert all(set(yard.where(one)) == {"fast", "home"} for one in inside)
    assert set(yard.where(outside)) == {"fast"}
    assert {one.priority for one in Transfer.objects.all()} == {30}
    yard.assert_all_is_counted()


def test_the_flush_that_persists_the_last_member_has_it_settled_at_once(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(queue, "_send", lambda task, _queue, *arguments: sent.append((task, *arguments)))
    bucket = yard.bucket(**BACK)
    for key in "abc":
        yard.put(bucket, key, DATA)
    checkpoint = take(yard, bucket)
    flushes = yard.work()
    assert len(flushes) == 3
    look = [message for message in sent if message[0] == "workers.tasks.advance_checkpoint"]
    assert look == [("workers.tasks.advance_checkpoint", str(checkpoint.pk))], "by the last one only"
    tasks.advance_checkpoint(look[0][1])
    checkpoint.refresh_from_db()
    assert checkpoint.state == "complete"


def test_the_same_again_is_the_same_and_another_of_the_name_is_refused(yard: Yard) -> None:
    bucket = yard.bucket()
    first = yard.put(bucket, "x", DATA)
    made, replayed = checkpoints.create(yard.project, CheckpointSpec("a", bucket))
    yard.put(bucket, "y", DATA)
    again, replayed_again = checkpoints.create(yard.project, CheckpointSpec("a", bucket))
    assert (replayed, replayed_again, again) == (False, True, made)
    assert [one.object for one in made.members.all()] == [first]
    assert made.state == "complete", "all was persisted already"
    with pytest.raises(NameTaken):
        checkpoints.create(yard.project, CheckpointSpec("a", bucket, "x"))
    with pytest.raises(InvalidRequest, match="nothing to pin"):
        take(yard, bucket, "b", prefix="z")


def test_what_could_not_be_kept_is_refused(yard: Yard) -> None:
    Storage.objects.filter(name="home").update(tier=1)
    bucket = yard.bucket()
    yard.put(bucket, "x", DATA)
    with pytest.raises(InvalidRequest, match="Nothing persists"):
        take(yard, bucket)
    assert not Object.objects.filter(pinned=True).exists()
    assert not Checkpoint.objects.exists()


@pytest.mark.parametrize("policy", [EPHEMERAL, BACK])
def test_bytes_of_members_that_are_replaced_or_deleted_stay_until_the_last_checkpoint_lets_go(
    yard: Yard, policy: dict[str, Any]
) -> None:
    bucket = yard.bucket(**policy)
    replaced, deleted, ended = (yard.put(bucket, key, key.encode() * 100) for key in ("replaced", "deleted", "ended"))
    past = timezone.now() - timedelta(seconds=2)
    Object.objects.filter(pk=ended.pk).update(policy={"ttl_s": 1}, created_at=past, expires_at=past)
    one, two = take(yard, bucket, "one"), take(yard, bucket, "two")
    yard.put(bucket, "replaced", b"new")
    retiring.delete(deleted)
    assert upkeep.expire() == 1
    assert finish(yard, one) == finish(yard, two) == CheckpointState.COMPLETE
    yard.hurry()
    yard.work()
    for kept in (replaced, deleted, ended):
        kept.refresh_from_db()
        assert not kept.current
        assert "home" in yard.where(kept), "it was made safe all the same"
        assert read(kept) == kept.key.encode() * 100
    assert content(yard, bucket, "replaced") == b"new"
    assert content(yard, bucket, "deleted") is None
    assert retiring.purge_tombstones(timezone.now() + timedelta(days=1)) == 0
    assert checkpoints.release(one)
    yard.work()
    assert read(replaced) == b"replaced" * 100, "the other one holds it"
    assert checkpoints.release(two)
    yard.work()
    assert not Replica.objects.filter(object__in=[replaced, deleted, ended]).exists()
    assert content(yard, bucket, "replaced") == b"new"
    yard.assert_all_is_counted()


def test_a_member_that_is_lost_before_it_is_safe_fails_it_by_name(yard: Yard) -> None:
    bucket = yard.bucket(**EPHEMERAL)
    yard.put(bucket, "x", DATA)
    checkpoint = take(yard, bucket)
    Replica.objects.update(state="bad")
    checkpoint_work.sweep()
    checkpoint.refresh_from_db()
    assert checkpoint.state == "pending", "somebody may repair it"
    Storage.objects.filter(name="fast").update(state="lost")
    checkpoint_work.sweep()
    checkpoint.refresh_from_db()
    assert (checkpoint.state, "may come back: runs/x" in checkpoint.failure) == ("pending", True)
    Replica.objects.all().delete()
    checkpoint_work.sweep()
    checkpoint.refresh_from_db()
    assert (checkpoint.state, checkpoint.failure) == ("failed", "Lost: runs/x")
    assert told("checkpoint.failed") == [{"lost": ["runs/x"]}]
    with pytest.raises(InvalidRequest):
        checkpoints.restore(checkpoint)


def test_one_that_waits_says_for_what(yard: Yard) -> None:
    bucket = yard.bucket(**EPHEMERAL)
    yard.put(bucket, "x", DATA)
    checkpoint = take(yard, bucket)
    waiting = Transfer.objects.get()
    refused = {"error_code": "access_denied", "error_detail": "the key was refused", "finished_at": timezone.now()}
    for state, told in [
        ("cordoned", "The storage home takes no bytes: it is cordoned."),
        ("active", "runs/x did not come to home, and is tried again later: the key was refused"),
    ]:
        Transfer.objects.update(state="failed", **refused)
        Storage.objects.filter(name="home").update(state=state)
        checkpoint_work.sweep()
        checkpoint.refresh_from_db()
        assert (checkpoint.state, checkpoint.failure) == ("pending", told)
    transfers.retry(waiting)
    assert finish(yard, checkpoint) == CheckpointState.COMPLETE
    assert checkpoint.failure == ""


def test_what_was_lost_since_does_not_take_the_place_of_what_can_be_read(yard: Yard) -> None:
    bucket = yard.bucket()
    first = yard.put(bucket, "x", b"first")
    checkpoint = take(yard, bucket)
    yard.put(bucket, "x", b"second")
    Storage.objects.filter(name="home").update(state="lost")
    with pytest.raises(ObjectUnavailable, match="cannot be read now"):
        checkpoints.restore(checkpoint)
    assert Checkpoint.objects.get().state == "complete", "its node may come back"
    Storage.objects.filter(name="home").update(state="active")
    Replica.objects.filter(object=first).update(state="bad")
    with pytest.raises(ObjectUnavailable, match="cannot be read now"):
        checkpoints.restore(checkpoint)
    assert Checkpoint.objects.get().state == "complete", "somebody may repair it"
    Replica.objects.filter(object=first).delete()
    with pytest.raises(InvalidRequest, match="Lost: runs/x"):
        checkpoints.restore(checkpoint)
    assert content(yard, bucket, "x") == b"second"
    assert Checkpoint.objects.get().state == "failed"


def test_restore_brings_every_member_back_but_what_was_written_since_stays(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = yard.bucket(lands_on="fast", ttl_s=3600)
    for key in ("deleted", "replaced", "same", "late"):
        yard.put(bucket, key, key.encode() * 100)
    checkpoint = take(yard, bucket)
    assert finish(yard, checkpoint) == CheckpointState.COMPLETE
    yard.put(bucket, "replaced", b"new")
    yard.put(bucket, "late", b"new")
    deleted = yard.current(bucket, "deleted")
    assert deleted
    retiring.delete(deleted)
    for copy in Replica.objects.filter(storage__name="fast", object__pinned=True).select_related("storage"):
        replicas.let_go(copy, reason="test")
    yard.work()
    same = yard.current(bucket, "same")
    monkeypatch.setattr(checkpoint_work, "advance", lambda *_, **__: None)  # It dies before the first step.
    checkpoints.restore(checkpoint)
    assert content(yard, bucket, "deleted") is None
    yard.put(bucket, "late", b"newer")
    monkeypatch.undo()
    checkpoint_work.sweep()
    yard.work()
    checkpoint.refresh_from_db()
    assert checkpoint.restoring_since is None
    assert checkpoint.restored_at
    for key in ("deleted", "replaced", "same"):
        found = yard.current(bucket, key)
        assert found
        assert read(found) == key.encode() * 100
        assert set(yard.where(found)) == {"home", "fast"}, "it was promoted"
        assert found.expires_at
        assert found.expires_at > timezone.now()
    assert content(yard, bucket, "late") == b"newer"
    assert yard.current(bucket, "same") == same
    versions = Object.objects.filter(key="replaced").order_by("version").values_list("version", "current")
    assert list(versions) == [(2, False), (3, True)]
    assert len(told("object.restored")) == 2
    checkpoints.restore(checkpoint)
    assert list(versions.all()) == [(2, False), (3, True)], "it is restored already"
    assert content(yard, bucket, "late") == b"late" * 100, "this restore was asked later"


def test_every_step_goes_on_after_a_crash(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_work, "_AT_ONCE", 2)
    monkeypatch.setattr(checkpoint_work, "_STEPS", 1)
    bucket = yard.bucket(**EPHEMERAL)
    made = [yard.put(bucket, str(number), DATA) for number in range(5)]
    checkpoint = take(yard, bucket)
    while finish(yard, checkpoint) == CheckpointState.PENDING:
        assert Transfer.objects.filter(kind="flush").count() <= 5
    for one in made:
        retiring.delete(one)
    checkpoints.restore(checkpoint)
    assert Object.objects.filter(current=True).count() == 2
    for _ in range(2):
        checkpoint_work.sweep()
    assert Object.objects.filter(current=True).count() == 5
    for key in "01234":
        found = yard.current(bucket, key)
        assert found
        retiring.delete(found)
    assert not checkpoints.release(checkpoint)
    with pytest.raises(NameTaken, match="being deleted"):
        take(yard, bucket)
    for _ in range(2):
        checkpoint_work.sweep()
    assert not Checkpoint.objects.exists()
    yard.work()
    assert not Replica.objects.exists()
    yard.assert_all_is_counted()


def test_a_run_s_checkpoint_holds_what_its_aliases_wrote(yard: Yard) -> None:
    bucket = yard.bucket()
    yard.put(bucket, "old", DATA)
    yard.put(bucket, "folder/old", DATA)
    specs = [
        AliasSpec(AliasMode.WRITE, "new", labels={"run": "7"}),
        AliasSpec(AliasMode.WRITE, "old", labels={"run": "7"}),
        AliasSpec(AliasMode.WRITE, "not-yet", labels={"run": "7"}),
        AliasSpec(AliasMode.READ, "old", labels={"run": "7"}),
        AliasSpec(AliasMode.WRITE_PREFIX, "folder/", labels={"run": "7"}),
        AliasSpec(AliasMode.WRITE, "foreign", labels={"run": "8"}),
    ]
    made = {alias.key: alias for alias in aliases.create(Bucket.objects.get(pk=bucket.pk), specs)}
    for alias in (made["new"], made["foreign"], aliases.below(made["folder/"], "inside")):
        writing.receive(alias, Offer(len(DATA)), Body(DATA))
    checkpoint, _ = checkpoints.create(yard.project, CheckpointSpec("run-7", labels={"run": "7"}))
    assert sorted(checkpoint.members.values_list("key", flat=True)) == ["folder/inside", "new"]
    assert Alias.objects.count() > len(specs)


def test_a_version_that_only_a_checkpoint_holds_is_moved_by_drains(yard: Yard) -> None:
    bucket = yard.bucket()
    kept = yard.put(bucket, "x", DATA)
    checkpoint = take(yard, bucket)
    retiring.delete(kept)
    drains.start(yard["home"], yard["far"])
    for _ in range(3):
        yard.work()
        drains.sweep()
    assert yard["home"].state == "drained"
    kept.refresh_from_db()
    assert set(yard.where(kept)) == {"far"}
    assert read(kept) == DATA
    checkpoints.restore(checkpoint)
    assert content(yard, bucket, "x") == DATA


def test_a_key_that_is_being_replaced_is_never_missed(yard: Yard) -> None:
    bucket = yard.bucket()
    yard.put(bucket, "x", b"0")
    crew = Crew()
    numbers = count(1)
    crew.start(lambda: yard.put(bucket, "x", str(next(numbers)).encode()))
    try:
        taken = [take(yard, bucket, f"step-{number}") for number in range(12)]
    finally:
        crew.end()
    assert [checkpoint.count for checkpoint in taken] == [1] * 12
    for checkpoint in taken:
        held = checkpoint.members.get().object
        assert read(held).isdigit()


def test_a_member_that_is_moved_keeps_its_bytes_for_the_checkpoint(yard: Yard) -> None:
    source, target = yard.bucket("runs"), yard.bucket("kept")
    yard.put(source, "a", b"mine")
    kept = take(yard, source)
    assert finish(yard, kept) == CheckpointState.COMPLETE
    sharing.share(source, target, {"a": "b"}, on_exists=CopyOnExists.FAIL, moves=True)
    yard.work()
    assert (content(yard, source, "a"), content(yard, target, "b")) == (None, b"mine")
    moved = yard.current(target, "b")
    assert moved
    retiring.delete(moved)
    yard.work()
    checkpoints.restore(kept)
    finish(yard, kept)
    assert content(yard, source, "a") == b"mine"
    yard.assert_all_is_counted()
