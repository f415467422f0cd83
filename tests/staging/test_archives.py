"""Archives: every range is the slice of one tar of what stands below a prefix."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from adapters.errors import Truncated
from staging import archive_cache, archive_index, archives, manifests, reading
from staging.errors import InvalidRequest, ObjectUnavailable, SourceMissing
from staging.models import Object, Replica
from staging.reading import Found
from staging.states import ObjectState, OnExists, ReplicaState
from tests.place import Place
from tests.staging.bodies import put
from tests.staging.folder import BOTH, FILES, broken, fill, of, read, unpack


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Segments of two members, so that few files make several; and no archive of another test."""
    monkeypatch.setattr(archive_index, "SEGMENT_MEMBERS", 2)
    monkeypatch.setattr("staging.archives._LOOK_UP_MEMBERS", 1)
    archive_cache.clear()
    yield
    archive_cache.clear()


@BOTH
def test_an_archive_holds_what_is_below_the_prefix_and_is_as_long_as_announced(place: Place, mounted: bool) -> None:
    fill(place, mounted=mounted)
    archive = of(place, mounted=mounted)
    data = read(archive)
    assert (len(data), archive.count) == (archive.size, len(FILES))
    assert unpack(data) == FILES
    assert list(unpack(data)) == sorted(FILES)


@BOTH
def test_every_range_is_the_slice(place: Place, mounted: bool) -> None:
    fill(place, mounted=mounted)
    archive = of(place, mounted=mounted)
    whole = read(archive)
    edges = sorted({0, 1, len(whole)} | {at + near for at in range(0, len(whole), 512) for near in (-1, 0, 1) if at})
    for start in edges[::3]:
        for stop in (start, start + 1, start + 700, len(whole) - 1, len(whole)):
            if start <= stop <= len(whole):
                assert read(archive, start, stop, piece=333) == whole[start:stop]
    for start, stop in ((-1, 5), (5, 4), (0, len(whole) + 1)):
        with pytest.raises(ValueError, match="bytes"):
            archive.open(start, stop)


def test_gnu_tar_extracts_it_with_the_right_digests(place: Place, tmp_path: Path) -> None:
    fill(place)
    out = tmp_path / "out"
    out.mkdir()
    archive = of(place)
    subprocess.run(["tar", "-xf", "-", "-C", out], input=read(archive), check=True, timeout=60)
    for member in manifests.members(archive):
        assert hashlib.sha256((out / str(member["path"])).read_bytes()).hexdigest() == member["sha256"]


@BOTH
def test_the_same_members_make_the_same_archive_and_others_another(place: Place, mounted: bool) -> None:
    fill(place, mounted=mounted)
    first, again = of(place, mounted=mounted), of(place, mounted=mounted)
    assert (first.etag, first.size) == (again.etag, again.size)
    put(place, b"another", key="run/sub/more", mounted=mounted)
    assert of(place, mounted=mounted).etag != first.etag


@BOTH
def test_content_of_the_same_length_makes_another_archive(place: Place, mounted: bool) -> None:
    fill(place, mounted=mounted)
    first = of(place, mounted=mounted)
    put(place, b"LAST" * 1000, key="run/z", mounted=mounted, on_exists=OnExists.REPLACE)
    assert of(place, mounted=mounted).etag != first.etag


def test_its_tag_is_strong_where_waybill_wrote_it_and_as_strong_as_the_storage_elsewhere(
    place: Place, sftp_place: Place
) -> None:
    for where, mounted, strong in ((place, False, True), (place, True, True), (sftp_place, True, False)):
        fill(where, mounted=mounted)
        assert of(where, mounted=mounted).etag_is_strong is strong
        assert unpack(read(of(where, mounted=mounted))) == FILES


@BOTH
def test_only_members_within_the_range_are_opened(place: Place, mounted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{number:03d}": bytes([number]) * 600 for number in range(60)}
    fill(place, files, mounted=mounted)
    archive, opened = of(place, mounted=mounted), []
    really = reading.open_stream

    def counting(found: Found, start: int, stop: int) -> Any:
        opened.append((found.copies[0].replica.key, start, stop))
        return really(found, start, stop)

    monkeypatch.setattr(reading, "open_stream", counting)
    each = 512 + 1024
    assert read(archive, 40 * each + 612, 41 * each + 612) == read(archive)[40 * each + 612 : 41 * each + 612]
    assert [(start, stop) for _, start, stop in opened[:2]] == [(100, 600), (0, 100)]
    assert len(opened) == 2 + 60


def test_a_range_in_the_middle_asks_the_catalog_for_its_own_segment_only(
    place: Place, django_assert_max_num_queries: Any
) -> None:
    fill(place, {f"{number:03d}": b"x" for number in range(60)})
    archive = of(place)
    with django_assert_max_num_queries(4):
        read(archive, 60 * 512, 60 * 512 + 10)


def test_no_connection_is_held_while_bytes_move(place: Place) -> None:
    fill(place)
    archive = of(place)
    with archive.open(0, archive.size) as stream:
        while stream.read(500):
            assert connection.vendor == "sqlite" or connection.connection is None


def test_what_waybill_keeps_on_the_same_storage_is_in_no_archive(place: Place) -> None:
    put(place, b"managed", key="run/m")
    (place.root / "run/.waybill/1").mkdir(parents=True)
    (place.root / "run/.waybill/1/x").write_bytes(b"theirs")
    (place.root / "run/.way").write_bytes(b"a")
    (place.root / "run/b").write_bytes(b"b")
    assert unpack(read(archives.of(place.mounted, ""))) == {"run/.way": b"a", "run/b": b"b"}


def test_a_member_that_is_lost_or_out_of_reach_is_told_at_once(place: Place) -> None:
    fill(place)
    for state in (ObjectState.LOST, ObjectState.UNAVAILABLE):
        Object.objects.filter(key="run/z").update(state=state)
        with pytest.raises(ObjectUnavailable, match="run/z"):
            of(place)
    Object.objects.update(state=ObjectState.AVAILABLE)
    Replica.objects.update(state=ReplicaState.SUSPECT)
    broken(of(place), Truncated)


@BOTH
def test_an_archive_of_nothing_is_missing(place: Place, mounted: bool) -> None:
    with pytest.raises(SourceMissing):
        of(place, mounted=mounted)
    fill(place, mounted=mounted)
    with pytest.raises(InvalidRequest):
        archives.of(place.mounted if mounted else place.managed, "run")
    with pytest.raises(InvalidRequest):
        archives.of(place.managed, "../")
