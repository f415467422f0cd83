"""Aliases over the API: made one by one or by the thousand, found, extended, revoked; and what addresses may name."""

import shlex
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet
from django.test import Client
from django.utils import timezone

from staging.models import Alias, Event
from tests.gateway.conftest import Lab
from tests.gateway.test_api_objects import pages
from tests.gateway.test_api_storages import SFTP, sftp

pytestmark = pytest.mark.django_db

READ = {"bucket": "data", "key": "dir/a.txt", "mode": "read"}
WRITE = {"bucket": "data", "key": "dir/out.bin", "mode": "write"}


def test_an_alias_is_made_with_all_it_may_have(lab: Lab) -> None:
    asked = {
        **WRITE,
        "lifetime_s": 3600,
        "max_uses": 2,
        "max_bytes": 1000,
        "on_exists": "replace",
        "sha256": "0" * 64,
        "size": 10,
        "content_type": "text/csv",
        "allow_empty_stream": True,
        "labels": {"job": "7", "Ünicode?": "no"},
    }
    lab.operator.refused("POST", "aliases", asked, status=400)
    asked["labels"] = {"job": "7", "step/name": "ä"}
    made = lab.operator.make("aliases", asked)
    assert {name: made[name] for name in asked if name != "lifetime_s"} == {
        name: value for name, value in asked.items() if name != "lifetime_s"
    }
    assert made["url"].endswith("/out.bin")
    assert made["state"] == "live"
    assert (made["uses"], made["revoked_at"], made["created_by"]) == (0, None, lab.operator.key.public_id)
    left = datetime.fromisoformat(made["expires_at"]) - timezone.now()
    assert timedelta(seconds=3590) < left <= timedelta(seconds=3600)
    assert lab.operator.get(f"aliases/{made['id']}") == made


@pytest.mark.django_db(transaction=True)
def test_the_curl_line_is_the_right_direction_and_the_url_works(lab: Lab) -> None:
    write = lab.operator.make("aliases", {**WRITE, "key": "dir/o'ut.bin"})
    words = shlex.split(write["curl"])
    assert (words[0], words[-3:]) == ("curl", ["-T", "o'ut.bin", write["url"]])
    address = write["url"].split("/", 3)[3]
    stored = Client().put(f"/{address}", b"content", content_type="application/octet-stream")
    assert stored.status_code == 201
    read = lab.operator.make("aliases", {**READ, "key": "dir/o'ut.bin"})
    assert shlex.split(read["curl"])[-3:] == ["-o", "o'ut.bin", read["url"]]
    got = Client().get("/" + read["url"].split("/", 3)[3])
    assert b"".join(got.streaming_content) == b"content"


def test_a_list_is_made_in_order_and_answered_by_a_list(lab: Lab, django_assert_max_num_queries: Any) -> None:
    wanted = [{"bucket": ("data", "raw")[i % 2], "key": f"f{i}", "mode": "read"} for i in range(1000)]
    with django_assert_max_num_queries(50):
        made = lab.operator.make("aliases", wanted)
    assert [(alias["bucket"], alias["key"]) for alias in made] == [(want["bucket"], want["key"]) for want in wanted]
    assert len({alias["url"] for alias in made}) == 1000
    assert Event.objects.filter(kind="alias.created").count() == 1000


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({**READ, "key": "../x"}, "key"),
        ({**READ, "mode": "both"}, "mode"),
        ({**READ, "what": 1}, "what"),
        ({**READ, "max_uses": 0}, "max_uses"),
        ({**READ, "labels": {"1st": "x"}}, "labels"),
        ("not an object", "non_field_errors"),
    ],
)
def test_a_list_with_one_that_is_wrong_makes_none_and_says_which(lab: Lab, bad: Any, field: str) -> None:
    problem = lab.operator.refused("POST", "aliases", [READ, bad, WRITE], status=400)
    assert list(problem["fields"]) == ["1"]
    assert list(problem["fields"]["1"]) == [field]
    assert all(isinstance(sentence, str) for sentence in problem["fields"]["1"][field])
    assert isinstance(problem["fields"]["1"][field], list)
    assert not Alias.objects.exists()


