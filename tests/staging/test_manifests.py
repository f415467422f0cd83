"""Manifests tell what an archive holds; and an archive that is unchanged is laid out once."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.errors import VersionChanged
from staging import archive_cache, archive_index, archives, manifests, retiring
from staging.archives import Archive
from staging.errors import ObjectUnavailable
from staging.models import Object
from staging.states import ObjectState, OnExists
from tests.place import Place
from tests.staging.bodies import put
from tests.staging.folder import BOTH, FILES, fill, of, read


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Segments of two members, so that few files make several; and no archive of another test."""
    monkeypatch.setattr(archive_index, "SEGMENT_MEMBERS", 2)
    monkeypatch.setattr("staging.archives._LOOK_UP_MEMBERS", 1)
    archive_cache.clear()
    yield
    archive_cache.clear()


def test_an_archive_that_is_unchanged_is_laid_out_once(place: Place, django_assert_num_queries: Any) -> None:
    fill(place)
    first = of(place)
    with django_assert_num_queries(1):
        assert of(place) is first
    changes = (
        lambda: put(place, b"LAST" * 1000, key="run/z", on_exists=OnExists.REPLACE),
        lambda: put(place, b"", key="run/new"),
        lambda: retiring.delete(Object.objects.get(key="run/new", current=True)),
        lambda: put(place, b"", key="run/new"),
        lambda: (
            retiring.delete(Object.objects.get(key="run/z", current=True)),
            put(place, b"LAST" * 1000, key="run/z"),
        ),
    )
    seen = {archive_cache.fingerprint(place.managed, "run/")}
    for count, change in zip((2, 3, 3, 4, 5), changes, strict=True):
        change()
        made = of(place)
        assert read(made) == read(Archive("run/", archive_index.lay_out(made.members.all()), made.members))
        seen.add(archive_cache.fingerprint(place.managed, "run/"))
        assert len(seen) == count  # What was added and removed again leaves all as it was before.
    Object.objects.filter(key="run/z", current=True).update(state=ObjectState.LOST)
    with pytest.raises(ObjectUnavailable):
        of(place)


def test_what_changes_while_an_archive_is_laid_out_is_not_taken_for_what_was_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place)
    with monkeypatch.context() as patched:
        really = archive_cache.fingerprint

        def slow(*of_what: Any) -> Any:
            found = really(*of_what)
            put(place, b"", key="run/new")
            return found

        patched.setattr(archive_cache, "fingerprint", slow)
        assert of(place).count == len(FILES) + 1
    retiring.delete(Object.objects.get(key="run/new"))
    assert of(place).count == len(FILES)


def test_the_cache_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_cache, "MOST_SEGMENTS", 6)
    for folder in "abc":
        for number in range(6):
            put(place, b"x", key=f"{folder}/{number}")
    first = archives.of(place.managed, "a/")
    archives.of(place.managed, "b/")
    assert archives.of(place.managed, "a/") is first
    archives.of(place.managed, "c/")
    assert archives.of(place.managed, "a/") is first
    assert len(archive_cache._kept) == 2


@BOTH
def test_the_manifest_names_every_member_and_its_document_is_json(place: Place, mounted: bool) -> None:
    fill(place, mounted=mounted)
    archive = of(place, mounted=mounted)
    document = json.loads(b"".join(manifests.document(archive, bucket="b")))
    assert {name: document[name] for name in ("bucket", "prefix", "count", "size", "etag")} == {
        "bucket": "b",
        "prefix": "run/",
        "count": len(FILES),
        "size": sum(map(len, FILES.values())),
        "etag": archive.etag,
    }
    assert [member["path"] for member in document["members"]] == sorted(FILES)
    for member in document["members"]:
        data = FILES[member["path"]]
        assert (member["size"], member["content_type"]) == (len(data), "application/octet-stream")
        assert member["sha256"] == (None if mounted else hashlib.sha256(data).hexdigest())


def test_a_manifest_that_cannot_be_finished_is_no_json(place: Place) -> None:
    fill(place)
    archive = of(place)
    Object.objects.filter(key="run/z").update(size=3999)
    told: list[bytes] = []
    with pytest.raises(VersionChanged):
        told.extend(manifests.document(archive, bucket="b"))
    with pytest.raises(json.JSONDecodeError):
        json.loads(b"".join(told))
