"""Who may do what: roles, other people's projects, dead keys, and sessions."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from gateway.api.urls import urlpatterns
from staging import aliases, checkpoints, credentials, retiring
from staging.alias_terms import AliasSpec
from staging.checkpoints import CheckpointSpec
from staging.models import (
    Alias,
    ApiKey,
    Bucket,
    CopyJob,
    Credential,
    Event,
    Membership,
    Node,
    Object,
    Storage,
    Transfer,
)
from staging.states import AliasMode, CopyState, Role, StorageState, TransferKind, TransferState
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db

ALIAS = {"bucket": "data", "key": "a", "mode": "read"}
#: Every route and method, who may use it, and a body that is well formed.
ROUTES: list[tuple[str, str, str, Any]] = [
    ("GET", "", "viewer", None),
    ("GET", "whoami", "viewer", None),
    ("GET", "schemes", "viewer", None),
    ("GET", "schemes/local", "viewer", None),
    ("GET", "storages", "viewer", None),
    ("POST", "storages", "admin", {"name": "more", "scheme": "memory"}),
    ("GET", "storages/disk", "viewer", None),
    ("PATCH", "storages/disk", "admin", {"tier": 1}),
    ("DELETE", "storages/disk", "admin", None),
    ("POST", "storages/disk/test", "admin", None),
    ("GET", "storages/disk/objects", "viewer", None),
    ("GET", "storages/disk/drain", "viewer", None),
    ("POST", "storages/disk/drain", "admin", {"to": "next"}),
    ("DELETE", "storages/leaving/drain", "admin", None),
    ("GET", "storages/disk/drain/left", "viewer", None),
    ("GET", "storages/disk/give-up", "viewer", None),
    ("GET", "storages/disk/give-up/lost", "viewer", None),
    ("POST", "storages/disk/give-up", "admin", {"to": "next", "lose": 9}),
    ("GET", "nodes", "viewer", None),
    ("GET", "nodes/alpha", "viewer", None),
    ("GET", "nodes/alpha/drain", "viewer", None),
    ("POST", "nodes/alpha/drain", "admin", {}),
    ("DELETE", "nodes/omega/drain", "admin", None),
    ("GET", "credentials", "viewer", None),
    ("POST", "credentials", "admin", {"name": "more", "secrets": {"password": "x"}}),
    ("GET", "credentials/shared", "viewer", None),
    ("PATCH", "credentials/shared", "admin", {"secrets": {"password": "y"}}),
    ("DELETE", "credentials/shared", "admin", None),
    ("GET", "buckets", "viewer", None),
    ("POST", "buckets", "admin", {"name": "more", "storage": "disk"}),
    ("GET", "buckets/data", "viewer", None),
    ("PATCH", "buckets/data", "admin", {"policy": {}}),
    ("DELETE", "buckets/data", "admin", None),
    ("GET", "buckets/data/objects", "viewer", None),
    ("GET", "buckets/data/objects/a", "viewer", None),
    ("PATCH", "buckets/data/objects/a", "operator", {"metadata": {"a": "b"}}),
    ("DELETE", "buckets/data/objects/a", "operator", None),
    ("POST", "buckets/data/rename", "operator", {"from": "a", "to": "z"}),
    ("GET", "buckets/data/explain/a", "viewer", None),
    ("POST", "buckets/data/verify/a", "operator", None),
    ("POST", "buckets/data/demote/a", "operator", None),
    ("GET", "copies", "viewer", None),
    ("POST", "copies", "operator", {"from": "data/a", "to": "data/z"}),
    ("GET", "copies/{job}", "viewer", None),
    ("POST", "copies/{job}/cancel", "operator", None),
    ("POST", "copies/{ended}/retry", "operator", None),
    ("GET", "checkpoints", "viewer", None),
    ("POST", "checkpoints", "operator", {"name": "more", "bucket": "data"}),
    ("GET", "checkpoints/kept", "viewer", None),
    ("GET", "checkpoints/kept/members", "viewer", None),
    ("POST", "checkpoints/kept/aliases", "operator", {"bucket": "data", "key": "a"}),
    ("POST", "checkpoints/kept/restore", "operator", None),
    ("DELETE", "checkpoints/kept", "operator", None),
    ("GET", "aliases", "viewer", None),
    ("POST", "aliases", "operator", ALIAS),
    ("POST", "aliases/revoke", "operator", {"bucket": "data"}),
    ("POST", "aliases/extend", "operator", {"bucket": "data", "lifetime_s": 60}),
    ("POST", "aliases/fail", "operator", {"bucket": "data", "reason": "lost"}),
    ("POST", "aliases/{output}/fail", "operator", {"reason": "lost"}),
    ("GET", "aliases/{alias}", "viewer", None),
    ("PATCH", "aliases/{alias}", "operator", {"lifetime_s": 60}),
    ("DELETE", "aliases/{alias}", "operator", None),
    ("GET", "transfers", "viewer", None),
    ("GET", "transfers/{transfer}", "viewer", None),
    ("POST", "transfers/{copy}/cancel", "operator", None),
    ("POST", "transfers/{failed}/retry", "operator", None),
    ("GET", "events", "viewer", None),
    ("GET", "keys", "viewer", None),
    ("POST", "keys", "admin", {"label": "ci", "role": "viewer"}),
    ("GET", "keys/{key}", "viewer", None),
    ("DELETE", "keys/{key}", "admin", None),
]
#: Routes that name one thing, by the words that are theirs alone in the other project.
EVERYBODYS = ("aliases/revoke", "aliases/extend", "aliases/fail", "schemes/", "nodes/")
NAMED = [route for route in ROUTES if "/" in route[1] and not route[1].startswith(EVERYBODYS)]


def furnish(lab: Lab) -> dict[str, Any]:
    """One of everything, and the ids that stand in addresses."""
    lab.note("a", "gone")
    credentials.create(lab.project, "shared", {"password": "x"})
    alias = aliases.create(lab.data, [AliasSpec(AliasMode.READ, "a")])[0]
    retiring.delete(Object.objects.get(bucket=lab.data, key="gone"))
    transfer = Transfer.objects.get(project=lab.project)
    output = aliases.create(lab.data, [AliasSpec(AliasMode.WRITE, "b")])[0]
    checkpoints.create(lab.project, CheckpointSpec("kept", lab.data))
    next_one = Storage.objects.create(project=lab.project, name="next", scheme="memory")
    now = timezone.now()
    for name, since in (("alpha", None), ("omega", now)):
        node = Node.objects.create(name=name, seen_at=now, started_at=now, changed_at=now, draining_since=since)
        Storage.objects.create(project=lab.project, name=f"on-{name}", scheme="memory", node=node)
    leaving = {"state": StorageState.DRAINING, "drain_to": next_one}
    Storage.objects.create(project=lab.project, name="leaving", scheme="memory", **leaving)
    copied = {"project": lab.project, "target": lab.storage, "not_before": timezone.now()}
    ids = {
        "copy": Transfer.objects.create(kind=TransferKind.REPLICATE, **copied).pk,
        "failed": Transfer.objects.create(kind=TransferKind.FLUSH, state=TransferState.FAILED, **copied).pk,
    }
    job = {"project": lab.project, "source_bucket": lab.data, "target_bucket": lab.raw, "source_key": "a"}
    job |= {"target_key": "b", "not_before": timezone.now(), "started_at": timezone.now()}
    ids["job"] = CopyJob.objects.create(**job).pk
    ids["ended"] = CopyJob.objects.create(state=CopyState.FAILED, **job).pk
    return {**ids, "alias": alias.pk, "output": output.pk, "transfer": transfer.pk, "key": lab.viewer.key.public_id}


def state() -> Any:
    """Everything that a call could have changed."""
    return [
        list(Alias.objects.order_by("pk").values_list("pk", "expires_at", "revoked_at", "failed_at")),
        list(ApiKey.objects.order_by("pk").values_list("pk", "revoked_at")),
        list(Bucket.objects.order_by("pk").values_list("pk", "policy")),
        list(Credential.objects.order_by("pk").values_list("pk", "revision")),
        list(Object.objects.order_by("pk").values_list("pk", "key", "state", "metadata")),
        list(Storage.objects.order_by("pk").values_list("pk", "tier", "revision", "state")),
        list(Transfer.objects.order_by("pk").values_list("pk", "state")),
        list(CopyJob.objects.order_by("pk").values_list("pk", "state")),
        Event.objects.count(),
        Transfer.objects.count(),
    ]


def names(route: tuple[str, str, str, Any]) -> str:
    """The route's part of a test's name."""
    return f"{route[0]} {route[1]}"


@pytest.fixture(autouse=True)
def bytes_may_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only access matters here, so the tests stay inside one transaction each."""
    for module in ("staging.listing", "staging.objects", "staging.storages"):
        monkeypatch.setattr(f"{module}.release", lambda: None)


