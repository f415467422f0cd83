"""Restores: members of a checkpoint come back to their keys, whatever has become of these and of them meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from staging import aliases, checkpoint_work, checkpoints, reading, renaming, retiring, versions
from staging.alias_terms import AliasSpec
from staging.errors import SourceMissing
from staging.models import Object
from staging.states import AliasMode, CheckpointState
from tests.staging.test_checkpoints import content, finish, take, told
from tests.staging.yard import DATA, Yard


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_member_comes_back_from_the_key_of_another_that_comes_back_there(yard: Yard, first: str) -> None:
    bucket = yard.bucket()
    # They are restored in the order in which they were pinned, which is that of their keys.
    other = {"a": "b", "b": "a"}[first]
    made = {key: yard.put(bucket, key, key.encode()) for key in (first, other)}
    checkpoint = take(yard, bucket)
    assert finish(yard, checkpoint) == CheckpointState.COMPLETE
    retiring.delete(made[other])
    renaming.rename(bucket, first, other)
    checkpoints.restore(checkpoint)
    checkpoint.refresh_from_db()
    assert checkpoint.restored_at
    assert {key: content(yard, bucket, key) for key in made} == {"a": b"a", "b": b"b"}


def test_a_member_that_was_replaced_where_it_had_been_renamed_to_comes_back(yard: Yard) -> None:
    bucket = yard.bucket()
    yard.put(bucket, "a", DATA)
    checkpoint = take(yard, bucket)
    assert finish(yard, checkpoint) == CheckpointState.COMPLETE
    renaming.rename(bucket, "a", "b")
    yard.put(bucket, "b", b"new")
    checkpoints.restore(checkpoint)
    checkpoint.refresh_from_db()
    assert checkpoint.restored_at
    assert (content(yard, bucket, "a"), content(yard, bucket, "b")) == (DATA, b"new")


def test_a_key_that_a_restore_leaves_is_known_to_have_had_another_object(yard: Yard) -> None:
    bucket = yard.bucket()
    yard.put(bucket, "a", DATA)
    checkpoint = take(yard, bucket)
    assert finish(yard, checkpoint) == CheckpointState.COMPLETE
    renaming.rename(bucket, "a", "b")
    reader = aliases.create(bucket, [AliasSpec(AliasMode.READ, "b")])[0]
    assert reading.find(reader).sha256
    checkpoints.restore(checkpoint)
    assert (content(yard, bucket, "a"), told("object.restored")[0]["from"]) == (DATA, "b")
    with pytest.raises(SourceMissing):
        reading.find(reader)
    yard.put(bucket, "b", DATA[::-1])
    replaced_at = reading.find(reader).replaced_at
    assert replaced_at
    assert replaced_at > reader.created_at, "who goes on with a download would get the rest of another object"


def test_who_reads_a_member_goes_on_reading_it_behind_a_restore(yard: Yard) -> None:
    bucket = yard.bucket()
    yard.put(bucket, "a", DATA)
    checkpoint = take(yard, bucket)
    assert finish(yard, checkpoint) == CheckpointState.COMPLETE
    yard.put(bucket, "a", b"other")
    reader = checkpoints.read_alias(checkpoint, bucket.name, "a")
    checkpoints.restore(checkpoint)
    assert reading.find(reader).replaced_at is None


def test_a_restore_that_is_overtaken_says_so_until_it_goes_on(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "a", DATA)
    checkpoint = take(yard, bucket)
    assert finish(yard, checkpoint) == CheckpointState.COMPLETE
    retiring.delete(made)
    with monkeypatch.context() as patch:
        taken = Object(bucket=bucket, key="a", version=made.version, size=1, sha256="0" * 64)
        patch.setattr(versions, "reinstate", lambda *_: taken.save(force_insert=True))
        checkpoints.restore(checkpoint)
    assert (checkpoint.restored_at, "written by others" in checkpoint.failure) == (None, True)
    checkpoint_work.sweep()
    checkpoint.refresh_from_db()
    assert (checkpoint.restored_at is None, checkpoint.failure) == (False, "")
    assert content(yard, bucket, "a") == DATA


def test_an_upload_at_the_moment_of_a_restore_stays_and_holds_nothing_up(yard: Yard) -> None:
    bucket = yard.bucket()
    made = [yard.put(bucket, key, DATA) for key in ("a", "b")]
    checkpoint = take(yard, bucket)
    assert finish(yard, checkpoint) == CheckpointState.COMPLETE
    for one in made:
        retiring.delete(one)
    is_written, may_commit = threading.Event(), threading.Event()

    def upload() -> None:
        with transaction.atomic():
            late = Object.objects.create(bucket=bucket, key="a", version=2, size=1, sha256="0" * 64)
            Object.objects.filter(pk=late.pk).update(created_at=timezone.now() + timedelta(minutes=1))
            is_written.set()
            may_commit.wait(5)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(upload)
        assert is_written.wait(5)
        threading.Timer(0.3, may_commit.set).start()
        checkpoints.restore(checkpoint)
        other.result()
    checkpoint_work.sweep()
    checkpoint.refresh_from_db()
    assert checkpoint.restored_at
    now = Object.objects.filter(bucket=bucket, current=True).values_list("key", "size")
    assert sorted(now) == [("a", 1), ("b", len(DATA))]
