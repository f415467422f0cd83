"""Buckets and API keys in the admin."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from staging import api_keys
from staging.models import ApiKey, Bucket
from tests.gateway.admin.conftest import People, code_in, errors_in, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db


def test_a_managed_and_a_mounted_bucket_are_made(lab: Lab, people: People) -> None:
    people.admin.saves(page("bucket", "add"), storage=lab.storage.pk, name="runs", max_object_bytes="5 GiB")
    people.admin.saves(page("bucket", "add"), storage=lab.storage.pk, name="ref", mounted="yes", prefix="ref/v1")
    runs, ref = Bucket.objects.get(name="runs"), Bucket.objects.get(name="ref")
    assert (runs.mounted, runs.policy) == (False, {"max_object_bytes": 5 * 2**30})
    assert (ref.mounted, ref.prefix, ref.policy) == (True, "ref/v1/", {})


@pytest.mark.parametrize(
    ("field", "form"),
    [
        ("name", {"name": "data"}),
        ("name", {"name": "~x"}),
        ("prefix", {"prefix": "folder"}),
        ("prefix", {"mounted": "yes", "prefix": "a/../b"}),
        ("prefix", {"mounted": "yes", "prefix": ".waybill/x"}),
        ("max_object_bytes", {"max_object_bytes": "five"}),
        ("storage", {"storage": "99999"}),
    ],
)
def test_what_is_wrong_with_a_bucket_is_said_at_its_field(
    lab: Lab, people: People, field: str, form: dict[str, Any]
) -> None:
    found = errors_in(people.admin.send(page("bucket", "add"), **{"storage": lab.storage.pk, "name": "new", **form}))
    assert list(found) == [field]


def test_only_the_policy_of_a_bucket_changes(lab: Lab, people: People) -> None:
    people.admin.saves(page("bucket", "change", lab.data.pk), name="other", max_object_bytes="1 kB")
    lab.data.refresh_from_db()
    assert (lab.data.name, lab.data.policy) == ("data", {"max_object_bytes": 1000})


def test_a_bucket_that_holds_something_stays(lab: Lab, people: People) -> None:
    lab.note("key")
    answer = people.admin.send(page("bucket", "delete", lab.data.pk), post="yes")
    assert "holds objects" in people.admin.get(answer["Location"])
    people.admin.saves(page("bucket", "delete", lab.raw.pk), post="yes")
    assert list(Bucket.objects.values_list("name", flat=True)) == ["data", "~disk"]


def test_a_storages_root_bucket_cannot_be_deleted(lab: Lab, people: People) -> None:
    people.admin.get(page("bucket", "delete", Bucket.objects.get(name="~disk").pk), 403)


def test_a_new_key_is_shown_once_and_works(lab: Lab, people: People) -> None:
    form = {"project": lab.project.pk, "label": "engine", "role": "operator", "lifetime_s": "86400"}
    answer = people.admin.send(page("apikey", "add"), **form)
    text = code_in(answer.content.decode(), "api-key")
    key = ApiKey.objects.get(label="engine")
    assert "no-store" in answer["Cache-Control"]
    assert api_keys.find_key(text) == key
    assert (key.created_by, key.role) == (people.admin.user, "operator")
    assert key.expires_at is not None
    assert key.expires_at > timezone.now()
    for address in (page("apikey", "changelist"), page("apikey", "change", key.pk), page("apikey", "history", key.pk)):
        assert text.split("_", 2)[2] not in people.root.get(address)


def test_a_revoked_key_is_refused(lab: Lab, people: People) -> None:
    people.admin.confirms(page("apikey", "revoke", lab.operator.key.pk))
    answer = Client().get("/api/v1/whoami", headers={"Authorization": f"Bearer {lab.operator.text}"})
    assert answer.status_code == 401


def test_a_key_is_not_made_for_a_project_of_others(lab: Lab, other: Lab, people: People) -> None:
    form = {"project": other.project.pk, "label": "engine", "role": "admin"}
    assert list(errors_in(people.admin.send(page("apikey", "add"), **form))) == ["project"]
