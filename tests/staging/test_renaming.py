"""Objects and folders get other names: all or nothing, no byte moves, and nobody takes one for the other."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from staging import aliases, archives, arrivals, catalog, janitor, reading, renaming, retiring, writing
from staging.alias_terms import AliasSpec
from staging.errors import DataPending, InvalidRequest, NameTaken, NotFound, SourceMissing
from staging.manifests import members
from staging.models import Alias, Bucket, Event, Object, Transfer, Upload
from staging.offers import Offer
from staging.renaming import Renamed, rename
from staging.states import AliasMode
from tests.staging.bodies import Body
from tests.staging.yard import Yard


def keys(bucket: Bucket) -> list[str]:
    return list(Object.objects.filter(bucket=bucket, current=True).order_by("key").values_list("key", flat=True))


def read(bucket: Bucket, key: str) -> bytes:
    found = reading.find(aliases.create(bucket, [AliasSpec(AliasMode.READ, key)])[0])
    with reading.open_stream(found, 0, found.size) as stream:
        return stream.read() if found.size else b""


def test_an_object_gets_another_key_and_its_bytes_stay(yard: Yard) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "a", b"data")
    before = yard.file(yard.copy_on(made, "home"))
    old = aliases.create(bucket, [AliasSpec(AliasMode.READ, "a")])[0]
    assert rename(bucket, "a", "d/b") == Renamed(1, 4)
    assert (keys(bucket), read(bucket, "d/b")) == (["d/b"], b"data")
    made.refresh_from_db()
    assert (made.key, yard.file(yard.copy_on(made, "home"))) == ("d/b", before)
    with pytest.raises(DataPending):
        reading.find(old)
    Alias.objects.filter(mode=AliasMode.WRITE).update(revoked_at=timezone.now())
    with pytest.raises(SourceMissing, match="deleted"):
        reading.find(old)
    event = Event.objects.get(kind="object.renamed")
    assert (event.subject, event.facts["from"], event.facts["object"]) == ("runs/d/b", "a", str(made.pk))
    assert not Transfer.objects.exists()
    yard.assert_all_is_counted()
    assert yard.put(bucket, "a", b"new").version > 1, "the old key goes on counting"
    assert read(bucket, "a") == b"new"
    assert rename(bucket, "d/b", "d/b") == Renamed(0, 0)


def test_a_folder_is_renamed_whole_in_as_many_batches_as_it_takes(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renaming, "_BATCH", 2)
    bucket = yard.bucket()
    for key in ("run/a", "run/b/c", "run/\U00010000", "run/\u00e9", "run/e'%_", "run", "run.x", "runs/a", "Run/a"):
        yard.put(bucket, key, key.encode())
    retiring.delete(Object.objects.get(key="run/a"))
    yard.put(bucket, "kept/z/a", b"deleted before")
    retiring.delete(Object.objects.get(key="kept/z/a"))
    yard.put(bucket, "run/a", b"run/a")
    assert rename(bucket, "run/", "kept/z/").objects == 5
    moved = ["kept/z/a", "kept/z/b/c", "kept/z/e'%_", "kept/z/\u00e9", "kept/z/\U00010000"]
    assert keys(bucket) == sorted(["run", "run.x", "runs/a", "Run/a", *moved])
    assert [read(bucket, key) for key in moved] == [key.replace("kept/z/", "run/").encode() for key in moved]
    yard.work()
    yard.assert_all_is_counted()


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("d/", "e/", NameTaken),
        ("d/a", "e/b", NameTaken),
        ("d/", "x", InvalidRequest),
        ("d/a", "x/", InvalidRequest),
        ("d/", "d/x/", InvalidRequest),
        ("d/a", "d//x", InvalidRequest),
        ("d/", "x" * 212 + "/" + "y" * 212 + "/" + "z" * 212 + "/" + "v" * 212 + "/" + "w" * 172 + "/", InvalidRequest),
        ("", "x", InvalidRequest),
        ("nothing", "x", NotFound),
        ("nothing/", "nothing/", NotFound),
    ],
)
def test_what_cannot_be_renamed_stays_whole(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, source: str, target: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(renaming, "_BATCH", 1)
    bucket = yard.bucket()
    for key in ("d/a", "d/b", "e/b", "d/long" + "g" * 100):
        yard.put(bucket, key, b"x")
    before = list(Object.objects.order_by("pk").values())
    with pytest.raises(error):
        rename(bucket, source, target)
    assert list(Object.objects.order_by("pk").values()) == before
    assert not Event.objects.filter(kind="object.renamed").exists()


def test_a_mounted_bucket_and_too_much_at_once_are_refused(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = Bucket.objects.create(project=yard.project, name="raw", storage=yard["home"], mounted=True)
    with pytest.raises(InvalidRequest, match="mounted"):
        rename(mounted, "a", "b")
    bucket = yard.bucket()
    for key in ("d/a", "d/b"):
        yard.put(bucket, key, b"x")
    monkeypatch.setattr(renaming, "MOST", 1)
    with pytest.raises(InvalidRequest, match="too much"):
        rename(bucket, "d/", "e/")


def test_who_waits_for_the_new_key_is_woken(yard: Yard) -> None:
    bucket = yard.bucket()
    yard.put(bucket, "a", b"x")
    woken = []

    class Sleeper:
        def wake(self) -> None:
            woken.append(keys(bucket))

    topics = arrivals.topics_of(yard.project.pk, "runs", "b")
    sleeper = Sleeper()
    arrivals.HUB.join(sleeper, topics)
    rename(bucket, "a", "b")
    arrivals.HUB.leave(sleeper, topics)
    arrivals.HUB.close()
    assert woken[-1] == ["b"]


def test_an_archive_that_is_kept_learns_the_new_names(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its members' ids are the same ones, by which it is known whether anything has changed."""
    monkeypatch.setattr("staging.archive_cache.LEAST_SEGMENTS", 0)
    bucket = yard.bucket()
    for key in ("d/a", "d/b"):
        yard.put(bucket, key, b"x")
    etags = [archives.of(bucket, "d/").etag]
    for source, target in (("d/a", "d/c"), ("d/c", "d/a")):
        rename(bucket, source, target)
        made = archives.of(bucket, "d/")
        assert {member["path"] for member in members(made)} == {key[2:] for key in keys(bucket)}
        etags.append(made.etag)


