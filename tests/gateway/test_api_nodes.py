"""Nodes as an operator sees and empties them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from staging import drains, transfers
from staging.models import Event, Node, Project, Storage, Transfer
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db(transaction=True)


def work() -> None:
    """What workers would do now."""
    drains.sweep()
    for transfer in Transfer.objects.filter(state="queued").order_by("priority", "created_at"):
        transfers.run(str(transfer.pk))
    drains.sweep()


@pytest.fixture
def lab_of_a_node(lab: Lab, settings: object) -> Lab:
    """The tests' own process is the node ``alpha``, which has a fast storage."""
    settings.NODE_NAME, now = "alpha", timezone.now()  # type: ignore[attr-defined]
    Node.objects.create(name="alpha", url="http://127.0.0.1:1", started_at=now, seen_at=now, changed_at=now)
    (lab.root.parent / "ram").mkdir()
    options = {"root": str(lab.root.parent / "ram")}
    lab.admin.make("storages", {"name": "ram", "scheme": "local", "options": options, "tier": 0, "node": "alpha"})
    policy = {"write": "ephemeral", "lands_on": "ram"}
    assert lab.admin("PATCH", "buckets/data", {"policy": policy}).status_code == 200
    lab.data.refresh_from_db()
    return lab


def test_a_node_is_emptied_and_tells_what_its_deadline_has_left(lab_of_a_node: Lab) -> None:
    lab = lab_of_a_node
    for key in ("x", "y", "z"):
        lab.upload(key, key.encode() * 1000)
    assert lab.viewer.get("storages/ram")["node"] == "alpha"
    shown = lab.viewer.get("nodes")["items"]
    assert [(row["name"], row["state"], row["storages"]) for row in shown] == [("alpha", "active", ["ram"])]
    begun = lab.admin("POST", "nodes/alpha/drain", {"deadline_s": 3600}).json()
    assert (begun["state"], begun["storages"][0]["to"], begun["storages"][0]["is_late"]) == ("draining", "disk", False)
    Storage.objects.filter(name="ram").update(drain_deadline=timezone.now() - timedelta(seconds=1))
    drains.sweep()
    told = lab.viewer.get("nodes/alpha/drain")["storages"][0]
    assert (told["replicas"], told["bytes"], told["is_late"]) == (3, 3000, True)
    assert (told["replicas_at_start"], told["bytes_at_start"], told["percent"]) == (3, 3000, 0)
    assert Event.objects.filter(kind="storage.drain_late", facts__replicas=3).count() == 1
    page = lab.viewer.get("storages/ram/drain/left?limit=2")
    rest = lab.viewer.get(f"storages/ram/drain/left?limit=2&cursor={page['next']}")
    left = [(row["bucket"], row["key"], row["size"]) for row in [*page["items"], *rest["items"]]]
    assert (left, rest["next"]) == ([("data", key, 1000) for key in "xyz"], None)
    work()
    work()
    assert lab.viewer.get("nodes/alpha/drain")["state"] == "drained"
    assert lab.viewer.get("storages/ram/drain/left")["items"] == []
    assert lab.viewer.get("buckets/data/objects/x")["replicas"][0]["storage"] == "disk"
    assert lab.admin("DELETE", "nodes/alpha/drain").json()["state"] == "active"
    assert lab.viewer.get("storages/ram")["state"] == "active"


def test_nobody_drains_what_others_have_on_a_node(lab_of_a_node: Lab) -> None:
    lab, node = lab_of_a_node, Node.objects.get()
    other = Project.objects.create(name="others")
    Storage.objects.create(project=other, name="theirs", scheme="local", node=node, options={})
    problem = lab.admin.refused("POST", "nodes/alpha/drain", {}, status=400)
    assert "other projects" in problem["detail"]
    how = {"url": "", "started_at": node.started_at, "seen_at": node.seen_at, "changed_at": node.seen_at}
    Node.objects.create(name="empty", **how)
    Node.objects.create(name="theirs", **how)
    Storage.objects.create(project=other, name="all", scheme="local", node=Node.objects.get(name="theirs"), options={})
    for draining_since in (None, node.seen_at):
        Node.objects.exclude(pk=node.pk).update(draining_since=draining_since)
        for name in ("empty", "theirs"):
            for method in ("POST", "DELETE"):
                problem = lab.admin.refused(method, f"nodes/{name}/drain", {} if method == "POST" else None, status=400)
                assert "has no storage" in problem["detail"]
    assert not Node.objects.filter(name="empty", draining_since=None).exists(), "nobody's drain was cancelled"
    assert lab.viewer.get("nodes/alpha")["storages"] == ["ram"]
    for body, field in (({"node": "nowhere"}, "node"), ({"node": 5}, "node")):
        assert field in lab.admin.refused("PATCH", "storages/disk", body, status=400)["fields"]
    Node.objects.update(state="lost")
    assert "node" in lab.admin.refused("PATCH", "storages/ram", {"node": None}, status=400)["fields"]
