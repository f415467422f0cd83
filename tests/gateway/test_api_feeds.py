"""What is there to be read: events, transfers, API keys and the index."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from staging import retiring
from staging.models import ApiKey, Object, Transfer
from tests.gateway.conftest import Caller, Lab
from tests.gateway.test_api_objects import pages

pytestmark = pytest.mark.django_db


def test_the_feed_of_events_is_complete_in_order_and_goes_on(lab: Lab) -> None:
    lab.operator.make("aliases", [{"bucket": "data", "key": f"f{i}", "mode": "read"} for i in range(25)])
    found = [event for page in pages(lab.viewer, "events", 7) for event in page["items"]]
    ids = [event["id"] for event in found]
    assert ids == sorted(ids)
    assert len(set(ids)) == 31
    kinds = [event["kind"] for event in found]
    assert sorted(kinds[:6]) == ["api_key.issued"] * 3 + ["bucket.created"] * 2 + ["storage.created"]
    assert kinds[6:] == ["alias.created"] * 25
    assert found[6]["subject"] == "read data/f0"
    assert lab.viewer.get(f"events?after={ids[-1]}") == {"items": [], "next": None}
    lab.admin.make("buckets", {"name": "new", "storage": "disk"})
    assert [event["subject"] for event in lab.viewer.get(f"events?after={ids[-1]}")["items"]] == ["new"]
    assert len(lab.viewer.get("events?kind=bucket.created")["items"]) == 3


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=9223372036854775808", "kind=%00", "kind="])
def test_a_feed_that_cannot_be_is_refused(lab: Lab, query: str) -> None:
    lab.viewer.refused("GET", f"events?{query}", status=400)


def test_transfers_are_listed_by_state(lab: Lab, django_assert_max_num_queries: Any) -> None:
    lab.note(*(f"f{i}" for i in range(30)))
    for row in Object.objects.all():
        retiring.delete(row)
    Transfer.objects.filter(label__endswith="7").update(state="failed", error_code="offline")
    with django_assert_max_num_queries(3):
        page = lab.viewer.get("transfers?state=failed")
    assert {transfer["label"] for transfer in page["items"]} == {"data/f7", "data/f17", "data/f27"}
    assert sum(len(page["items"]) for page in pages(lab.viewer, "transfers?kind=delete", 8)) == 30
    lab.viewer.refused("GET", "transfers?state=lost", status=400)


def test_an_api_key_is_shown_once_and_works_until_it_is_revoked(lab: Lab) -> None:
    made = lab.admin.make("keys", {"label": "ci", "role": "operator", "lifetime_s": 60})
    left = datetime.fromisoformat(made["expires_at"]) - timezone.now()
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)
    fresh = Caller(ApiKey.objects.get(public_id=made["id"]), made["key"], lab.admin.client)
    assert fresh.get("whoami")["role"] == "operator"
    secret = made["key"].split("_", 2)[2]
    for path in ("keys", f"keys/{made['id']}"):
        assert secret not in lab.admin("GET", path).content.decode()
    assert secret not in str(list(ApiKey.objects.values()))
    assert lab.admin("DELETE", f"keys/{made['id']}").status_code == 204
    fresh.refused("GET", "whoami", status=401)
    assert lab.viewer.get(f"keys/{made['id']}")["revoked_at"]
    assert [key["label"] for key in lab.viewer.get("keys")["items"]] == ["ci", "admin", "operator", "viewer"]


def test_the_index_names_addresses_that_are_there(lab: Lab) -> None:
    index = lab.viewer.get("")
    assert index["version"] == "v1"
    for address in index["links"].values():
        assert lab.viewer("GET", address.removeprefix("/api/v1/")).status_code == 200