def test_every_route_is_listed_here() -> None:
    patterns = {str(pattern.pattern) for pattern in urlpatterns} - {"schema", "docs", "(?s:.*)"}
    words = {
        "{alias}": "<uuid:alias_id>",
        "{output}": "<uuid:alias_id>",
        "{transfer}": "<uuid:transfer_id>",
        "{copy}": "<uuid:transfer_id>",
        "{failed}": "<uuid:transfer_id>",
        "{job}": "<uuid:copy_id>",
        "{ended}": "<uuid:copy_id>",
        "{key}": "<name:name>",
    }
    listed = set()
    for _, path, _, _ in ROUTES:
        for word, pattern in words.items():
            path = path.replace(word, pattern)
        path = re.sub("/(objects|explain|verify|demote)/a", r"/\1/<path:key>", path)
        path = path.replace("/local", "/<name:scheme>")
        for name in ("disk", "leaving", "shared", "data", "alpha", "omega", "kept"):
            path = path.replace(f"/{name}", "/<name:name>")
        listed.add(path)
    assert listed == patterns


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_a_role_may_do_what_is_its_own_and_no_more(lab: Lab, route: tuple[str, str, str, Any]) -> None:
    method, path, needed, body = route
    path = path.format(**furnish(lab))
    for role in ("viewer", "operator"):
        if not Role(role).allows(Role(needed)):
            problem = getattr(lab, role).refused(method, path, body, status=403)
            assert problem["code"] == "permission_denied"
    answer = getattr(lab, needed)(method, path, body)
    assert answer.status_code < 300 or answer.json()["code"] == "in_use", answer.content


