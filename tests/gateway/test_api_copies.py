"""Copies as a workflow engine asks for them and watches them."""

from typing import Any

import pytest

from staging import copy_jobs, transfers
from staging.models import CopyJob, Transfer
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db(transaction=True)


def work(lab: Lab, made: Any) -> Any:
    """What workers would do now, and what the copy says then."""
    copy_jobs.advance(made["id"])
    for transfer in Transfer.objects.filter(state="queued"):
        transfers.run(str(transfer.pk))
    return lab.viewer.get(f"copies/{made['id']}")


def test_a_folder_is_copied_and_watched(lab: Lab) -> None:
    (lab.root / "in" / "run").mkdir(parents=True)
    for name in ("a", "b"):
        (lab.root / "in" / "run" / name).write_bytes(b"x" * 1000)
    made = lab.operator.make("copies", {"from": "raw/run/", "to": "data/new/"}, Idempotency_Key="once")
    assert lab.operator.make("copies", {"from": "raw/run/", "to": "data/new/"}, Idempotency_Key="once") == made
    assert (made["from"], made["to"], made["state"]) == ("raw/run/", "data/new/", "running")
    assert (made["listed"], made["seconds_left"]) == (False, None)
    done = work(lab, made)
    assert (done["state"], done["objects_done"], done["bytes_done"], done["bytes_found"]) == ("done", 2, 2000, 2000)
    assert [item["key"] for item in lab.viewer.get("buckets/data/objects?prefix=new/")["items"]] == ["new/a", "new/b"]
    assert {row["kind"] for row in lab.viewer.get(f"transfers?copy={made['id']}")["items"]} == {"copy"}
    assert lab.viewer.get("copies?state=running")["items"] == []
    assert [row["id"] for row in lab.viewer.get("copies?state=done")["items"]] == [made["id"]]


def test_what_is_in_the_catalog_is_copied_at_once(lab: Lab) -> None:
    lab.upload("d/a", b"one")
    lab.upload("e/a", b"two")
    made = lab.operator.make("copies", {"from": "data/d/", "to": "data/f/", "move": True})
    assert (made["state"], made["objects_done"]) == ("done", 1)
    lab.operator.refused("POST", "copies", {"from": "data/f/a", "to": "data/e/a"}, status=409)
    replaced = lab.operator.make("copies", {"from": "data/f/a", "to": "data/e/a", "on_exists": "replace"})
    assert replaced["state"] == "done"
    assert lab.viewer.get("buckets/data/objects/e/a")["version"] == 2


def test_one_that_waits_is_cancelled_and_gone_on_with(lab: Lab) -> None:
    lab.upload("d/a", b"one")
    made = lab.operator.make("copies", {"from": "data/d/a", "to": "raw/b"})
    copy_jobs.advance(made["id"])
    assert lab.operator("POST", f"copies/{made['id']}/cancel").json()["state"] == "cancelled"
    assert Transfer.objects.get().state == "cancelled"
    assert not (lab.root / "in" / "b").exists()
    assert lab.operator("POST", f"copies/{made['id']}/retry").json()["state"] == "running"
    assert work(lab, made)["state"] == "done"
    assert (lab.root / "in" / "b").read_bytes() == b"one"
    lab.operator.refused("POST", f"copies/{made['id']}/retry", status=400)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"from": "data", "to": "data/b"}, "from"),
        ({"from": "data/a", "to": "data/b/"}, "to"),
        ({"from": "data/a", "to": "data/b", "on_exists": "append"}, "on_exists"),
        ({"from": "data/a", "to": "data/b", "move": "yes"}, "move"),
        ({"from": "data/a"}, "to"),
    ],
)
def test_what_is_wrong_is_told_by_field(lab: Lab, body: Any, field: str) -> None:
    lab.upload("a", b"x")
    assert field in lab.operator.refused("POST", "copies", body, status=400)["fields"]
    assert not CopyJob.objects.exists()


def test_an_object_is_demoted(lab: Lab) -> None:
    lab.upload("a", b"x")
    answer = lab.operator("POST", "buckets/data/demote/a")
    assert (answer.status_code, answer.json()) == (202, [])
