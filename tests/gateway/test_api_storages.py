"""Storages and credentials over the API; above all, that no secret ever comes out again."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from staging import credentials, storages
from staging.models import Alias, Bucket, Credential, Object, Replica, Storage
from staging.states import StorageState
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db

CANARY = "canary-4f1d9c-in-a-coal-mine"
SFTP = {
    "host": "sftp.example.org",
    "username": "waybill",
    "root": "/srv/data",
    "host_key_fingerprint": "SHA256:" + "A" * 43,
}


def sftp(name: str, **more: Any) -> dict[str, Any]:
    """The body of an SFTP storage."""
    return {"name": name, "scheme": "sftp", "options": SFTP, **more}


def test_a_storage_is_registered_and_shown(lab: Lab, tmp_path: Path) -> None:
    body = {"name": "fast", "scheme": "local", "options": {"root": str(tmp_path / "fast"), "sync": False}, "tier": 1}
    made = lab.admin.make("storages", {**body, "capacity_bytes": 1000})
    assert made == lab.viewer.get("storages/fast")
    assert {name: made[name] for name in body} == body
    assert made["root_bucket"] == "~fast"
    assert (made["state"], made["used_bytes"], made["capacity_bytes"]) == ("active", 0, 1000)
    assert made["created_at"].endswith("Z")
    assert [storage["name"] for storage in lab.viewer.get("storages")["items"]] == ["disk", "fast"]


def test_no_answer_log_line_or_database_row_holds_a_secret(
    lab: Lab, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"password": CANARY}
    seen = [
        lab.admin("POST", "storages", sftp("one", credential=secret), Idempotency_Key="canary"),
        lab.admin("POST", "storages", sftp("one", credential=secret), Idempotency_Key="canary"),
        lab.admin("POST", "storages", sftp("one", credential=secret)),
        lab.admin("POST", "storages", sftp("two", credential={"pasword": CANARY})),
        lab.admin("POST", "storages", sftp("two", credential={"password": [CANARY]})),
        lab.admin("POST", "storages", sftp("two", credential=CANARY)),
        lab.admin("POST", "storages", sftp("two", credential={"private_key": CANARY})),
        lab.admin("POST", "storages", sftp("two", password=CANARY)),
        lab.admin("POST", "storages", {"name": "two", "scheme": "sftp", "options": {**SFTP, "password": CANARY}}),
        lab.admin("POST", "storages", raw=f'{{"name": "two", "credential": {{"password": "{CANARY}"}}'.encode()),
        lab.admin("PATCH", "storages/one", {"credential": {"password": CANARY + "2"}}),
        lab.admin("PATCH", "storages/one", {"credential": {"private_key": CANARY}}),
        lab.admin("POST", "credentials", {"name": "shared", "secrets": secret}),
        lab.admin("PATCH", "credentials/shared", {"secrets": {"password": CANARY + "3"}}),
        lab.admin("PATCH", "credentials/shared", {"secrets": CANARY}),
        lab.admin("POST", "storages", sftp("three", credential_name="shared")),
        *(lab.admin("GET", path) for path in ("storages", "storages/one", "credentials", "credentials/shared")),
        *(lab.admin("GET", path) for path in ("events", "buckets", "schemes", "schema")),
    ]
    assert {answer.status_code for answer in seen} == {200, 201, 400, 409}
    assert credentials.unseal(Credential.objects.get(name="one")) == {"password": CANARY + "2"}
    for answer in seen:
        assert CANARY not in answer.content.decode() + str(dict(answer.items()))
    output = capsys.readouterr()
    assert CANARY not in caplog.text + output.out + output.err
    with connection.cursor() as cursor:
        for model in apps.get_app_config("staging").get_models():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)}")
            for row in cursor.fetchall():
                assert CANARY not in " ".join(
                    bytes(v).decode("latin-1") if isinstance(v, memoryview) else str(v) for v in row
                )


@pytest.mark.django_db(transaction=True)
def test_the_database_file_holds_no_secret(lab: Lab) -> None:
    lab.admin.make("storages", sftp("one", credential={"password": CANARY}), Idempotency_Key="canary")
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL's files belong to its server; the rows are looked at above")
    name = Path(connection.settings_dict["NAME"])
    files = [path for path in name.parent.glob(f"{name.name}*") if path.is_file()]
    assert files
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_only_the_names_of_secrets_are_shown(lab: Lab) -> None:
    made = lab.admin.make("storages", sftp("one", credential={"password": CANARY}))
    assert (made["credential_name"], made["credential_fields"]) == ("one", ["password"])
    assert "credential" not in made
    assert lab.viewer.get("storages/disk")["credential_fields"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "scheme": "nonsense"}, "scheme"),
        ({"name": "x", "scheme": "local"}, "root"),
        ({"name": "x", "scheme": "local", "options": {"root": "relative"}}, "root"),
        ({"name": "x", "scheme": "local", "options": {"root": "/etc"}}, "root"),
        ({"name": "x", "scheme": "local", "options": {"root": 7}}, "root"),
        ({"name": "x", "scheme": "memory", "options": {"what": 1}}, "what"),
        ({"name": "x", "scheme": "memory", "options": []}, "options"),
        ({"name": "x", "scheme": "memory", "tier": 3}, "tier"),
        ({"name": "x", "scheme": "memory", "tier": True}, "tier"),
        ({"name": "x", "scheme": "memory", "capacity_bytes": -1}, "capacity_bytes"),
        ({"name": "x", "scheme": "memory", "capacity_bytes": 2**63}, "capacity_bytes"),
        ({"name": "~x", "scheme": "memory"}, "name"),
        ({"name": "x\n", "scheme": "memory"}, "name"),
        ({"name": "", "scheme": "memory"}, "name"),
        ({"scheme": "memory"}, "name"),
        (sftp("x", credential={"password": ""}), "private_key"),
        (sftp("x", credential={"password": "x"}, options={**SFTP, "port": 70000}), "port"),
        ({"name": "x", "scheme": "memory", "used_bytes": 5}, "used_bytes"),
    ],
)
def test_a_storage_that_cannot_work_is_refused_by_field(lab: Lab, body: dict[str, Any], field: str) -> None:
    problem = lab.admin.refused("POST", "storages", body, status=400)
    assert (problem["code"], list(problem["fields"])) == ("invalid_request", [field])
    assert Storage.objects.filter(project=lab.project).count() == 1


def test_a_local_folder_of_another_project_cannot_be_registered(lab: Lab, other: Lab) -> None:
    for root in (lab.root, lab.root / "in", lab.root.parent):
        body = {"name": "theirs", "scheme": "local", "options": {"root": str(root)}}
        assert list(other.admin.refused("POST", "storages", body, status=400)["fields"]) == ["root"]
    other.admin.refused("PATCH", "storages/disk", {"options": {"root": str(lab.root)}}, status=400)


def test_a_name_is_given_once(lab: Lab) -> None:
    assert (
        lab.admin.refused("POST", "storages", {"name": "disk", "scheme": "memory"}, status=409)["code"] == "name_taken"
    )
    lab.admin.make("credentials", {"name": "shared", "secrets": {"password": "x"}})
    body = {"name": "shared", "secrets": {"password": "x"}}
    assert lab.admin.refused("POST", "credentials", body, status=409)["code"] == "name_taken"


def test_a_change_leaves_what_it_does_not_name(lab: Lab) -> None:
    lab.admin.make("storages", sftp("one", credential={"password": "old"}))
    assert lab.admin("PATCH", "storages/one", {"tier": 1, "capacity_bytes": 10}).json()["tier"] == 1
    changed = lab.admin("PATCH", "storages/one", {"options": {**SFTP, "port": 2222}}).json()
    assert (changed["options"]["port"], changed["tier"], changed["capacity_bytes"]) == (2222, 1, 10)
    assert lab.admin("PATCH", "storages/one", {"capacity_bytes": None}).json()["capacity_bytes"] is None
    assert credentials.unseal(Credential.objects.get(name="one")) == {"password": "old"}
    assert lab.admin("PATCH", "storages/one", {}).status_code == 200


def test_a_change_is_made_whole_or_not_at_all(lab: Lab) -> None:
    Storage.objects.filter(pk=lab.storage.pk).update(used_bytes=100)
    problem = lab.admin.refused("PATCH", "storages/disk", {"tier": 0, "capacity_bytes": 99}, status=400)
    assert list(problem["fields"]) == ["capacity_bytes"]
    Storage.objects.filter(pk=lab.storage.pk).update(state=StorageState.LOST)
    lab.admin.refused("PATCH", "storages/disk", {"tier": 0, "state": "cordoned"}, status=400)
    assert lab.viewer.get("storages/disk")["tier"] == 2


def test_a_storage_is_cordoned_and_opened_again(lab: Lab) -> None:
    for state in ("cordoned", "cordoned", "active"):
        assert lab.admin("PATCH", "storages/disk", {"state": state}).json()["state"] == state
    lab.admin.refused("PATCH", "storages/disk", {"state": "lost"}, status=400)


def test_rotating_a_credential_keeps_the_secrets_that_are_not_given(lab: Lab) -> None:
    lab.admin.make("credentials", {"name": "shared", "secrets": {"password": "old", "passphrase": "p"}})
    lab.admin.make("storages", sftp("one", credential_name="shared"))
    answer = lab.admin("PATCH", "credentials/shared", {"secrets": {"password": "new"}}).json()
    assert (answer["field_names"], answer["storages"]) == (["passphrase", "password"], ["one"])
    assert answer["rotated_at"]
    assert credentials.unseal(Credential.objects.get(name="shared")) == {"password": "new", "passphrase": "p"}
    lab.admin("PATCH", "credentials/shared", {"secrets": {"passphrase": ""}})
    assert credentials.unseal(Credential.objects.get(name="shared")) == {"password": "new"}
    lab.admin.refused("PATCH", "credentials/shared", {"secrets": {"password": ""}}, status=400)


def test_a_shared_credential_is_rotated_by_its_own_name_only(lab: Lab) -> None:
    lab.admin.make("credentials", {"name": "shared", "secrets": {"password": "old"}})
    lab.admin.make("storages", sftp("one", credential_name="shared"))
    lab.admin.make("storages", sftp("two", credential_name="shared"))
    problem = lab.admin.refused("PATCH", "storages/one", {"credential": {"password": "new"}}, status=400)
    assert "shared" in problem["fields"]["credential"][0]


def test_a_credential_in_use_stays(lab: Lab) -> None:
    lab.admin.make("credentials", {"name": "shared", "secrets": {"password": "x"}})
    lab.admin.make("storages", sftp("one", credential_name="shared"))
    assert lab.admin.refused("DELETE", "credentials/shared", status=409)["code"] == "in_use"
    assert lab.admin("DELETE", "storages/one").status_code == 204
    assert lab.admin("DELETE", "credentials/shared").status_code == 204
    lab.admin.refused("GET", "credentials/shared", status=404)


def test_a_storage_takes_its_own_credential_with_it(lab: Lab) -> None:
    lab.admin.make("storages", sftp("one", credential={"password": "x"}))
    lab.admin("DELETE", "storages/one")
    assert not Credential.objects.exists()
    assert not Bucket.objects.filter(name="~one").exists()


def test_a_storage_in_use_stays(lab: Lab, tmp_path: Path) -> None:
    assert "data" in lab.admin.refused("DELETE", "storages/disk", status=409)["detail"]
    lab.admin.make("storages", {"name": "two", "scheme": "local", "options": {"root": str(tmp_path / "two")}})
    lab.operator.make("aliases", {"bucket": "~two", "key": "a", "mode": "read"})
    assert "alias" in lab.admin.refused("DELETE", "storages/two", status=409)["detail"]
    lab.operator("POST", "aliases/revoke", {"bucket": "~two"})
    lab.admin("PATCH", "buckets/data", {"policy": {"replicate_to": ["two"]}})
    assert "name the storage two: data" in lab.admin.refused("DELETE", "storages/two", status=409)["detail"]
    lab.admin("PATCH", "buckets/data", {"policy": {}})
    assert lab.admin("DELETE", "storages/two").status_code == 204
    assert not Alias.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_forgetting_a_storage_leaves_its_files(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    lab.admin.make("storages", {"name": "two", "scheme": "local", "options": {"root": str(tmp_path / "two")}})
    lab.upload("kept.txt", b"kept", bucket=Bucket.objects.get(name="~two"))
    lab.operator("POST", "aliases/revoke", {"bucket": "~two"})
    assert lab.admin("DELETE", "storages/two").status_code == 204
    assert (tmp_path / "two" / "kept.txt").read_bytes() == b"kept"
    assert not Replica.objects.exists()
    assert not Object.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_test_tells_each_step(lab: Lab, tmp_path: Path) -> None:
    found = lab.admin("POST", "storages/disk/test").json()
    assert found["ok"]
    assert all(set(step) == {"step", "ok", "detail"} for step in found["steps"])
    lab.admin.make("storages", {"name": "absent", "scheme": "local", "options": {"root": str(tmp_path / "absent")}})
    answer = lab.admin("POST", "storages/absent/test")
    assert (answer.status_code, answer.json()["ok"]) == (200, False)
    assert not answer.json()["steps"][-1]["ok"]
    shown = lab.viewer.get("storages/absent")
    assert (shown["test_steps"], bool(shown["tested_at"])) == (answer.json()["steps"], True)


@pytest.mark.django_db(transaction=True)
def test_browsing_shows_what_lies_there_but_not_our_own_folder(lab: Lab) -> None:
    (lab.root / "in" / "deep").mkdir()
    for name in ("in/b", "in/deep/c", "a", "z"):
        (lab.root / name).write_bytes(b"1234")
    lab.upload("managed", b"x")
    assert (lab.root / ".waybill").is_dir()
    page = lab.viewer.get("storages/disk/objects?delimiter=/")
    assert ([item["key"] for item in page["items"]], page["prefixes"]) == (["a", "z"], ["in/"])
    assert page["items"][0]["size"] == 4
    flat = lab.viewer.get("storages/disk/objects")
    assert [item["key"] for item in flat["items"]] == ["a", "in/b", "in/deep/c", "z"]
    nothing = {"items": [], "prefixes": [], "unreachable": {}, "next": None}
    assert lab.viewer.get("storages/disk/objects?prefix=.waybill/") == nothing
    assert lab.viewer.get("buckets/~disk/objects?delimiter=/") == page


def test_a_storage_that_does_not_answer_is_a_bad_gateway(lab: Lab, tmp_path: Path, transactional_db: None) -> None:
    lab.admin.make("storages", {"name": "absent", "scheme": "local", "options": {"root": str(tmp_path / "absent")}})
    problem = lab.viewer.refused("GET", "storages/absent/objects", status=502)
    assert (problem["code"], problem["retryable"]) == ("storage_offline", True)


def test_each_kind_of_storage_tells_its_fields(lab: Lab) -> None:
    kinds = {kind["scheme"]: kind for kind in lab.viewer("GET", "schemes").json()}
    assert {"local", "sftp", "s3", "irods", "webdav", "http"} <= set(kinds)
    assert kinds["local"]["fields"][0] == {
        "name": "root",
        "type": "string",
        "help": "Absolute path of the folder below which every object lies",
        "required": True,
        "default": None,
        "secret": False,
        "choices": [],
    }
    for scheme, kind in kinds.items():
        assert lab.viewer.get(f"schemes/{scheme}") == kind
    lab.viewer.refused("GET", "schemes/gopher", status=404)
    assert kinds["s3"]["capabilities"] == ["copies_within", "lists_unfinished", "signs_urls"]
    assert [scheme for scheme in kinds if kinds[scheme]["read_only"]] == ["http"]
    [engine] = [field for field in kinds["sftp"]["fields"] if field["name"] == "engine"]
    assert engine["choices"] == ["auto", "paramiko", "openssh"]
    body = sftp("far", credential={"password": "x"})
    body["options"] = {**SFTP, "engine": "telnet"}
    assert lab.admin.refused("POST", "storages", body, status=400)["fields"]["engine"] == [
        "one of auto, paramiko, openssh was expected"
    ]
    assert {field["name"] for field in kinds["sftp"]["fields"] if field["secret"]} >= {"password", "private_key"}
    assert {field["name"] for field in kinds["irods"]["fields"] if field["secret"]} == {"password"}


def test_managed_bytes_are_out_of_reach_through_a_storage_above_or_below(lab: Lab) -> None:
    above = {"name": "above", "scheme": "local", "options": {"root": str(lab.root.parent)}}
    lab.admin.make("storages", above)
    aimed = {"bucket": "~above", "key": f"{lab.root.name}/.waybill/1/ab/cd", "mode": "write", "on_exists": "replace"}
    assert "key" in lab.operator.refused("POST", "aliases", aimed, status=400)["fields"]
    assert lab.admin("DELETE", f"buckets/~above/objects/{aimed['key']}").status_code == 404
    below = {"name": "below", "scheme": "local", "options": {"root": str(lab.root / ".waybill/1")}}
    lab.admin.refused("POST", "storages", below, status=400)


@pytest.mark.django_db(transaction=True)
def test_a_storage_that_others_find_failing_is_shown_with_the_reason_until_a_test_passes(lab: Lab) -> None:
    well = {"failing_since": None, "code": "", "detail": "", "next_try_at": None}
    assert lab.viewer.get("storages/disk")["health"] == well
    since = datetime.now(UTC)
    Storage.objects.update(failing_since=since, failing_code="offline", failing_detail="no route")
    found = lab.viewer.get("storages/disk")["health"]
    assert found == {**well, "failing_since": found["failing_since"], "code": "offline", "detail": "no route"}
    assert lab.viewer.get("storages")["items"][0]["health"] == found
    assert lab.admin("POST", "storages/disk/test").json()["ok"]
    assert lab.viewer.get("storages/disk")["health"] == well


def test_when_a_credential_was_last_used_is_shown(lab: Lab) -> None:
    lab.admin.make("credentials", {"name": "shared", "secrets": {"password": CANARY}})
    assert lab.viewer.get("credentials/shared")["last_used_at"] is None
    lab.admin.make("storages", sftp("far", credential_name="shared"))
    storages.adapter_for(Storage.objects.get(name="far"))
    lab.viewer.get("credentials")  # It is written down after a request.
    assert lab.viewer.get("credentials/shared")["last_used_at"]