@pytest.mark.parametrize("route", NAMED, ids=names)
def test_what_another_project_has_does_not_exist(lab: Lab, other: Lab, route: tuple[str, str, str, Any]) -> None:
    method, path, _, body = route
    path = path.format(**furnish(lab))
    for word, theirs in (("disk", "sand"), ("data", "stuff"), ("shared", "common")):
        path = path.replace(word, theirs)
    lab.project.storages.filter(name="disk").update(name="sand")
    lab.project.buckets.filter(name="data").update(name="stuff")
    lab.project.credentials.update(name="common")
    before = state()
    problem = other.admin.refused(method, path, body, status=404)
    assert problem["code"] == "not_found"
    assert state() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("copies", {"from": "stuff/a", "to": "data/a"}),
        ("copies", {"from": "data/a", "to": "stuff/a"}),
        ("buckets", {"name": "more", "storage": "sand"}),
        ("buckets", {"name": "more", "mount": {"storage": "sand"}}),
        ("storages", {"name": "more", "scheme": "sftp", "credential_name": "common"}),
        ("aliases", {"bucket": "stuff", "key": "a", "mode": "read"}),
        ("aliases", [{"bucket": "data", "key": "a", "mode": "read"}, {"bucket": "stuff", "key": "a", "mode": "read"}]),
    ],
)
def test_nothing_is_made_of_what_another_project_has(lab: Lab, other: Lab, path: str, body: Any) -> None:
    furnish(lab)
    lab.project.storages.filter(name="disk").update(name="sand")
    lab.project.buckets.filter(name="data").update(name="stuff")
    lab.project.credentials.update(name="common")
    before = state()
    other.admin.refused("POST", path, body, status=404)
    assert state() == before


