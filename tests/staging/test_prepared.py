"""A prepared query answers as the queryset it was made from."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connection
from django.db.models import QuerySet
from pytest_django import DjangoAssertNumQueries

from staging.models import Alias, Storage
from staging.prepared import Prepared
from staging.states import AliasMode, StorageState
from tests.conftest import Place


def by_key_and_bucket(key: str, bucket_id: int) -> QuerySet[Alias]:
    return Alias.objects.select_related("bucket__storage__credential").filter(
        bucket_id=bucket_id, key=key, mode=AliasMode.READ
    )


def test_every_field_is_what_the_queryset_says(place: Place) -> None:
    place.alias("a", labels={"job": "7"}, max_uses=3)
    place.alias("a", AliasMode.WRITE)
    prepared = Prepared(by_key_and_bucket, str, int)
    (expected,) = by_key_and_bucket("a", place.managed.pk)
    (found,) = prepared.all("a", place.managed.pk)
    for there, here in ((expected, found), (expected.bucket, found.bucket)):
        names = [field.attname for field in there._meta.concrete_fields]
        assert {name: getattr(here, name) for name in names} == {name: getattr(there, name) for name in names}
    assert found.bucket.storage == place.storage
    assert found.bucket.storage.credential is None


def test_related_rows_come_in_the_same_query(place: Place, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    place.alias("a")
    prepared = Prepared(by_key_and_bucket, str, int)
    with django_assert_num_queries(1):
        found = prepared.first("a", place.managed.pk)
        assert found is not None
        assert found.bucket.storage.name == "disk"
        assert found.bucket.storage.credential is None


def test_each_call_has_its_own_parameters_and_sees_what_changed(place: Place) -> None:
    prepared = Prepared(by_key_and_bucket, str, int)
    assert prepared.first("a", place.managed.pk) is None
    a, b = place.alias("a"), place.alias("b")
    assert prepared.all("a", place.managed.pk) == [a]
    assert prepared.all("b", place.managed.pk) == [b]
    assert prepared.all("a", place.mounted.pk) == []
    Storage.objects.update(state=StorageState.CORDONED)
    found = prepared.first("a", place.managed.pk)
    assert found is not None
    assert found.bucket.storage.state == StorageState.CORDONED


def test_a_row_that_was_found_can_be_saved(place: Place) -> None:
    place.alias("a")
    found = Prepared(by_key_and_bucket, str, int).first("a", place.managed.pk)
    assert found is not None
    found.uses = 5
    found.save(update_fields=["uses"])
    assert Alias.objects.get(pk=found.pk).uses == 5


def test_threads_share_nothing_but_the_recipe(place: Place) -> None:
    keys = [f"k{number}" for number in range(20)]
    for key in keys:
        place.alias(key)
    prepared = Prepared(by_key_and_bucket, str, int)

    def find(key: str) -> str:
        try:
            found = prepared.first(key, place.managed.pk)
            return found.key if found else ""
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(find, keys)) == keys
