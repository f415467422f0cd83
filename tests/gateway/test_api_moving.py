"""Policies, transfers, drains and explanations, as a workflow engine and an operator use them."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from staging import drains, transfers
from staging.models import Replica, Storage, Transfer
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db(transaction=True)


def add(lab: Lab, name: str, **settings: Any) -> None:
    (lab.root.parent / name).mkdir()
    root = {"root": str(lab.root.parent / name)}
    lab.admin.make("storages", {"name": name, "scheme": "local", "options": root, **settings})


def work() -> None:
    """What a worker would do now."""
    for transfer in Transfer.objects.filter(state="queued").order_by("priority", "created_at"):
        transfers.run(str(transfer.pk))


def test_a_policy_moves_data_and_is_explained(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    add(lab, "fast", tier=1)
    add(lab, "copy", tier=2, site="elsewhere", max_transfers=2)
    shown = lab.viewer.get("storages/copy")
    assert (shown["site"], shown["max_transfers"]) == ("elsewhere", 2)
    policy = {"write": "back", "lands_on": "fast", "replicate_to": ["copy"], "min_replicas": 2, "spread": "sites"}
    assert lab.admin("PATCH", "buckets/data", {"policy": policy}).json()["policy"] == policy
    lab.data.refresh_from_db()
    lab.upload("out/x", b"x" * 1000)
    before = lab.viewer.get("buckets/data/objects/out/x")
    assert before["durability"] == "local"
    assert [(row["storage"], row["dirty"]) for row in before["replicas"]] == [("fast", True)]
    queued = lab.viewer.get("transfers?state=queued")["items"]
    assert {(row["kind"], row["target"], row["reason"] != "") for row in queued} == {
        ("flush", "disk", True),
        ("replicate", "copy", True),
    }
    work()
    after = lab.viewer.get("buckets/data/objects/out/x")
    assert after["durability"] == "persisted"
    assert [(row["storage"], row["dirty"]) for row in after["replicas"]] == [
        ("fast", False),
        ("disk", False),
        ("copy", False),
    ]
    told = lab.viewer.get("buckets/data/explain/out/x")
    assert told["next"] == ["Nothing: all that the policy asks for is done."]
    call_command("explain", "data/out/x", "--project", "lab")
    printed = capsys.readouterr().out
    assert all(sentence in printed for sentence in [*told["policy"], *told["replicas"], *told["next"]])
    with pytest.raises(CommandError, match="no bucket nowhere"):
        call_command("explain", "nowhere/x", "--project", "lab")


def test_a_policy_that_cannot_be_met_is_refused_by_field(lab: Lab) -> None:
    problem = lab.admin.refused("PATCH", "buckets/data", {"policy": {"write": "back"}}, status=400)
    assert problem["fields"] == {"lands_on": ["name a storage of tier 0 or 1 for this"]}
    lab.admin.refused("PATCH", "buckets/raw", {"policy": {"ttl_s": 5}}, status=400)
    lab.upload("x", b"x")
    lab.operator.refused("PATCH", "buckets/data/objects/x", {"policy": {"min_replicas": 2}}, status=400)
    lab.operator.refused("GET", "buckets/raw/explain/x", status=400)
    lab.operator.refused("GET", "buckets/data/explain/nothing", status=404)


def test_an_object_may_have_a_policy_of_its_own(lab: Lab) -> None:
    add(lab, "copy")
    lab.upload("x", b"x")
    lab.operator("PATCH", "buckets/data/objects/x", {"metadata": {"a": "b"}})
    own = {"replicate_to": ["copy"], "min_replicas": 2, "ttl_s": 3600}
    changed = lab.operator("PATCH", "buckets/data/objects/x", {"policy": own}).json()
    assert (changed["policy"], changed["metadata"]) == (own, {"a": "b"})
    work()
    assert Replica.objects.filter(object__key="x").count() == 2
    assert "Its time to live ends" in lab.viewer.get("buckets/data/explain/x")["next"][0]


def test_a_transfer_is_cancelled_and_one_that_failed_is_tried_again(lab: Lab) -> None:
    add(lab, "copy")
    lab.admin("PATCH", "buckets/data", {"policy": {"replicate_to": ["copy"], "min_replicas": 2}})
    lab.data.refresh_from_db()
    lab.upload("x", b"x")
    [queued] = lab.viewer.get("transfers")["items"]
    cancelled = lab.operator("POST", f"transfers/{queued['id']}/cancel").json()
    assert (cancelled["state"], cancelled["cancelled_at"] is not None) == ("cancelled", True)
    assert lab.operator("POST", f"transfers/{queued['id']}/cancel").json()["state"] == "cancelled", "asked twice"
    lab.operator.refused("POST", f"transfers/{queued['id']}/retry", status=400)
    Transfer.objects.update(state="failed", error_code="offline", last_error_code="access_denied", attempts=12)
    told = lab.viewer.get(f"transfers/{queued['id']}")
    assert (told["error_code"], told["last_error_code"], told["attempts"]) == ("offline", "access_denied", 12)
    assert lab.operator("POST", f"transfers/{queued['id']}/retry").json()["state"] == "queued"
    work()
    assert lab.viewer.get(f"transfers/{queued['id']}")["state"] == "done"


def test_copies_are_read_back_when_somebody_asks(lab: Lab) -> None:
    lab.upload("x", b"x" * 100)
    [file] = [path for path in lab.root.rglob("*") if path.is_file()]
    file.write_bytes(b"y" * 100)
    answer = lab.operator("POST", "buckets/data/verify/x")
    assert answer.status_code == 202
    assert [row["kind"] for row in answer.json()] == ["verify"]
    work()
    assert lab.viewer.get("buckets/data/objects/x")["replicas"][0]["state"] == "bad"
    assert lab.viewer.get("events?kind=replica.bad")["items"][0]["subject"] == "data/x"


def test_a_storage_is_drained(lab: Lab) -> None:
    add(lab, "next")
    lab.upload("x", b"x" * 100)
    lab.admin.refused("POST", "storages/disk/drain", {"to": "disk"}, status=400)
    lab.admin.refused("POST", "storages/disk/drain", {"to": "nowhere"}, status=404)
    begun = lab.admin("POST", "storages/disk/drain", {"to": "next"})
    assert begun.status_code == 202
    assert begun.json() | {"to": "next", "replicas": 1, "bytes": 100, "objects": ["data/x"]} == begun.json()
    start = {"replicas_at_start": 1, "bytes_at_start": 100}
    assert begun.json() | start | {"replicas_done": 0, "percent": 0} == begun.json()
    for _ in range(2):
        work()
        transfers.sweep()
        drains.sweep()
    done = lab.viewer.get("storages/disk/drain")
    assert (done["state"], done["replicas"], done["mounted"]) == ("drained", 0, ["raw"])
    assert done | start | {"replicas_done": 1, "bytes_done": 100, "percent": 100} == done
    cancelled = lab.admin("DELETE", "storages/disk/drain").json()
    assert (cancelled["state"], cancelled["percent"]) == ("active", None)
    assert Storage.objects.get(name="next", project=lab.project).used_bytes == 100


def test_objects_and_folders_are_renamed(lab: Lab) -> None:
    for key in ("run/a", "run/b", "taken"):
        lab.upload(key, b"x" * 10)
    rename = "buckets/data/rename"
    assert lab.operator("POST", rename, {"from": "run/", "to": "done/"}).json() == {"objects": 2, "bytes": 20}
    assert [row["key"] for row in lab.viewer.get("buckets/data/objects")["items"]] == ["done/a", "done/b", "taken"]
    assert lab.viewer.get("events?kind=object.renamed")["items"][0]["facts"]["from"] == "run/a"
    taken = lab.operator.refused("POST", rename, {"from": "done/a", "to": "taken"}, status=409)
    assert taken["code"] == "name_taken"
    lab.operator.refused("POST", rename, {"from": "run/", "to": "x/"}, status=404)
    refused = lab.operator.refused("POST", rename, {"from": "done/", "to": "x"}, status=400)
    assert list(refused["fields"]) == ["to"]
    lab.operator.refused("POST", "buckets/raw/rename", {"from": "a", "to": "b"}, status=400)


def test_a_storage_is_given_up_and_what_is_lost_is_told_for_good(lab: Lab) -> None:
    for key in ("x", "y"):
        lab.upload(key, key.encode() * 1000)
    lab.admin.make("storages", {"name": "next", "scheme": "memory"})
    alias = lab.admin.make("aliases", {"bucket": "data", "key": "x", "mode": "read"})
    path = alias["url"].partition("//")[2].partition("/")[2]
    assert lab.admin.client.get(f"/{path}").status_code == 200
    told = lab.viewer.get("storages/disk/give-up")
    assert (told["given_up"], told["lost_objects"], told["objects"]) == (False, 2, ["data/x", "data/y"])
    page = lab.viewer.get("storages/disk/give-up/lost?limit=1")
    assert ([row["key"] for row in page["items"]], bool(page["next"])) == (["x"], True)
    for body, field in (({"lose": 2}, "to"), ({"to": "next", "lose": 1}, "lose"), ({"to": "disk"}, "to")):
        assert field in lab.admin.refused("POST", "storages/disk/give-up", body, status=400)["fields"]
    answer = lab.admin("POST", "storages/disk/give-up", {"to": "next", "lose": 2})
    assert answer.status_code == 202
    done = answer.json()
    assert (done["state"], done["given_up"], done["to"], done["objects"]) == (
        "lost",
        True,
        "next",
        ["data/x", "data/y"],
    )
    assert lab.viewer.get("storages/disk/give-up")["replicas"] == 0
    assert lab.viewer.get("buckets/data/objects/x")["state"] == "lost"
    lost = lab.admin.client.get(f"/{path}")
    told = (lost.status_code, lost["Waybill-Error-Code"], lost["Waybill-Retryable"], lost.get("Retry-After"))
    assert told == (410, "object_lost", "false", None)
    mounted = lab.admin.make("aliases", {"bucket": "raw", "key": "file", "mode": "read"})["url"]
    gone = lab.admin.client.get("/" + mounted.partition("//")[2].partition("/")[2])
    assert (gone.status_code, gone["Waybill-Error-Code"]) == (410, "storage_gone")
    lab.admin.refused("PATCH", "storages/disk", {"state": "active"}, status=400)
    assert lab.admin("POST", "storages/disk/give-up", {}).status_code == 202, "the same again changes nothing"


def test_a_checkpoint_s_alias_tells_for_good_that_its_version_is_lost(lab: Lab) -> None:
    lab.upload("x", b"x" * 1000)
    lab.upload("y", b"y" * 1000)
    lab.admin.make("checkpoints", {"name": "run", "bucket": "data"})
    lab.admin("DELETE", "buckets/data/objects/y")
    paths = []
    for key in ("x", "y"):
        made = lab.operator.make("checkpoints/run/aliases", {"bucket": "data", "key": key})
        paths.append("/" + made["url"].partition("//")[2].partition("/")[2])
    lab.admin.make("storages", {"name": "next", "scheme": "memory"})
    assert lab.admin("POST", "storages/disk/give-up", {"to": "next", "lose": 2}).status_code == 202
    # The job that makes it anew makes another version.
    lab.operator.make("aliases", {"bucket": "data", "key": "x", "mode": "write", "on_exists": "replace"})
    for path in paths:
        for method in (lab.admin.client.get, lab.admin.client.head):
            lost = method(path)
            told = (lost.status_code, lost["Waybill-Error-Code"], lost["Waybill-Retryable"], lost.get("Retry-After"))
            assert told == (410, "object_lost", "false", None)
