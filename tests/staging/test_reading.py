"""Reading: which copy serves, and that a failing one hands over at the same byte."""

import pytest
from django.db import connection

from adapters.base import ReadStream
from adapters.errors import AdapterError, NotFound, Offline, Truncated
from staging import catalog, reading, retiring, storages
from staging.errors import DataPending, ObjectUnavailable, SourceMissing
from staging.models import Bucket, Object, Replica, Storage
from staging.states import AliasMode, ObjectState, ReplicaState, StorageState
from staging.storages import StorageSpec
from tests.place import Place
from tests.servers.faulty import Faults
from tests.staging.bodies import KEY, put

DATA = bytes(range(256)) * 20_000


def read(place: Place, start: int = 0, stop: int | None = None) -> bytes:
    found = reading.find(place.alias(KEY))
    with reading.open_stream(found, start, found.size if stop is None else stop) as stream:
        return read_all(stream)


def read_all(stream: ReadStream) -> bytes:
    return b"".join(iter(lambda: stream.read(100_000), b""))


@pytest.fixture
def copied(faulty_place: Place) -> Replica:
    """The object on the failing storage, which is read first, and its second copy, in memory."""
    made = put(faulty_place, DATA).object
    second = storages.create(faulty_place.project, StorageSpec("second", "memory", {}, tier=2))
    with storages.adapter_for(second).open_write("copy", size=len(DATA)) as session:
        session.write(DATA)
        session.publish()
    return Replica.objects.create(object=made, storage=second, key="copy", size=len(DATA))


@pytest.mark.parametrize(("start", "stop"), [(0, None), (5, 5), (1, 3_000_001), (len(DATA), len(DATA))])
def test_exactly_the_bytes_asked_for_are_read(place: Place, start: int, stop: int | None) -> None:
    put(place, DATA)
    assert read(place, start, stop) == DATA[start:stop]


def test_no_database_connection_is_held_by_an_open_stream(place: Place) -> None:
    put(place, DATA)
    found = reading.find(place.alias(KEY))
    with reading.open_stream(found, 0, found.size) as stream:
        assert connection.vendor == "sqlite" or connection.connection is None
        assert read_all(stream) == DATA


@pytest.mark.parametrize("from_byte", [0, 1, 1_000_000, 4_000_000])
@pytest.mark.parametrize("error", [Offline, Truncated, NotFound])
def test_another_copy_goes_on_at_the_same_byte(
    faulty_place: Place, faults: Faults, copied: Replica, from_byte: int, error: type[AdapterError]
) -> None:
    faults.fail("read", error, from_byte=from_byte)
    assert read(faulty_place) == DATA
    assert read(faulty_place, 7, 5_000_000) == DATA[7:5_000_000]


def test_a_copy_that_cannot_be_opened_is_passed_over(faulty_place: Place, faults: Faults, copied: Replica) -> None:
    faults.fail("open_read", Offline)
    assert read(faulty_place) == DATA


def test_when_every_copy_fails_the_first_error_is_told(faulty_place: Place, faults: Faults, copied: Replica) -> None:
    faults.fail("read", Offline)
    storages.adapter_for(copied.storage).delete(copied.key)
    with pytest.raises(Offline):
        read(faulty_place)


@pytest.mark.parametrize("damage", [b"", DATA + b"!", None], ids=["empty", "longer", "gone"])
def test_a_damaged_copy_is_never_delivered(place: Place, damage: bytes | None) -> None:
    replica = put(place, DATA).object.replicas.get()
    file = place.root / replica.key
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    with pytest.raises(Truncated):
        read(place)


def test_copies_that_are_not_readable_are_not_tried(faulty_place: Place, faults: Faults, copied: Replica) -> None:
    faults.fail("open_read", Offline)
    Replica.objects.filter(pk=copied.pk).update(state=ReplicaState.COPYING)
    with pytest.raises(Offline):
        read(faulty_place)
    Replica.objects.update(state=ReplicaState.SUSPECT)
    with pytest.raises(ObjectUnavailable):
        read(faulty_place)


def test_an_object_whose_storage_is_lost_is_unavailable_and_not_missing(place: Place) -> None:
    put(place, DATA)
    Storage.objects.update(state=StorageState.LOST)
    with pytest.raises(ObjectUnavailable):
        read(place)
    Storage.objects.update(state=StorageState.ACTIVE)
    Object.objects.update(state=ObjectState.LOST)
    with pytest.raises(ObjectUnavailable):
        read(place)


def test_a_cordoned_storage_is_still_read(place: Place) -> None:
    put(place, DATA)
    storages.cordon(place.storage)
    assert read(place) == DATA


def test_what_was_never_written_is_pending_and_what_was_deleted_is_missing(place: Place) -> None:
    with pytest.raises(DataPending):
        read(place)
    made = put(place, DATA).object
    place.managed.aliases.all().delete()
    retiring.delete(made)
    with pytest.raises(SourceMissing):
        read(place)
    place.alias(KEY, AliasMode.WRITE)
    with pytest.raises(DataPending):
        read(place)


def test_what_is_published_between_the_two_questions_of_a_look_is_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = catalog.current_replicas

    def ask_and_publish(bucket: Bucket, key: str) -> list[Replica]:
        found = ask(bucket, key)
        put(place, DATA)
        return found

    monkeypatch.setattr(catalog, "current_replicas", ask_and_publish)
    assert reading.find(place.alias(KEY)).size == len(DATA)