def test_a_reader_that_began_at_the_new_key_before_notices(yard: Yard) -> None:
    """What stood there may have been deleted in the middle of a download, which must not go on with this."""
    bucket = yard.bucket()
    yard.put(bucket, "b", b"other")
    yard.put(bucket, "a", b"x")
    alias = aliases.create(bucket, [AliasSpec(AliasMode.READ, "b")])[0]
    retiring.delete(Object.objects.get(key="b", current=True))
    rename(bucket, "a", "b")
    replaced_at = reading.find(alias).replaced_at
    assert replaced_at is not None
    assert replaced_at > alias.created_at


def test_a_reader_that_began_before_a_deletion_that_is_forgotten_notices(yard: Yard) -> None:
    bucket = yard.bucket()
    retiring.delete(yard.put(bucket, "a", b"x"))
    alias = aliases.create(bucket, [AliasSpec(AliasMode.READ, "a")])[0]
    assert janitor.sweep().purged == 0
    yard.hurry()
    yard.work()
    month = timedelta(days=31)
    Alias.objects.filter(pk=alias.pk).update(created_at=F("created_at") - month)
    Object.objects.update(retired_at=F("retired_at") - month)
    janitor.sweep()
    assert yard.put(bucket, "a", b"y").version == 1
    alias.refresh_from_db()
    replaced_at = reading.find(alias).replaced_at
    assert replaced_at
    assert replaced_at > alias.created_at
    alias = aliases.create(bucket, [AliasSpec(AliasMode.READ, "new")])[0]
    yard.put(bucket, "new", b"z")
    replaced_at = reading.find(alias).replaced_at
    assert replaced_at
    assert replaced_at < alias.created_at, "the first one that came may be read in parts"


def test_what_is_renamed_to_and_fro_keeps_a_number_that_the_catalog_takes(yard: Yard) -> None:
    bucket = yard.bucket()
    made = yard.put(bucket, "a", b"x")
    for source, target in [("a", "b"), ("b", "a")] * 25:
        rename(bucket, source, target)
    made.refresh_from_db()
    assert (made.key, made.version) == ("a", 51)


def test_an_upload_that_nobody_completes_does_not_bring_the_old_name_back(yard: Yard) -> None:
    bucket = yard.bucket()
    yard.put(bucket, "a", b"x")
    alias = aliases.create(bucket, [AliasSpec(AliasMode.WRITE, "a", on_exists="replace")])[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "register", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            writing.receive(alias, Offer(3), Body(b"new"))
    rename(bucket, "a", "b")
    Upload.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    janitor.sweep()
    assert keys(bucket) == ["b"]


def test_who_deletes_a_key_does_not_delete_what_has_left_it(yard: Yard) -> None:
    bucket = yard.bucket()
    seen = yard.put(bucket, "a", b"one")
    rename(bucket, "a", "b")
    retiring.delete(seen)
    assert keys(bucket) == ["b"]
