"""The catalog's rules in the database itself, and its bookkeeping."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

from staging import catalog, replicas, reservations, retiring
from staging.errors import LeaseLost, NoSpace
from staging.models import Alias, Bucket, Event, Object, Replica, Storage, Transfer, Upload
from staging.states import AliasMode, OnExists, ReplicaState
from tests.place import Place
from tests.staging.bodies import KEY, put
from tests.wire.desk import sha256

MIB = 1024 * 1024


def refused(change: Callable[[], object]) -> None:
    """The database itself refuses the change."""
    with pytest.raises(IntegrityError), transaction.atomic():
        change()


def raw_copy(row: models.Model, **changed: Any) -> None:
    """Insert a copy of the row by plain SQL, past the models."""
    fields = row._meta.concrete_fields
    values = {field.column: field.get_db_prep_save(field.value_from_object(row), connection) for field in fields}
    if row._meta.pk and row._meta.pk.get_internal_type().endswith("AutoField"):
        values.pop(row._meta.pk.column, None)
    values.update(changed)
    columns = ", ".join(f'"{name}"' for name in values)
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(values))
        cursor.execute(f'INSERT INTO "{row._meta.db_table}" ({columns}) VALUES ({marks})', list(values.values()))


def new_id() -> Any:
    made = uuid.uuid4()
    return made if connection.vendor == "postgresql" else made.hex


def test_a_key_has_one_current_version_and_each_version_once(place: Place) -> None:
    made = put(place, b"x").object
    refused(lambda: raw_copy(made, id=new_id(), version=2))
    refused(lambda: raw_copy(made, id=new_id(), current=False))
    raw_copy(made, id=new_id(), version=2, current=False)


@pytest.mark.parametrize(
    "changed",
    [
        {"size": -1},
        {"sha256": "a" * 63},
        {"state": "unheard of"},
        {"state": "deleting"},
    ],
    ids=str,
)
def test_an_object_row_that_makes_no_sense_is_refused(place: Place, changed: dict[str, Any]) -> None:
    made = put(place, b"x").object
    refused(lambda: raw_copy(made, id=new_id(), version=2, **{"key": "d/other", **changed}))


def test_a_place_on_a_storage_has_one_replica(place: Place) -> None:
    first, second = put(place, b"x").object, put(place, b"y", key="d/y").object
    taken = first.replicas.get()
    refused(lambda: second.replicas.update(key=taken.key))
    refused(lambda: raw_copy(taken, key="elsewhere"))
    refused(lambda: second.replicas.update(size=-1))
    refused(lambda: second.replicas.update(state="unheard of"))


@pytest.mark.parametrize(
    "changed",
    [
        {"used_bytes": -1},
        {"reserved_bytes": -1},
        {"capacity_bytes": 5, "used_bytes": 3, "reserved_bytes": 3},
        {"tier": 3},
        {"state": "unheard of"},
    ],
    ids=str,
)
def test_a_storages_counts_stay_within_its_capacity(place: Place, changed: dict[str, Any]) -> None:
    refused(lambda: Storage.objects.filter(pk=place.storage.pk).update(**changed))


@pytest.mark.parametrize(
    "changed",
    [{"mode": "both"}, {"on_exists": "ask"}, {"sha256": "x"}, {"size": -1}, {"max_bytes": -1}, {"max_uses": -1}],
    ids=str,
)
def test_an_alias_row_that_makes_no_sense_is_refused(place: Place, changed: dict[str, Any]) -> None:
    alias = place.alias(KEY)
    refused(lambda: Alias.objects.filter(pk=alias.pk).update(**changed))


def test_a_token_names_one_alias(place: Place) -> None:
    alias = place.alias(KEY)
    refused(lambda: raw_copy(alias, id=new_id()))


def test_a_running_transfer_has_a_lease(place: Place) -> None:
    retiring.delete(put(place, b"x").object)
    refused(lambda: Transfer.objects.update(state="running"))
    refused(lambda: Transfer.objects.update(state="unheard of"))
    refused(lambda: Transfer.objects.update(kind="unheard of"))


def test_a_bucket_of_a_storage_that_holds_objects_stays(place: Place) -> None:
    put(place, b"x")
    with pytest.raises(models.ProtectedError):
        place.storage.delete()
    refused(lambda: Bucket.objects.filter(pk=place.managed.pk).update(prefix="d/"))
    refused(lambda: Bucket.objects.filter(pk=place.mounted.pk).update(prefix="no-slash"))
    refused(lambda: raw_copy(place.managed))


def test_a_negative_reservation_is_refused(place: Place) -> None:
    upload = reserve(place, 10)
    refused(lambda: Upload.objects.filter(pk=upload.pk).update(reserved_bytes=-1))


def reserve(place: Place, size: int | None, key: str = KEY) -> Upload:
    alias = place.alias(key, AliasMode.WRITE)
    return reservations.reserve(alias, place.storage, f".waybill/{uuid.uuid4().hex}", uuid.uuid4(), size, "text/plain")


def test_space_is_taken_to_the_last_byte_and_given_back(place: Place) -> None:
    Storage.objects.filter(pk=place.storage.pk).update(capacity_bytes=100)
    whole = reserve(place, 99)
    last = reserve(place, 1)
    with pytest.raises(NoSpace):
        reserve(place, 1)
    reserve(place, 0)
    reservations.drop(last)
    reservations.drop(whole)
    reservations.drop(whole)
    assert Storage.objects.get(pk=place.storage.pk).reserved_bytes == 0
    assert reserve(place, 100).reserved_bytes == 100


def test_a_reservation_that_cannot_grow_stays_as_it_was(place: Place) -> None:
    Storage.objects.filter(pk=place.storage.pk).update(capacity_bytes=100)
    upload = reserve(place, None)
    reservations.grow(upload, 60)
    with pytest.raises(NoSpace):
        reservations.grow(upload, 101)
    Upload.objects.update(fence=7)
    with pytest.raises(LeaseLost):
        reservations.grow(upload, 70)
    assert Storage.objects.get(pk=place.storage.pk).reserved_bytes == 60


@pytest.mark.parametrize("deed", ["renew", "note_token", "note_content", "register"])
def test_whoever_lost_the_lease_changes_nothing(place: Place, deed: str) -> None:
    upload = reserve(place, 1)
    upload.size, upload.sha256 = 1, sha256(b"x")
    Upload.objects.update(fence=7)
    before = Upload.objects.values().get()
    deeds: dict[str, Callable[[], object]] = {
        "renew": lambda: reservations.renew(upload),
        "note_token": lambda: reservations.note_token(upload, "token"),
        "note_content": lambda: reservations.note_content(upload, 1, sha256(b"x")),
        "register": lambda: catalog.register(upload, "v1", sums=b"sums"),
    }
    with pytest.raises(LeaseLost):
        deeds[deed]()
    reservations.drop(upload)
    assert Upload.objects.values().get() == before
    assert not Object.objects.exists()
    assert not Event.objects.filter(kind__startswith="object.").exists()


def test_deleting_hides_at_once_and_frees_space_once_the_bytes_are_gone(place: Place) -> None:
    made = put(place, b"x" * 10).object
    retiring.delete(made)
    retiring.delete(made)
    assert catalog.current(place.managed, KEY) is None
    assert catalog.was_deleted(place.managed, KEY)
    assert Event.objects.filter(kind="object.deleted").count() == Transfer.objects.count() == 1
    replica = made.replicas.get()
    assert replica.state == ReplicaState.DELETING
    assert Storage.objects.get(pk=place.storage.pk).used_bytes == 10
    for _ in range(2):
        replicas.forget(replica)
        assert Storage.objects.get(pk=place.storage.pk).used_bytes == 0


def test_a_replaced_version_is_kept_for_its_readers_for_a_while(place: Place, settings: Any) -> None:
    put(place, b"old")
    put(place, b"new", on_exists=OnExists.REPLACE)
    transfer = Transfer.objects.get()
    kept = transfer.not_before - timezone.now()
    assert timedelta(seconds=settings.REPLACED_KEEP_S - 60) < kept <= timedelta(seconds=settings.REPLACED_KEEP_S)
    assert len(place.files()) == 2


def test_two_buckets_that_show_one_folder_count_its_bytes_once(place: Place) -> None:
    other = Bucket.objects.create(
        project=place.project, name="folder", storage=place.storage, mounted=True, prefix="d/"
    )
    put(place, b"x" * 10, mounted=True)
    place.mounted = other
    put(place, b"y" * 7, mounted=True, key="x.bin", on_exists=OnExists.REPLACE)
    assert Replica.objects.get().size == Storage.objects.get(pk=place.storage.pk).used_bytes == 7


def test_keys_are_ordered_by_their_bytes_on_every_database(place: Place) -> None:
    keys = ["B", "a", "a-b", "a/b", "ä", "€", "😀"]
    for key in keys:
        put(place, b"x", key=key)
    found = Object.objects.filter(bucket=place.managed).order_by("key").values_list("key", flat=True)
    assert list(found) == sorted(keys, key=str.encode)
    assert Object.objects.filter(bucket=place.managed, key="A").count() == 0
