"""Checkpoints, as a workflow engine uses them."""

import pytest
from django.test import Client

from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_checkpoint_is_taken_watched_restored_and_deleted(lab: Lab) -> None:
    for key in ("run/a", "run/b", "other"):
        lab.upload(key, b"x" * 10)
    body = {"name": "run-1", "bucket": "data", "prefix": "run/"}
    made = lab.operator("POST", "checkpoints", body)
    assert made.status_code == 201
    assert made.json() | {"state": "complete", "members": 2, "bytes": 20, "failure": ""} == made.json()
    again = lab.operator("POST", "checkpoints", body)
    assert (again.status_code, again["Waybill-Replayed"]) == (201, "true")
    lab.operator("DELETE", "buckets/data/objects/run/a")
    shown = lab.viewer.get("checkpoints/run-1")
    assert shown["progress"] == {"persisted": 2, "persisted_bytes": 20}
    page = lab.viewer.get("checkpoints/run-1/members?limit=1")
    rest = lab.viewer.get(f"checkpoints/run-1/members?limit=1&cursor={page['next']}")
    members = [(row["key"], row["current"], row["durability"]) for row in page["items"] + rest["items"]]
    assert members == [("run/a", False, "persisted"), ("run/b", True, "persisted")]
    alias = lab.operator.make("checkpoints/run-1/aliases", {"bucket": "data", "key": "run/a"})
    assert (alias["checkpoint"], alias["key"]) == ("run-1", "run/a")
    lab.upload("run/a", b"y" * 20)
    got = Client().get(alias["url"].removeprefix("http://127.0.0.1:8080"), HTTP_HOST="127.0.0.1")
    assert (got.status_code, b"".join(got.streaming_content)) == (200, b"x" * 10)
    lab.operator.refused("POST", "checkpoints/run-1/aliases", {"bucket": "data", "key": "other"}, status=404)
    assert lab.operator("POST", "checkpoints/run-1/restore").json()["restored_at"]
    assert lab.viewer.get("buckets/data/objects/run/a")["version"] == 3
    assert lab.viewer.get("events?kind=object.restored")["items"][0]["subject"] == "data/run/a"
    assert lab.operator("DELETE", "checkpoints/run-1").status_code == 204
    assert lab.viewer.get("checkpoints")["items"] == []
    assert lab.viewer.get("buckets/data/objects/run/a")["size"] == 10
    assert lab.viewer("GET", f"aliases/{alias['id']}").status_code == 404


def test_what_makes_no_checkpoint_is_refused_by_field(lab: Lab, other: Lab) -> None:
    lab.upload("x", b"x")
    refused = lab.operator.refused("POST", "checkpoints", {"name": "a"}, status=400)
    assert list(refused["fields"]) == ["bucket"]
    lab.operator.refused("POST", "checkpoints", {"name": "a", "bucket": "data", "prefix": "/"}, status=400)
    lab.operator.refused("POST", "checkpoints", {"name": "a", "bucket": "data", "prefix": "y"}, status=400)
    lab.operator.refused("POST", "checkpoints", {"name": "a", "labels": {"run": "1"}}, status=400)
    lab.upload("y", b"y", bucket=lab.raw)
    lab.operator.refused("POST", "checkpoints", {"name": "a", "bucket": "raw"}, status=400)
    lab.viewer.refused("POST", "checkpoints", {"name": "a", "bucket": "data"}, status=403)
    lab.operator.make("checkpoints", {"name": "a", "bucket": "data"})
    lab.operator.refused("POST", "checkpoints", {"name": "a", "bucket": "data", "prefix": "x"}, status=409)
    other.operator.refused("GET", "checkpoints/a", status=404)
    other.operator.refused("POST", "checkpoints/a/restore", status=404)