@pytest.mark.parametrize("count", [0, 1001])
def test_a_list_has_one_to_a_thousand(lab: Lab, count: int) -> None:
    lab.operator.refused("POST", "aliases", [READ] * count, status=400)


@pytest.mark.parametrize("mode", ["read-prefix", "write-prefix"])
def test_a_prefix_has_one_form_and_its_url_ends_in_a_slash(lab: Lab, mode: str) -> None:
    for key, stored, name in (("dir/run 1", "dir/run 1/", "run%201"), ("dir/", "dir/", "dir"), ("", "", "data")):
        made = lab.operator.make("aliases", {"bucket": "data", "key": key, "mode": mode})
        assert (made["key"], made["mode"]) == (stored, mode)
        assert made["url"].endswith(f"/{name}/")
        assert made["url"] in made["curl"]
    assert lab.operator.make("aliases", {"bucket": "data", "mode": mode})["key"] == ""


def test_an_alias_may_have_a_lease_and_limits(lab: Lab) -> None:
    asked = {
        "starts_on_use": True,
        "idle_s": 600,
        "max_total_bytes": 10**12,
        "max_rate": 10**6,
        "max_requests": 4,
        "networks": ["192.0.2.0/24", "2001:db8::/32"],
    }
    made = lab.operator.make("aliases", {"bucket": "data", "key": "out", "mode": "write-prefix", **asked})
    assert {name: made[name] for name in asked} == asked
    assert (made["first_used_at"], made["written_bytes"]) == (None, 0)
    left = datetime.fromisoformat(made["expires_at"]) - timezone.now()
    assert left > timedelta(days=89), "nobody has used it yet"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"networks": ["192.0.2.1/24"]}, "networks"),
        ({"networks": ["host.example.org"]}, "networks"),
        ({"networks": ["192.0.2.0/24"] * 65}, "networks"),
        ({"networks": "192.0.2.0/24"}, "networks"),
        ({"max_rate": 1}, "max_rate"),
        ({"max_requests": 0}, "max_requests"),
        ({"idle_s": 0}, "idle_s"),
        ({"idle_s": 10**12}, "idle_s"),
        ({"max_total_bytes": 5}, "max_total_bytes"),
        ({"mode": "read-prefix", "sha256": "0" * 64}, "sha256"),
        ({"mode": "write-prefix", "size": 5}, "size"),
        ({"mode": "write-prefix", "key": "/"}, "key"),
        ({"mode": "write-prefix", "key": "a/../b"}, "key"),
        ({"mode": "write-prefix", "key": "a//"}, "key"),
        ({"mode": "folder"}, "mode"),
    ],
)
def test_a_lease_that_makes_no_sense_is_refused_by_its_field(lab: Lab, change: dict[str, Any], field: str) -> None:
    problem = lab.operator.refused("POST", "aliases", {**READ, **change}, status=400)
    assert field in problem["fields"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": ""}, "key"),
        ({"key": None}, "key"),
        ({"key": 5}, "key"),
        ({"key": "a//b"}, "key"),
        ({"key": "a/./b"}, "key"),
        ({"key": "a/"}, "key"),
        ({"key": "\n"}, "key"),
        ({"key": "é" * 513}, "key"),
        ({"key": ".x.0123456789abcdef0123456789abcdef.partial"}, "key"),
        ({"mode": None}, "mode"),
        ({"lifetime_s": 0}, "lifetime_s"),
        ({"lifetime_s": 10**12}, "lifetime_s"),
        ({"lifetime_s": "60"}, "lifetime_s"),
        ({"lifetime_s": 60.0}, "lifetime_s"),
        ({"lifetime_s": True}, "lifetime_s"),
        ({"max_uses": 2**31}, "max_uses"),
        ({"max_bytes": -1}, "max_bytes"),
        ({"max_bytes": 2**63}, "max_bytes"),
        ({"size": "5"}, "size"),
        ({"size": 5, "max_bytes": 4}, "size"),
        ({"sha256": "ABC"}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"on_exists": "append"}, "on_exists"),
        ({"content_type": "text/plain\r\nX: y"}, "content_type"),
        ({"allow_empty_stream": "true"}, "allow_empty_stream"),
        ({"allow_empty_stream": 1}, "allow_empty_stream"),
        ({"labels": {"a": 1}}, "labels"),
        ({"labels": ["a"]}, "labels"),
        ({"labels": {"a": "x" * 256}}, "labels"),
        ({"labels": {str(chr(97 + i // 26)) + chr(97 + i % 26): "" for i in range(33)}}, "labels"),
        ({"labels": {"a": {"b": "c"}}}, "labels"),
        ({"project": "other"}, "project"),
        ({"uri": "sftp://h/x"}, "uri"),
        ({"uri": 5}, "uri"),
    ],
)
def test_an_alias_that_cannot_be_is_refused_by_field(lab: Lab, change: dict[str, Any], field: str) -> None:
    problem = lab.operator.refused("POST", "aliases", {**READ, **change}, status=400)
    assert (problem["code"], list(problem["fields"])) == ("invalid_request", [field])
    assert not Alias.objects.exists()


def test_a_uri_below_a_registered_storage_names_its_root_bucket(lab: Lab, tmp_path: Path) -> None:
    lab.admin.make("storages", sftp("far", credential={"password": "x"}))
    for uri, bucket, key in [
        (f"file://{quote(str(lab.root))}/in/a%20b.txt", "~disk", "in/a b.txt"),
        ("sftp://sftp.example.org/srv/data/dir/f", "~far", "dir/f"),
        ("sftp://SFTP.example.org:22/srv/data/dir/100%2525", "~far", "dir/100%25"),
        ("SFTP://sftp.example.org/srv/data/%C3%A4", "~far", "ä"),
    ]:
        made = lab.operator.make("aliases", {"uri": uri, "mode": "read"})
        assert (made["bucket"], made["key"]) == (bucket, key)


def test_the_longest_root_wins_and_equal_ones_must_be_told_apart(lab: Lab) -> None:
    for name, root in (("wide", "/srv"), ("narrow", "/srv/data"), ("twin", "/srv")):
        lab.admin.make("storages", {**sftp(name, credential={"password": "x"}), "options": {**SFTP, "root": root}})
    uri = "sftp://sftp.example.org/srv/data/f"
    assert lab.operator.make("aliases", {"uri": uri, "mode": "read"})["bucket"] == "~narrow"
    problem = lab.operator.refused(
        "POST", "aliases", {"uri": "sftp://sftp.example.org/srv/f", "mode": "read"}, status=400
    )
    assert "~twin" in problem["detail"]
    assert "~wide" in problem["detail"]


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("sftp://sftp.example.org/../x", 403),
        ("sftp://sftp.example.org/srv/data/../../etc/passwd", 400),
        ("sftp://sftp.example.org/srv/data/%2e%2e/x", 400),
        ("sftp://sftp.example.org/srv/data/..%2fx", 400),
        ("sftp://sftp.example.org/srv/data%2Fx", 400),
        ("sftp://sftp.example.org/srv/database/x", 403),
        ("sftp://sftp.example.org/srv/data", 403),
        ("sftp://sftp.example.org/srv/data/", 400),
        ("sftp://sftp.example.org//srv/data/x", 403),
        ("sftp://waybill@sftp.example.org/srv/data/x", 400),
        ("sftp://waybill:secret@sftp.example.org/srv/data/x", 400),
        ("sftp://@sftp.example.org/srv/data/x", 400),
        ("sftp://sftp.example.org@evil.example/srv/data/x", 400),
        ("sftp://evil.example\\@sftp.example.org/srv/data/x", 400),
        ("sftp://sftp.example.org:2222/srv/data/x", 403),
        ("sftp://sftp.example.org:0/srv/data/x", 403),
        ("sftp://sftp.example.org:99999/srv/data/x", 400),
        ("sftp://sftp.example.org:ssh/srv/data/x", 400),
        ("sftp://evil.example/srv/data/x", 403),
        ("sftp://sftp.example.org.evil.example/srv/data/x", 403),
        ("sftp://sftp.example.org./srv/data/x", 403),
        ("s3://sftp.example.org/srv/data/x", 403),
        ("http://sftp.example.org/srv/data/x", 403),
        ("http://169.254.169.254/latest/meta-data", 403),
        ("file:///etc/passwd", 403),
        ("file://sftp.example.org/srv/data/x", 403),
        ("//sftp.example.org/srv/data/x", 403),
        ("/srv/data/x", 403),
        ("sftp:sftp.example.org/srv/data/x", 403),
        ("sftp://sftp.example.org/srv/data/x?versionId=1", 400),
        ("sftp://sftp.example.org/srv/data/x?", 400),
        ("sftp://sftp.example.org/srv/data/x#", 400),
        ("sftp://sftp.example.org/srv/data/x\ny", 400),
        (" sftp://sftp.example.org/srv/data/x", 400),
        ("sftp://sftp.example.org/srv/data/a b", 400),
        ("sftp://sftp.example.org/srv/data/a%00b", 400),
        ("sftp://sftp.example.org/srv/data/a%0Ab", 400),
        ("sftp://sftp.example.org/srv/data/%ff", 400),
        ("sftp://[::1/srv/data/x", 400),
        ("", 400),
        ("x" * 5000, 400),
    ],
)
def test_a_hostile_address_is_refused(lab: Lab, uri: str, status: int) -> None:
    lab.admin.make("storages", sftp("far", credential={"password": "x"}))
    problem = lab.operator.refused("POST", "aliases", {"uri": uri, "mode": "read"}, status=status)
    assert problem["code"] == {400: "invalid_request", 403: "address_refused"}[status]
    assert not Alias.objects.exists()


def test_a_uri_of_another_projects_storage_is_an_unknown_address(lab: Lab, other: Lab) -> None:
    uri = f"file://{quote(str(lab.root))}/in/a"
    known = other.operator.refused("POST", "aliases", {"uri": uri, "mode": "read"}, status=403)
    unknown = other.operator.refused("POST", "aliases", {"uri": "file:///nowhere/a", "mode": "read"}, status=403)
    assert known["detail"] == unknown["detail"]


def test_many_uris_cost_no_more_queries_than_one(lab: Lab, django_assert_max_num_queries: Any) -> None:
    wanted = [{"uri": f"file://{quote(str(lab.root))}/in/f{i}", "mode": "read"} for i in range(200)]
    with django_assert_max_num_queries(20):
        assert len(lab.operator.make("aliases", wanted)) == 200


def test_aliases_are_found_by_every_filter(lab: Lab) -> None:
    one = lab.operator.make("aliases", {**READ, "labels": {"job": "7", "run": "a"}})["id"]
    two = lab.operator.make("aliases", {**WRITE, "labels": {"job": "7", "run": "b:c"}})["id"]
    old = lab.admin.make("aliases", {"bucket": "raw", "key": "Dir/x", "mode": "read"})["id"]
    lab.operator("DELETE", f"aliases/{old}")
    for query, expected in {
        "": {one, two, old},
        "mode=write": {two},
        "bucket=data": {one, two},
        "bucket=none": set(),
        "key=dir/a.txt": {one},
        "prefix=dir/": {one, two},
        "prefix=Dir": {old},
        "prefix=dir/_": set(),
        "label=job:7": {one, two},
        "label=job:7&label=run:a": {one},
        "label=run:b:c": {two},
        "label=job:": set(),
        "live=true": {one, two},
        "live=false": {old},
        f"created_by={lab.admin.key.public_id}": {old},
        "mode=read&live=true": {one},
    }.items():
        assert {alias["id"] for alias in lab.viewer.get(f"aliases?{query}")["items"]} == expected, query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("mode=up", "mode"),
        ("live=perhaps", "live"),
        ("label=job", "label"),
        ("label=1:x", "label"),
        ('label=a"]:x', "label"),
        ("label=%00:x", "label"),
        ("key=%00", "key"),
        ("what=1", "what"),
    ],
)
def test_a_filter_that_is_none_is_refused(lab: Lab, query: str, field: str) -> None:
    assert list(lab.viewer.refused("GET", f"aliases?{query}", status=400)["fields"]) == [field]


