"""Copies in the catalog: no byte moves, a place counts once, and its bytes go with its last version."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from staging import orphans, replicas, replication, retiring, sharing, tally, tiers, transfers, upkeep, versions
from staging.errors import ContentDiffers, NotFound, ObjectUnavailable, TooLarge
from staging.models import Bucket, Event, Object, Replica, Transfer
from staging.sharing import Shared, share
from staging.states import CopyOnExists, ReplicaState, TransferKind
from tests.staging.yard import BACK, DATA, TWO, Yard, read


def copy(source: Bucket, target: Bucket, key: str = "a", to: str = "b", **how: object) -> Shared:
    return share(source, target, {key: to}, **{"on_exists": CopyOnExists.FAIL, **how})  # type: ignore[arg-type]


def copied(yard: Yard, source: Bucket, target: Bucket, **how: object) -> Object:
    assert copy(source, target, **how).done
    found = yard.current(target, "b")
    assert found
    return found


def used(yard: Yard) -> dict[str, int]:
    return {name: yard[name].used_bytes for name in yard.storages}


def test_a_copy_is_a_version_of_its_own_on_the_same_bytes(yard: Yard) -> None:
    source, target = yard.bucket("runs"), yard.bucket("kept")
    made = yard.put(source, "a", DATA * 10)
    versions.describe(source, "a", {"run": "7"})
    one = copied(yard, source, target)
    assert (one.size, one.sha256, one.metadata, one.version) == (made.size, made.sha256, {"run": "7"}, 1)
    assert bytes(one.block_sums.sums) == bytes(made.block_sums.sums)
    assert read(one) == DATA * 10
    assert yard.file(yard.copy_on(one, "home")) == yard.file(yard.copy_on(made, "home"))
    assert not Transfer.objects.exists()
    assert Event.objects.filter(kind="object.created", subject="kept/b").count() == 1
    yard.assert_all_is_counted()
    assert yard.put(target, "b", b"new").version == 2


@pytest.mark.parametrize("first", ["source", "copy"])
def test_the_bytes_go_with_the_last_version(yard: Yard, first: str) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "a", DATA)
    one = copied(yard, bucket, bucket)
    file = yard.file(yard.copy_on(made, "home"))
    order = [made, one] if first == "source" else [one, made]
    retiring.delete(order[0])
    yard.work()
    assert read(order[1]) == DATA
    assert used(yard)["home"] == len(DATA)
    yard.assert_all_is_counted()
    retiring.delete(order[1])
    yard.work()
    assert not file.exists()
    assert used(yard)["home"] == 0
    assert not Replica.objects.exists()


def test_a_move_leaves_nothing_at_the_old_key(yard: Yard) -> None:
    source, target = yard.bucket("runs"), yard.bucket("kept")
    yard.put(source, "a", DATA)
    one = copied(yard, source, target, moves=True)
    yard.work()
    assert yard.current(source, "a") is None
    assert read(one) == DATA
    yard.assert_all_is_counted()


def test_what_cannot_be_copied_stays_as_it_is(yard: Yard) -> None:
    source, target = yard.bucket("runs"), yard.bucket("kept", max_object_bytes=5)
    yard.put(source, "a", b"one")
    standing = yard.put(target, "b", b"two")
    assert isinstance(copy(source, target).failed["a"], ContentDiffers)
    assert copy(source, target, on_exists=CopyOnExists.SKIP, moves=True).skipped
    assert yard.current(target, "b") == standing
    assert yard.current(source, "a")
    assert copied(yard, source, target, on_exists=CopyOnExists.REPLACE).version == 2
    assert copied(yard, source, target).version == 2, "equal content is the copy already"
    assert isinstance(copy(source, target, "nothing").failed["nothing"], NotFound)
    yard.put(source, "a", b"longer")
    assert isinstance(copy(source, target, to="c").failed["a"], TooLarge)
    Replica.objects.update(state=ReplicaState.BAD)
    assert isinstance(copy(source, source).failed["a"], ObjectUnavailable)


def test_the_targets_policy_is_met(yard: Yard) -> None:
    """Bytes that are not where it wants them are brought there; of two versions one does not wait for the other."""
    source, target = yard.bucket("fast", **BACK), yard.bucket("safe", **TWO)
    made = yard.put(source, "a", DATA)
    one = copied(yard, source, target)
    assert (yard.where(made), yard.where(one)["fast"]) == ({"fast": "dirty"}, "available")
    retiring.delete(made)
    yard.work()
    assert {"home", "far"} <= set(yard.where(one))
    assert read(one) == DATA
    yard.assert_all_is_counted()


def test_a_shared_place_is_evicted_when_no_version_needs_it(yard: Yard) -> None:
    bucket = yard.bucket(lands_on="fast")
    made = yard.put(bucket, "a", DATA)
    yard.work()
    one = copied(yard, bucket, bucket)
    assert yard.where(one) == {"home": "available", "fast": "available"}
    fast = yard["fast"]
    type(fast).objects.filter(pk=fast.pk).update(capacity_bytes=len(DATA))
    assert tiers.relieve() == 2
    assert {transfer.kind for transfer in yard.work()} == {TransferKind.EVICT}
    assert used(yard)["fast"] == 0
    assert [yard.where(version) for version in (made, one)] == [{"home": "available"}] * 2
    yard.assert_all_is_counted()


def test_to_let_go_of_a_place_that_another_version_needs_would_free_nothing(yard: Yard) -> None:
    bucket = yard.bucket(lands_on="fast")
    yard.put(bucket, "a", DATA)
    yard.work()
    one = copied(yard, bucket, bucket)
    Replica.objects.filter(object=one).update(dirty=True)
    fast = yard["fast"]
    type(fast).objects.filter(pk=fast.pk).update(capacity_bytes=len(DATA))
    assert not tiers.make_room(yard["fast"], 1)
    assert used(yard)["fast"] == len(DATA)


def test_what_is_shared_is_read_back_once(yard: Yard) -> None:
    bucket = yard.bucket()
    yard.put(bucket, "a", DATA)
    copied(yard, bucket, bucket)
    Replica.objects.update(verified_at=timezone.now() - timedelta(days=365))
    assert upkeep.scrub(for_s=1e9) == 1
    yard.work()
    assert not Replica.objects.filter(verified_at__lt=timezone.now() - timedelta(days=1)).exists()


def test_damage_is_known_of_every_version_and_so_is_its_repair(yard: Yard) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "a", DATA)
    one = copied(yard, bucket, bucket)
    file = yard.file(yard.copy_on(made, "home"))
    file.write_bytes(b"?" + DATA[1:])
    replication.verify(yard.copy_on(one, "home"), reason="test")
    yard.work()
    assert [yard.where(version) for version in (made, one)] == [{"home": "bad"}] * 2
    assert set(Object.objects.values_list("state", flat=True)) == {"unavailable"}
    file.write_bytes(DATA)
    replication.verify(yard.copy_on(made, "home"), reason="test")
    yard.work()
    assert set(Object.objects.values_list("state", flat=True)) == {"available"}
    file.unlink()
    assert orphans.look(yard["home"]).found[orphans.Kind.LOST].count == 1
    orphans.act(yard["home"])
    assert set(Replica.objects.values_list("state", flat=True)) == {"bad"}


def test_a_further_copy_of_one_version_is_shared_by_the_others(yard: Yard) -> None:
    """So is the repair of a place that was damaged for all of them."""
    bucket = yard.bucket(**TWO)
    made = yard.put(bucket, "a", DATA)
    yard.work()
    one = copied(yard, bucket, bucket)
    file = yard.file(yard.copy_on(made, "home"))
    file.write_bytes(b"?" + DATA[1:])
    replication.verify(yard.copy_on(one, "home"), reason="test")
    yard.work()
    replication.reconcile("", limit=10)
    yard.work()
    assert [yard.where(version) for version in (made, one)] == [{"home": "available", "far": "available"}] * 2
    assert yard.copy_on(one, "home").key == yard.copy_on(made, "home").key, "it was written once"
    assert used(yard)["home"] == len(DATA)
    assert read(one) == DATA
    yard.assert_all_is_counted()
    retiring.delete(made)
    yard.work()
    assert read(one) == DATA
    yard.assert_all_is_counted()


def test_a_version_that_has_no_good_copy_left_gets_one_of_those_that_it_shared_the_damaged_place_with(
    yard: Yard,
) -> None:
    source, target = yard.bucket("runs", **TWO), yard.bucket("kept")
    made = yard.put(source, "a", DATA)
    one = copied(yard, source, target)
    yard.work()
    assert (set(yard.where(made)), set(yard.where(one))) == ({"home", "far"}, {"home"})
    yard.file(yard.copy_on(one, "home")).write_bytes(b"?" + DATA[1:])
    replication.verify(yard.copy_on(one, "home"), reason="test")
    transfers.run(str(Transfer.objects.get(kind=TransferKind.VERIFY).pk))
    assert yard.where(one) == {"home": "deleting", "far": "available"}
    assert Object.objects.get(pk=one.pk).state == "available"
    assert read(one) == DATA
    for _ in range(2):
        yard.work()
        replication.reconcile("", limit=10)
    assert yard.where(one)["home"] == yard.where(made)["home"] == "available"
    yard.assert_all_is_counted()


@pytest.mark.parametrize("ends", [retiring.delete, lambda made: replicas.condemn(made.replicas.get(), "test")])
def test_what_is_to_go_is_not_shared(yard: Yard, ends: Callable[[Object], object]) -> None:
    bucket = yard.bucket()
    ends(yard.put(bucket, "a", DATA))
    assert copy(bucket, bucket).failed
    yard.work()
    yard.assert_all_is_counted()


def test_of_two_that_let_go_at_once_one_removes_the_bytes(yard: Yard) -> None:
    bucket = yard.bucket()
    for number in range(10):
        made = yard.put(bucket, f"a{number}", DATA)
        copy(bucket, bucket, f"a{number}", f"b{number}")
        file = yard.file(yard.copy_on(made, "home"))
        for key in ("a", "b"):
            retiring.delete(Object.objects.get(key=f"{key}{number}", current=True))
        _at_once(*(lambda pk=str(pk): transfers.run(pk) for pk in Transfer.objects.values_list("pk", flat=True)))
        yard.hurry()
        yard.work()
        assert not file.exists()
        assert not Replica.objects.exists()
        Transfer.objects.all().delete()
    assert not tally.drift(yard["home"])
    yard.assert_all_is_counted()


def test_a_copy_and_the_deletion_of_its_source_take_turns(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "a", DATA)

    def delete() -> None:
        try:
            retiring.delete(made)
            yard.hurry()
            yard.work()
        finally:
            connection.close()

    deletion = threading.Thread(target=delete)
    write = sharing._write

    def write_in_the_middle_of_it(*how: Any) -> None:
        deletion.start()
        deletion.join(0.5)  # It has to wait; if it does not, it has removed the bytes by now.
        write(*how)

    monkeypatch.setattr(sharing, "_write", write_in_the_middle_of_it)
    one = copied(yard, bucket, bucket)
    deletion.join()
    assert yard.current(bucket, "a") is None
    assert read(one) == DATA
    yard.assert_all_is_counted()


def test_two_that_copy_onto_each_other_both_end(yard: Yard) -> None:
    bucket = yard.bucket()
    for _ in range(5):
        yard.put(bucket, "a", b"one")
        yard.put(bucket, "b", b"two")
        _at_once(
            lambda: copy(bucket, bucket, "a", "b", on_exists=CopyOnExists.REPLACE),
            lambda: copy(bucket, bucket, "b", "a", on_exists=CopyOnExists.REPLACE),
        )
        contents = {read(version) for version in Object.objects.filter(current=True)}
        assert len(contents) == 1
    Transfer.objects.update(not_before=timezone.now())
    yard.work()
    yard.assert_all_is_counted()


def test_all_or_none_with_the_callers_transaction(yard: Yard) -> None:
    bucket = yard.bucket()
    yard.put(bucket, "a", DATA)
    with transaction.atomic():
        sharing.share(bucket, bucket, {"a": "b"}, on_exists=CopyOnExists.FAIL, moves=True)
        transaction.set_rollback(True)
    assert list(Object.objects.values_list("key", "current")) == [("a", True)]
    assert not Transfer.objects.exists()


def _at_once(*work: Callable[[], object]) -> None:
    begin = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> None:
        try:
            begin.wait(30)
            one()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(run, one) for one in work]:
            done.result()
