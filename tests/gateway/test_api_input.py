"""Bodies that are empty, huge, malformed or hostile: each gets a clear problem, and never a crash."""

import json
from typing import Any

import pytest
from django.test import Client

from staging.models import Alias
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db

ALIAS = {"bucket": "data", "key": "a", "mode": "read"}
#: Every route that takes a body.
BODIES = [
    ("POST", "storages"),
    ("PATCH", "storages/disk"),
    ("POST", "credentials"),
    ("POST", "buckets"),
    ("PATCH", "buckets/data"),
    ("PATCH", "buckets/data/objects/a"),
    ("POST", "aliases"),
    ("POST", "aliases/revoke"),
    ("POST", "aliases/extend"),
    ("POST", "keys"),
]
MALFORMED = {
    "cut short": b'{"bucket": "data"',
    "not JSON": b"bucket=data&key=a",
    "two documents": b"{} {}",
    "not UTF-8": b'{"key": "\xff"}',
    "UTF-16": '{"key": "a"}'.encode("utf-16"),
    "null character": b'{"key": "a\\u0000b"}',
    "null character in a name": b'{"k\\u0000": "a"}',
    "raw null": b'{"key": "a\x00b"}',
    "half a surrogate": b'{"key": "\\ud800"}',
    "half a surrogate in a name": b'{"\\udfff": 1}',
    "no number": b'{"size": NaN}',
    "infinite": b'{"size": Infinity}',
    "a name twice": b'{"key": "a", "key": "b"}',
    "deep lists": b"[" * 20000 + b"]" * 20000,
    "deep objects": b'{"a":' * 20000 + b"1" + b"}" * 20000,
    "rather deep": b'{"labels": ' + b"[" * 17 + b"]" * 17 + b"}",
    "endless digits": b'{"size": ' + b"9" * 5000 + b"}",
}
WRONG_TYPES = {
    "text": b'"text"',
    "number": b"5",
    "null": b"null",
    "true": b"true",
    "list of lists": b"[[]]",
    "list of nulls": b"[null]",
    "unknown field": b'{"nonsense": 1}',
    "prototype": b'{"__proto__": {"a": 1}, "__class__": "x"}',
}


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_refused(lab: Lab, method: str, path: str, body: bytes) -> None:
    lab.note("a")
    problem = lab.admin.refused(method, path, raw=body, status=400)
    assert (problem["code"], problem["retryable"]) == ("parse_error", False)


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize("body", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_body_of_the_wrong_shape_is_refused(lab: Lab, method: str, path: str, body: bytes) -> None:
    lab.note("a")
    problem = lab.admin.refused(method, path, raw=body, status=400)
    assert problem["code"] == "invalid_request"
    if body.startswith(b"{"):
        assert set(json.loads(body)) <= set(problem["fields"])


@pytest.mark.parametrize(("method", "path"), [route for route in BODIES if route[0] == "POST"])
def test_an_empty_body_is_refused(lab: Lab, method: str, path: str) -> None:
    assert lab.admin.refused(method, path, status=400)["code"] == "invalid_request"


def test_a_body_over_the_limit_is_refused_unread(lab: Lab, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    fits = json.dumps([ALIAS]).encode().ljust(1000)
    assert lab.operator("POST", "aliases", raw=fits).status_code == 201
    problem = lab.operator.refused("POST", "aliases", raw=fits + b" ", status=413)
    assert problem["code"] == "document_too_large"


def test_another_content_type_is_refused(lab: Lab) -> None:
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
        answer = Client().generic(
            "POST", "/api/v1/aliases", b"{}", content_type, headers={"Authorization": f"Bearer {lab.operator.text}"}
        )
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
        assert "application/json" in answer.json()["hint"]


def test_a_body_without_a_length_is_refused(lab: Lab) -> None:
    answer = Client().generic(
        "POST",
        "/api/v1/aliases",
        b"",
        "application/json",
        headers={"Authorization": f"Bearer {lab.operator.text}", "Transfer-Encoding": "chunked"},
    )
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


@pytest.mark.parametrize(
    "value", ["<script>alert(1)</script>", "'; DROP TABLE staging_alias; --", "%s%n", "{0}", "\u202e"]
)
def test_hostile_text_is_only_text(lab: Lab, value: str) -> None:
    made = lab.operator.make("aliases", {**ALIAS, "key": value.replace("/", ""), "labels": {"a": value}})
    [found] = lab.viewer.get("aliases")["items"]
    assert (found["id"], found["labels"]) == (made["id"], {"a": value})
    assert Alias.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"label": "", "role": "viewer"}, "label"),
        ({"label": "x" * 101, "role": "viewer"}, "label"),
        ({"label": 5, "role": "viewer"}, "label"),
        ({"label": "x", "role": "root"}, "role"),
        ({"label": "x", "role": ["admin"]}, "role"),
        ({"label": "x", "role": {}}, "role"),
        ({"label": "x", "role": "viewer", "lifetime_s": 0}, "lifetime_s"),
        ({"label": "x", "role": "viewer", "lifetime_s": 10**10}, "lifetime_s"),
        ({"label": "x", "role": "viewer", "project": "other"}, "project"),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_field(lab: Lab, body: dict[str, Any], field: str) -> None:
    assert list(lab.admin.refused("POST", "keys", body, status=400)["fields"]) == [field]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "explain", None),
        ("POST", "verify", None),
        ("POST", "demote", None),
        ("PATCH", "objects", {"policy": {}}),
    ],
)
@pytest.mark.parametrize("key", ["a%00b", "a//b", "x" * 1100])
def test_a_path_that_names_no_object_is_refused(lab: Lab, method: str, path: str, body: Any, key: str) -> None:
    lab.operator.refused(method, f"buckets/data/{path}/{key}", body, status=400)


@pytest.mark.parametrize(("path", "body"), [("checkpoints", {"name": "c"}), ("aliases/revoke", {})])
def test_more_labels_than_a_statement_bears_are_refused(lab: Lab, path: str, body: dict[str, Any]) -> None:
    labels = {f"name-{place}": "x" for place in range(2500)}
    assert list(lab.operator.refused("POST", path, {**body, "labels": labels}, status=400)["fields"]) == ["labels"]