def test_the_list_pages_through_aliases_of_one_moment_without_loss(
    lab: Lab, django_assert_max_num_queries: Any
) -> None:
    lab.operator.make("aliases", [{**READ, "key": f"f{i}"} for i in range(250)])
    Alias.objects.update(created_at=timezone.now())
    with django_assert_max_num_queries(3):
        lab.operator.get("aliases?limit=100")
    found = pages(lab.viewer, "aliases", 40)
    assert [len(page["items"]) for page in found] == [40] * 6 + [10]
    assert len({alias["id"] for page in found for alias in page["items"]}) == 250


def test_an_alias_is_extended_and_revoked(lab: Lab) -> None:
    made = lab.operator.make("aliases", READ)
    path = f"aliases/{made['id']}"
    longer = lab.operator("PATCH", path, {"lifetime_s": 30 * 86400}).json()
    assert longer["expires_at"] > made["expires_at"]
    assert longer["url"] == made["url"]
    assert Event.objects.filter(kind="alias.extended").count() == 1
    for wrong in ({"lifetime_s": 0}, {"lifetime_s": "1"}, {"expires_at": "2099-01-01"}, {}, []):
        lab.operator.refused("PATCH", path, wrong, status=400)
    assert lab.operator("DELETE", path).status_code == 204
    assert lab.operator("DELETE", path).status_code == 204
    gone = lab.viewer.get(path)
    assert (gone["state"], bool(gone["revoked_at"])) == ("revoked", True)
    assert lab.operator.refused("PATCH", path, {"lifetime_s": 60}, status=410)["code"] == "alias_revoked"
    assert Event.objects.filter(kind="alias.revoked").count() == 1


