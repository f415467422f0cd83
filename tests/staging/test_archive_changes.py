"""An archive is pinned to one moment, and one that cannot be told to its end never ends politely."""

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from adapters.errors import AdapterError, Damaged, Offline, Truncated, VersionChanged
from staging import archive_cache, archive_index, retiring, storages, transfers, verified_reading
from staging.models import Object, Replica, Transfer
from staging.states import OnExists
from staging.storages import StorageSpec
from tests.place import Place
from tests.servers.faulty import Faults
from tests.staging.bodies import put
from tests.staging.folder import FILES, MUCH_LATER, broken, fill, of, read, unpack


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Segments of two members, so that few files make several; and no archive of another test."""
    monkeypatch.setattr(archive_index, "SEGMENT_MEMBERS", 2)
    monkeypatch.setattr("staging.archives._LOOK_UP_MEMBERS", 1)
    archive_cache.clear()
    yield
    archive_cache.clear()


@pytest.mark.parametrize("from_byte", [0, 1000])
def test_another_replica_goes_on_when_one_fails(faulty_place: Place, faults: Faults, from_byte: int) -> None:
    fill(faulty_place)
    second = storages.create(faulty_place.project, StorageSpec("second", "memory", {}, tier=2))
    for replica in Replica.objects.all():
        data = (faulty_place.root / replica.key).read_bytes()
        with storages.adapter_for(second).open_write(replica.key, size=len(data)) as session:
            session.write(data)
            session.publish()
        Replica.objects.create(object=replica.object, storage=second, key=replica.key, size=len(data))
    faults.fail("read", Offline, from_byte=from_byte)
    assert unpack(read(of(faulty_place))) == FILES


def test_a_storage_that_fails_breaks_the_stream(faulty_place: Place, faults: Faults) -> None:
    fill(faulty_place)
    archive = of(faulty_place)
    faults.fail("read", Offline)
    with pytest.raises(Offline):
        read(archive)


def test_what_is_replaced_meanwhile_is_read_as_it_was(place: Place) -> None:
    fill(place)
    archive = of(place)
    whole = read(archive)
    with archive.open(0, archive.size) as stream:
        head = stream.read(700)
        for name in FILES:
            put(place, b"newer", key=f"run/{name}", on_exists=OnExists.REPLACE)
        put(place, b"new", key="run/sub/new")
        rest = b"".join(iter(lambda: stream.read(1000), b""))
    assert head + rest == whole
    assert read(archive, 1234, 9999) == whole[1234:9999]
    assert set(unpack(read(of(place))).values()) == {b"newer", b"new"}


def test_a_new_member_does_not_disturb_one_that_is_read(place: Place) -> None:
    for mounted in (False, True):
        fill(place, mounted=mounted)
        archive = of(place, mounted=mounted)
        whole = read(archive)
        put(place, b"new", key="run/b", mounted=mounted)
        put(place, b"new", key="run/zz", mounted=mounted)
        if mounted:
            for name in ("run/b", "run/zz"):
                os.utime(place.root / name, (MUCH_LATER, MUCH_LATER))
        assert read(archive) == whole


@pytest.mark.parametrize(
    ("damage", "has_sums", "error"),
    [(b"LAST" * 1000, True, Damaged), (b"LAST" * 1000, False, Truncated), (b"last" * 999, True, Truncated)],
)
def test_a_retired_version_whose_bytes_are_others_never_ends_politely(
    place: Place, monkeypatch: pytest.MonkeyPatch, damage: bytes, has_sums: bool, error: type[AdapterError]
) -> None:
    fill(place)
    if not has_sums:
        monkeypatch.setattr(verified_reading, "WHOLE_BYTES", 0)  # As of a large one that came before there were sums.
    archive = of(place)
    retired = Object.objects.get(key="run/z")
    put(place, b"newer", key="run/z", on_exists=OnExists.REPLACE)
    file = place.root / retired.replicas.get().key
    file.unlink()
    file.write_bytes(damage)
    broken(archive, error)
    with pytest.raises(error):
        read(archive, archive.size - 1024 - 3000, archive.size - 1024 - 2000)


def test_a_retired_replica_that_was_never_verified_is_not_read(place: Place) -> None:
    fill(place)
    archive = of(place)
    Replica.objects.filter(object__key="run/z").update(verified_at=None)
    put(place, b"newer", key="run/z", on_exists=OnExists.REPLACE)
    broken(archive, Truncated)


def test_a_deleted_member_breaks_the_stream_once_its_bytes_are_gone(place: Place) -> None:
    fill(place)
    archive = of(place)
    whole = read(archive)
    retiring.delete(Object.objects.get(key="run/sub/one block"))
    assert read(archive) == whole
    transfers.run(str(Transfer.objects.get().pk))
    assert broken(archive, VersionChanged) >= 512 + len(FILES["a.bin"])
    retiring.purge_tombstones(timezone.now() + timedelta(days=1))
    Transfer.objects.all().delete()
    retiring.purge_tombstones(timezone.now() + timedelta(days=1))
    assert not Object.objects.filter(key="run/sub/one block").exists()
    broken(archive, VersionChanged)
    assert b"one block" not in read(of(place))


def test_rows_that_changed_by_themselves_break_the_stream(place: Place) -> None:
    fill(place)
    archive = of(place)
    Object.objects.filter(key="run/z").update(size=3999)
    broken(archive, VersionChanged)


def test_a_mounted_file_that_changes_breaks_the_stream(place: Place) -> None:
    fill(place, mounted=True)
    archive = of(place, mounted=True)
    with archive.open(0, archive.size) as stream:
        stream.read(100)
        (place.root / "run/z").write_bytes(b"LAST" * 1000)
        with pytest.raises(VersionChanged):
            b"".join(iter(lambda: stream.read(1000), b""))
    (place.root / "run/sub/one block").unlink()
    broken(archive, VersionChanged)