def test_groups_and_lists_stay_within_the_project(lab: Lab, other: Lab) -> None:
    furnish(lab)
    assert other.admin("POST", "aliases/revoke", {"bucket": "data"}).json() == {"revoked": 0}
    assert other.admin("POST", "aliases/extend", {"key": "a", "lifetime_s": 9}).json() == {"extended": 0}
    assert other.admin("POST", "aliases/fail", {"key": "b"}).json() == {"failed": 0}
    for path in ("aliases", "transfers", "copies", "credentials", "buckets/data/objects"):
        assert other.viewer.get(path)["items"] == []
    for event in other.viewer.get("events")["items"]:
        assert event["kind"] in ("storage.created", "bucket.created", "api_key.issued")
    assert lab.project.aliases.filter(revoked_at=None, failed_at=None).count() == 2


def test_an_alias_url_is_for_operators_only(lab: Lab) -> None:
    made = lab.operator.make("aliases", ALIAS)
    assert made["url"].startswith("http")
    for path in ("aliases", f"aliases/{made['id']}"):
        seen = lab.viewer("GET", path).content.decode()
        assert made["url"].split("/a/")[1].split("/")[0] not in seen
    assert lab.viewer.get(f"aliases/{made['id']}")["url"] is None
    assert lab.operator.get(f"aliases/{made['id']}")["url"] == made["url"]


@pytest.mark.parametrize("text", ["", "wbk_", "wbk_000000000000_x", "nonsense", "wbk_%00_x", "wbk_é_x"])
def test_an_unknown_key_is_refused(lab: Lab, text: str) -> None:
    answer = Client().get("/api/v1/whoami", headers={"Authorization": f"Bearer {text}"})
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["code"] == "authentication_failed"


def test_without_a_key_nothing_is_shown(lab: Lab) -> None:
    for path in ("", "storages", "aliases", "no/such/address"):
        answer = Client().get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
        assert "Authorization: Bearer" in answer.json()["hint"]


def test_revoked_and_expired_keys_are_refused(lab: Lab) -> None:
    ApiKey.objects.filter(pk=lab.viewer.key.pk).update(revoked_at=timezone.now())
    ApiKey.objects.filter(pk=lab.operator.key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    lab.viewer.refused("GET", "whoami", status=401)
    lab.operator.refused("GET", "whoami", status=401)


def test_whoami_tells_project_role_and_key(lab: Lab) -> None:
    assert lab.operator.get("whoami") == {
        "project": "lab",
        "role": "operator",
        "key": lab.operator.key.public_id,
        "user": None,
    }


def test_a_session_is_a_caller_and_needs_a_csrf_token_to_change_things(lab: Lab, other: Lab) -> None:
    user = User.objects.create_user("kim", password="secret")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get("/api/v1/whoami").status_code == 403
    Membership.objects.create(project=lab.project, user=user, role=Role.ADMIN)
    assert client.get("/api/v1/whoami").json() == {"project": "lab", "role": "admin", "key": None, "user": "kim"}
    made = client.post("/api/v1/keys", {"label": "x", "role": "admin"}, content_type="application/json")
    assert made.status_code == 403
    assert client.get("/api/v1/whoami", headers={"X-Waybill-Project": "other"}).status_code == 403


def test_an_unknown_address_is_a_problem_document(lab: Lab) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        for path in ("nonsense", "storages/", "buckets/UPPER", "aliases/not-a-uuid", "buckets/data/objects/"):
            assert lab.viewer.refused(method, path, status=404)["code"] == "not_found"


def test_a_method_that_a_route_does_not_have_is_refused(lab: Lab) -> None:
    problem = lab.admin.refused("PUT", "storages", status=405)
    assert problem["code"] == "method_not_allowed"
    assert lab.admin("PUT", "storages")["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_a_head_request_is_a_get_without_its_body(lab: Lab) -> None:
    answer = lab.viewer("HEAD", "storages")
    assert (answer.status_code, answer.content) == (200, b"")


def test_no_answer_may_be_kept_by_a_cache(lab: Lab) -> None:
    for path in ("aliases", "whoami", "storages/none"):
        assert lab.viewer("GET", path)["Cache-Control"] == "no-store"


def test_ids_that_nobody_has_are_not_found(lab: Lab) -> None:
    for path in (f"aliases/{uuid.uuid4()}", f"transfers/{uuid.uuid4()}", "keys/abcdef", "storages/none"):
        lab.admin.refused("GET", path, status=404)