def test_a_group_is_revoked_or_extended_at_once(lab: Lab) -> None:
    jobs = [{**READ, "key": f"f{i}", "labels": {"job": str(i % 2)}} for i in range(1000)]
    lab.operator.make("aliases", jobs)
    assert lab.operator("POST", "aliases/revoke", {"labels": {"job": "1"}}).json() == {"revoked": 500}
    assert lab.operator("POST", "aliases/revoke", {"labels": {"job": "1"}}).json() == {"revoked": 0}
    assert lab.operator("POST", "aliases/extend", {"bucket": "data", "lifetime_s": 99}).json() == {"extended": 500}
    soon = timezone.now() + timedelta(seconds=100)
    assert Alias.objects.filter(revoked_at=None, expires_at__lt=soon).count() == 500
    assert Event.objects.filter(kind="alias.extended").count() == 500
    for wrong in ({}, {"labels": {}}, {"nonsense": "x"}, {"bucket": 5}):
        lab.operator.refused("POST", "aliases/revoke", wrong, status=400)
    lab.operator.refused("POST", "aliases/extend", {"lifetime_s": 60}, status=400)


def test_an_alias_whose_ring_key_is_gone_is_shown_without_a_url(lab: Lab, settings: Any) -> None:
    made = lab.operator.make("aliases", READ)
    settings.SECRET_KEYS = [Fernet.generate_key().decode()]
    shown = lab.operator.get(f"aliases/{made['id']}")
    assert (shown["url"], shown["curl"], shown["state"]) == (None, None, "live")
