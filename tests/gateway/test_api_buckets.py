"""Buckets over the API."""

from typing import Any

import pytest

from staging.models import Bucket, Object, Storage
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db


def test_managed_and_mounted_buckets_are_made_and_shown(lab: Lab) -> None:
    managed = lab.admin.make("buckets", {"name": "b1", "storage": "disk", "policy": {"max_object_bytes": 9}})
    assert (managed["storage"], managed["mount"], managed["policy"]) == ("disk", None, {"max_object_bytes": 9})
    mounted = lab.admin.make("buckets", {"name": "b2", "mount": {"storage": "disk", "prefix": "a/b"}})
    assert (mounted["storage"], mounted["mount"]) == (None, {"storage": "disk", "prefix": "a/b/"})
    assert lab.admin.make("buckets", {"name": "b3", "mount": {"storage": "disk"}})["mount"]["prefix"] == ""
    assert lab.viewer.get("buckets/b2") == mounted
    assert [b["name"] for b in lab.viewer.get("buckets")["items"]] == ["b1", "b2", "b3", "data", "raw", "~disk"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "storage"),
        ({"name": "x", "storage": "disk", "mount": {"storage": "disk"}}, "storage"),
        ({"name": "x", "storage": 5}, "storage"),
        ({"name": "~x", "storage": "disk"}, "name"),
        ({"name": "x" * 64, "storage": "disk"}, "name"),
        ({"name": "x", "mount": {"prefix": "a"}}, "mount"),
        ({"name": "x", "mount": {"storage": "disk", "what": 1}}, "mount"),
        ({"name": "x", "mount": "disk"}, "mount"),
        ({"name": "x", "mount": {"storage": "disk", "prefix": "../up"}}, "prefix"),
        ({"name": "x", "mount": {"storage": "disk", "prefix": ".."}}, "prefix"),
        ({"name": "x", "mount": {"storage": "disk", "prefix": "."}}, "prefix"),
        ({"name": "x", "mount": {"storage": "disk", "prefix": ".waybill/1"}}, "prefix"),
        ({"name": "x", "mount": {"storage": "disk", "prefix": "inner/.waybill"}}, "prefix"),
        ({"name": "x", "storage": "disk", "policy": {"what": 1}}, "what"),
        ({"name": "x", "storage": "disk", "policy": {"max_object_bytes": "1"}}, "max_object_bytes"),
        ({"name": "x", "storage": "disk", "owner": "me"}, "owner"),
    ],
)
def test_a_bucket_that_cannot_be_is_refused_by_field(lab: Lab, body: dict[str, Any], field: str) -> None:
    problem = lab.admin.refused("POST", "buckets", body, status=400)
    assert list(problem["fields"]) == [field]


def test_a_bucket_name_is_given_once(lab: Lab) -> None:
    assert lab.admin.refused("POST", "buckets", {"name": "data", "storage": "disk"}, status=409)["code"] == "name_taken"


def test_a_policy_is_replaced(lab: Lab) -> None:
    changed = lab.admin("PATCH", "buckets/data", {"policy": {"max_object_bytes": 3}}).json()
    assert changed["policy"] == lab.viewer.get("buckets/data")["policy"] == {"max_object_bytes": 3}
    lab.admin.refused("PATCH", "buckets/data", {"policy": {"max_object_bytes": -1}}, status=400)
    lab.admin.refused("PATCH", "buckets/data", {}, status=400)


def test_a_bucket_that_holds_objects_stays(lab: Lab) -> None:
    lab.note("a")
    assert lab.admin.refused("DELETE", "buckets/data", status=409)["code"] == "in_use"


def test_a_bucket_that_a_live_alias_names_stays(lab: Lab) -> None:
    lab.operator.make("aliases", {"bucket": "data", "key": "a", "mode": "write"})
    assert "revoke" in lab.admin.refused("DELETE", "buckets/data", status=409)["detail"]
    lab.operator("POST", "aliases/revoke", {"bucket": "data"})
    assert lab.admin("DELETE", "buckets/data").status_code == 204
    lab.admin.refused("GET", "buckets/data", status=404)


def test_the_bucket_of_a_storages_root_goes_with_the_storage_only(lab: Lab) -> None:
    lab.admin.refused("DELETE", "buckets/~disk", status=409)


@pytest.mark.django_db(transaction=True)
def test_removing_a_mounted_bucket_leaves_its_files_and_gives_the_space_back(lab: Lab) -> None:
    lab.upload("kept", b"12345", bucket=lab.raw)
    assert Storage.objects.get(pk=lab.storage.pk).used_bytes == 5
    lab.operator("POST", "aliases/revoke", {"bucket": "raw"})
    assert lab.admin("DELETE", "buckets/raw").status_code == 204
    assert (lab.root / "in" / "kept").read_bytes() == b"12345"
    assert Storage.objects.get(pk=lab.storage.pk).used_bytes == 0
    assert not Bucket.objects.filter(name="raw").exists()
    assert not Object.objects.exists()
