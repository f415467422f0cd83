"""After a crash at any point the janitor adopts what was whole and removes what was not, once."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from adapters.errors import Offline
from staging import (
    aliases,
    checkpoint_work,
    checkpoints,
    copy_jobs,
    janitor,
    objects,
    placement,
    replicas,
    reservations,
    retiring,
    transfers,
    unpacking_uploads,
    writing,
)
from staging.archive_limits import Limits
from staging.checkpoints import CheckpointSpec
from staging.copy_specs import CopySpec
from staging.models import Alias, Event, IdempotencyKey, Object, Storage, Upload
from staging.states import AliasMode, CopyOnExists, CopyState, OnExists
from staging.storages import adapter_for
from staging.unpacking import Kind, unpack
from staging.writing import Offer
from tests.place import Place
from tests.servers.faulty import Faults
from tests.staging.bodies import KEY, Body, put
from tests.staging.packing import tar
from tests.wire.desk import sha256

DATA = b"what a crashed writer left" * 1000

BOTH = pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])


def crashed(
    place: Place,
    *,
    mounted: bool = False,
    written: bytes | None = None,
    noted: bool = False,
    published: bool = False,
    declared: bool = True,
    **spec: Any,
) -> Upload:
    """An upload whose writer died: after its reservation, while writing, before publish, or before registering."""
    alias = place.alias(KEY, AliasMode.WRITE, mounted=mounted, **spec)
    upload_id = uuid.uuid4()
    key = placement.planned_key(alias.bucket, KEY, str(upload_id))
    declared_size = len(DATA) if declared else None
    upload = reservations.reserve(alias, place.storage, key, upload_id, declared_size, "text/plain")
    if not declared:
        reservations.grow(upload, len(DATA))
    if written is not None:
        session = adapter_for(place.storage).open_write(key, size=None)
        if mounted:
            reservations.note_token(upload, session.token)
        session.write(written)
        if noted:
            reservations.note_content(upload, len(DATA), sha256(DATA))
        if published:
            session.publish()
        else:
            session.suspend()
    return upload


@BOTH
@pytest.mark.parametrize("declared", [True, False], ids=["known length", "stream"])
def test_bytes_that_were_published_and_are_whole_are_adopted(place: Place, mounted: bool, declared: bool) -> None:
    upload = crashed(place, mounted=mounted, declared=declared, written=DATA, noted=True, published=True)
    swept = place.sweep()
    assert (swept.adopted, swept.removed) == (1, 0)
    made = Object.objects.get()
    assert (made.id, made.size, made.sha256, made.content_type) == (upload.id, len(DATA), sha256(DATA), "text/plain")
    assert Event.objects.filter(kind="object.created").count() == 1
    place.assert_nothing_is_left()
    assert put(place, DATA, mounted=mounted).replayed


@BOTH
@pytest.mark.parametrize("written", [None, b"", DATA[:10]])
@pytest.mark.parametrize("noted", [False, True], ids=["", "noted"])
def test_a_write_that_was_not_published_is_removed(
    place: Place, mounted: bool, written: bytes | None, noted: bool
) -> None:
    crashed(place, mounted=mounted, written=written, noted=noted)
    assert place.sweep().removed == 1
    assert place.files() == []
    assert not Object.objects.exists()
    place.assert_nothing_is_left()


@pytest.mark.parametrize("published", [False, True], ids=["", "published"])
def test_all_bytes_of_a_managed_object_are_completed_by_themselves(place: Place, published: bool) -> None:
    crashed(place, written=DATA, published=published)
    assert place.sweep().adopted == 1
    assert Object.objects.get().sha256 == sha256(DATA)
    place.assert_nothing_is_left()


@pytest.mark.parametrize("noted", [False, True], ids=["", "noted"])
@pytest.mark.parametrize("published", [False, True], ids=["", "published"])
def test_what_a_client_that_has_begun_anew_sent_before_does_not_stand_in_its_way(
    place: Place, published: bool, noted: bool
) -> None:
    before = crashed(place, written=DATA, published=published, noted=noted)

    def let_the_janitor_come() -> None:
        Upload.objects.filter(pk=before.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        janitor.sweep()

    other = b"what its second run made"
    receipt = writing.receive(before.alias, Offer(len(other)), Body(other, at_end=let_the_janitor_come))
    assert (receipt.object.sha256, receipt.replayed) == (sha256(other), False)
    assert not Upload.objects.exists()
    place.assert_nothing_is_left()


def test_all_bytes_of_a_mounted_file_are_completed_after_they_were_read_once_more(place: Place) -> None:
    upload = crashed(place, mounted=True, written=DATA)
    assert place.sweep().adopted == 1
    assert (place.root / upload.key).read_bytes() == DATA
    place.assert_nothing_is_left()


def test_in_a_mounted_bucket_nothing_is_published_that_is_not_what_was_announced(place: Place) -> None:
    upload = crashed(place, mounted=True, written=DATA)
    Upload.objects.filter(pk=upload.pk).update(promised={"sha256": sha256(b"other")})
    place.sweep()
    assert place.files() == []
    assert not Object.objects.exists()
    place.assert_nothing_is_left()


def test_a_foreign_file_of_the_same_length_is_not_taken_for_a_mounted_upload(place: Place) -> None:
    upload = crashed(place, mounted=True)
    theirs = place.root / upload.key
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_bytes(bytes(len(DATA)))
    assert place.sweep().removed == 1
    assert theirs.read_bytes() == bytes(len(DATA))
    assert not Object.objects.exists()


def test_published_bytes_that_are_not_those_that_were_noted_are_removed(place: Place) -> None:
    for wrong in (DATA[::-1], DATA + b"!"):
        crashed(place, written=wrong, noted=True, published=True)
        assert place.sweep().removed == 1
        place.assert_nothing_is_left()


def test_a_file_of_somebody_else_at_a_mounted_key_is_never_removed(place: Place) -> None:
    upload = crashed(place, mounted=True, written=b"partial", noted=True)
    theirs = place.root / upload.key
    theirs.write_bytes(b"somebody else's")
    assert place.sweep().removed == 1
    assert theirs.read_bytes() == b"somebody else's"
    assert not Object.objects.exists()


def test_an_unfinished_write_whose_token_was_never_noted_is_told_from_those_of_others(place: Place) -> None:
    upload = crashed(place, mounted=True)
    adapter = adapter_for(place.storage)
    adapter.open_write(upload.key, size=len(DATA)).suspend()
    theirs = adapter.open_write(upload.key, size=len(DATA) + 1)
    theirs.suspend()
    assert place.sweep().removed == 1
    assert adapter.unfinished_writes(upload.key) == [theirs.token]


def test_an_unfinished_write_that_a_living_upload_may_have_begun_is_looked_at_again(place: Place) -> None:
    dead, living = crashed(place, mounted=True), crashed(place, mounted=True)
    adapter = adapter_for(place.storage)
    left = adapter.open_write(dead.key, size=len(DATA))
    left.suspend()
    Upload.objects.filter(pk=dead.pk).update(lease_expires_at=timezone.now())
    assert janitor.sweep().postponed == 1
    assert adapter.unfinished_writes(dead.key) == [left.token]
    Upload.objects.filter(pk=dead.pk).update(lease_expires_at=timezone.now())
    reservations.note_token(living, "another")
    assert janitor.sweep().removed == 1
    assert adapter.unfinished_writes(dead.key) == []
    assert list(Upload.objects.all()) == [living]


def test_all_bytes_of_a_mounted_file_are_not_completed_over_what_came_after_them(place: Place) -> None:
    crashed(place, mounted=True, written=DATA, on_exists=OnExists.REPLACE)
    standing = put(place, b"newer", mounted=True, on_exists=OnExists.REPLACE).object
    place.sweep()
    assert (place.root / standing.replicas.get().key).read_bytes() == b"newer"
    assert Object.objects.get() == standing
    place.assert_nothing_is_left()


def test_all_bytes_of_a_mounted_file_are_not_completed_after_it_was_deleted(place: Place) -> None:
    """Another attempt of the same client came through, and what it brought was deleted."""
    crashed(place, mounted=True, written=DATA)
    objects.delete(put(place, DATA, mounted=True).object.bucket, KEY)
    place.sweep()
    assert place.files() == []
    assert not Object.objects.filter(current=True).exists()
    place.assert_nothing_is_left()


@BOTH
def test_all_bytes_of_an_upload_that_was_given_up_are_removed(place: Place, mounted: bool) -> None:
    upload = crashed(place, mounted=mounted, written=DATA)
    token = adapter_for(place.storage).unfinished_writes(upload.key)[0]
    reservations.suspend(upload, token, len(DATA))
    reservations.supersede(upload.alias, KEY)
    assert place.sweep().removed == 1
    assert not Object.objects.exists()
    assert place.files() == []
    place.assert_nothing_is_left()


@pytest.mark.parametrize("content", [DATA, b"other"], ids=["equal", "other"])
@pytest.mark.parametrize("on_exists", [OnExists.FAIL, OnExists.REPLACE])
def test_what_was_committed_meanwhile_stands(place: Place, on_exists: OnExists, content: bytes) -> None:
    crashed(place, written=DATA, noted=True, published=True, on_exists=on_exists)
    standing = put(place, content).object
    assert place.sweep().removed == 1
    assert Object.objects.get() == standing
    place.assert_nothing_is_left()


@pytest.mark.parametrize("noted", [False, True], ids=["", "noted"])
@pytest.mark.parametrize("on_exists", OnExists)
def test_what_was_acknowledged_once_more_since_is_not_replaced(place: Place, on_exists: OnExists, noted: bool) -> None:
    """A job that was begun anew sent what stands there already; what its first attempt sent must not follow."""
    put(place, b"right")
    crashed(place, written=DATA, noted=noted, published=True, on_exists=OnExists.REPLACE)
    assert put(place, b"right", on_exists=on_exists).replayed
    assert place.sweep().removed == 1
    assert Object.objects.get().sha256 == sha256(b"right")
    place.assert_nothing_is_left()


def by_an_archive(place: Place, on_exists: OnExists) -> bool:
    alias = place.alias("d/", AliasMode.WRITE_PREFIX, on_exists=on_exists)
    files = unpack(Body(tar({"x.bin": b"right"})), Kind.TAR, Limits(), prefix="d/", folder=place.root)
    return unpacking_uploads.receive(alias, "d/", files).replayed


def by_a_copy(place: Place, on_exists: OnExists) -> bool:
    put(place, b"right", key="from")
    spec = CopySpec(place.managed, "from", place.managed, KEY, on_exists=CopyOnExists(on_exists))
    return copy_jobs.create(place.project, spec).state == CopyState.DONE


def by_a_copy_of_bytes(place: Place, on_exists: OnExists) -> bool:
    (place.root / "from").write_bytes(b"right")
    spec = CopySpec(place.mounted, "from", place.managed, KEY, on_exists=CopyOnExists(on_exists))
    job = copy_jobs.create(place.project, spec)
    copy_jobs.advance(str(job.pk))
    transfers.run(str(job.transfers.get().pk))
    (place.root / "from").unlink()
    job.refresh_from_db()
    return job.state == CopyState.DONE


def by_a_copy_within(place: Place, on_exists: OnExists) -> bool:
    """The source is known, and the storage copies it by itself."""
    put(place, b"right", key="from", mounted=True)
    spec = CopySpec(place.mounted, "from", place.managed, KEY, on_exists=CopyOnExists(on_exists))
    job = copy_jobs.create(place.project, spec)
    copy_jobs.advance(str(job.pk))
    transfers.run(str(job.transfers.get().pk))
    job.refresh_from_db()
    return job.state == CopyState.DONE


def by_a_restore(place: Place, on_exists: OnExists) -> bool:
    Storage.objects.update(tier=2)
    checkpoint, _ = checkpoints.create(place.project, CheckpointSpec("step", place.managed, KEY))
    checkpoint_work.sweep()
    checkpoint.refresh_from_db()
    checkpoints.restore(checkpoint)
    checkpoint_work.sweep()
    checkpoint.refresh_from_db()
    return checkpoint.restored_at is not None


@pytest.mark.parametrize("noted", [False, True], ids=["", "noted"])
@pytest.mark.parametrize("on_exists", OnExists)
@pytest.mark.parametrize("way", [by_an_archive, by_a_copy, by_a_copy_of_bytes, by_a_copy_within, by_a_restore])
def test_what_was_acknowledged_once_more_another_way_is_not_replaced(
    place: Place, way: Callable[[Place, OnExists], bool], on_exists: OnExists, noted: bool
) -> None:
    right = put(place, b"right").object
    crashed(place, written=DATA, noted=noted, published=True, on_exists=OnExists.REPLACE)
    assert way(place, on_exists)
    assert place.sweep().adopted == 0
    assert Object.objects.get(bucket=place.managed, key=KEY) == right


def test_what_was_committed_before_is_replaced_by_what_a_crashed_writer_had_published(place: Place) -> None:
    put(place, b"older")
    crashed(place, written=DATA, noted=True, published=True, on_exists=OnExists.REPLACE)
    assert place.sweep().adopted == 1
    assert Object.objects.get(current=True).sha256 == sha256(DATA)


def test_a_living_upload_is_left_alone(place: Place) -> None:
    upload = crashed(place, written=DATA[:5])
    assert janitor.sweep().removed == 0
    assert Upload.objects.get() == upload
    assert len(place.files()) == 1


def test_a_storage_that_is_down_is_come_back_to_and_does_not_stop_the_others(
    place: Place, faulty_place: Place, faults: Faults
) -> None:
    faults.fail("read", Offline)
    stuck = crashed(faulty_place, written=DATA, noted=True, published=True)
    crashed(place, written=DATA[:5])
    swept = place.sweep()
    assert (swept.removed, swept.postponed) == (1, 1)
    faults.heal()
    assert janitor.sweep().adopted == 0, "the claim's lease still runs"
    assert faulty_place.sweep().adopted == 1
    assert Object.objects.get().id == stuck.id


def test_a_storage_whose_credential_cannot_be_opened_does_not_stop_the_others(place: Place, sftp_place: Place) -> None:
    crashed(sftp_place, written=None)
    credential = Storage.objects.get(pk=sftp_place.storage.pk).credential
    assert credential
    credential.sealed, credential.revision = b"sealed by a key that is gone", 99
    credential.save()
    crashed(place, written=DATA[:5])
    swept = place.sweep()
    assert (swept.removed, swept.postponed) == (1, 1)


def test_space_that_a_late_writer_reserved_before_the_claim_is_given_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = crashed(place, declared=False)
    settle = janitor._settle

    def grow_first(found: Upload, done: janitor.Sweep) -> None:
        reservations.grow(upload, 2 * len(DATA))
        settle(found, done)

    monkeypatch.setattr(janitor, "_settle", grow_first)
    assert place.sweep().removed == 1
    place.assert_nothing_is_left()


def test_two_janitors_settle_an_upload_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed(place, written=DATA, noted=True, published=True)
    settle = janitor._settle

    def both(found: Upload, done: janitor.Sweep) -> None:
        other = Upload.objects.select_related("alias__bucket", "storage__credential").get(pk=found.pk)
        settle(found, done)
        settle(other, done)

    monkeypatch.setattr(janitor, "_settle", both)
    swept = place.sweep()
    assert (swept.adopted, swept.removed, swept.postponed) == (1, 0, 0)
    assert Event.objects.filter(kind="object.created").count() == 1


def test_a_stream_that_crashed_is_remembered_on_its_alias(place: Place) -> None:
    upload = crashed(place, declared=False, written=DATA[:5])
    place.sweep()
    assert upload.alias.broken_streams.filter(key=upload.target_key).exists()


def test_what_is_old_is_forgotten_and_what_is_not_is_kept(place: Place, settings: Settings) -> None:
    long_ago = timezone.now() - timedelta(days=400)
    gone, kept = put(place, b"1", key="d/1").object, put(place, b"2", key="d/2").object
    retiring.delete(gone)
    for replica in gone.replicas.all():
        replicas.forget(replica)
    Object.objects.filter(pk=gone.pk).update(retired_at=long_ago)
    expired = place.alias("d/old")
    Alias.objects.filter(pk=expired.pk).update(expires_at=long_ago)
    Event.objects.filter(kind="alias.created").update(created_at=long_ago)
    assert janitor.sweep().purged >= 3
    assert Object.objects.get() == kept
    assert not Alias.objects.filter(pk=expired.pk).exists()
    assert not Event.objects.filter(kind="alias.created").exists()
    assert not IdempotencyKey.objects.exists()
    assert aliases.state_of(place.alias("d/new")) == "live"
