"""Objects over the API: listed in pages and folders, looked at, described, deleted."""

import hashlib
import os
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection

from staging import retiring
from staging.models import Event, Object, Transfer
from tests.gateway.conftest import Caller, Lab

pytestmark = pytest.mark.django_db

#: Keys in the order of their UTF-8 bytes, with all that a folded listing could trip over.
AWKWARD = [
    "A/x",
    "a",
    "a b/c",
    "a!",
    "a-b",
    "a/b",
    "a/b/c",
    "a/b/d",
    "a0",
    "d",
    "d/p",
    "d/p.other",
    "d/p/q",
    "d0/p",
    "d\ue000/x",
    "d\U0001f600/x",
    "ä/ö",
    "\U0010ffff/x",
    "\U0010ffff\U0010ffff",
]


def pages(caller: Caller, path: str, limit: int) -> list[dict[str, Any]]:
    """Every page of a list."""
    found: list[dict[str, Any]] = []
    join = "&" if "?" in path else "?"
    cursor = ""
    while len(found) < 10_000:
        found.append(caller.get(f"{path}{join}limit={limit}{cursor}"))
        assert len(found[-1]["items"]) + len(found[-1].get("prefixes", [])) <= limit
        if found[-1]["next"] is None:
            return found
        cursor = f"&cursor={quote(found[-1]['next'])}"
    raise AssertionError("a list without an end")


def names(found: list[dict[str, Any]]) -> list[str]:
    """The keys and prefixes of pages, each page's in order."""
    return [name for page in found for name in sorted([i["key"] for i in page["items"]] + page["prefixes"])]


def folded(keys: list[str], prefix: str) -> list[str]:
    """What a listing with a delimiter should say, the plain way."""
    rest = [key[len(prefix) :] for key in keys if key.startswith(prefix)]
    return sorted({prefix + part.partition("/")[0] + part.partition("/")[1] for part in rest})


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "a/b/", "d", "d/", "d/p", "nothing", "\U0010ffff"])
def test_a_listing_is_whole_and_ordered_by_bytes(lab: Lab, prefix: str, limit: int) -> None:
    lab.note(*reversed(AWKWARD))
    path = f"buckets/data/objects?prefix={quote(prefix)}"
    assert names(pages(lab.viewer, path, limit)) == [key for key in sorted(AWKWARD) if key.startswith(prefix)]
    assert names(pages(lab.viewer, f"{path}&delimiter=/", limit)) == folded(AWKWARD, prefix)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("prefix", ["", "d", "d/"])
def test_a_mounted_bucket_lists_like_a_managed_one(lab: Lab, prefix: str, limit: int) -> None:
    keys = ["a", "a b/c", "d/p.other", "d/p/q", "d0/p", "ä/ö"]
    for key in keys:
        (lab.root / "in" / key).parent.mkdir(parents=True, exist_ok=True)
        (lab.root / "in" / key).write_bytes(b"x")
    path = f"buckets/raw/objects?prefix={quote(prefix)}"
    assert names(pages(lab.viewer, path, limit)) == [key for key in keys if key.startswith(prefix)]
    assert names(pages(lab.viewer, f"{path}&delimiter=/", limit)) == folded(keys, prefix)


def test_thousands_of_objects_are_paged_with_few_queries(lab: Lab, django_assert_max_num_queries: Any) -> None:
    lab.note(*(f"run-{i // 500}/part-{i % 500:03}" for i in range(2500)))
    with django_assert_max_num_queries(4):
        page = lab.viewer.get("buckets/data/objects?delimiter=/")
    assert (page["items"], page["prefixes"]) == ([], [f"run-{i}/" for i in range(5)])
    with django_assert_max_num_queries(4):
        page = lab.viewer.get("buckets/data/objects?limit=1000")
    assert (len(page["items"]), page["items"][-1]["key"]) == (1000, "run-1/part-499")
    assert len(names(pages(lab.viewer, "buckets/data/objects", 1000))) == 2500
    inside = pages(lab.viewer, "buckets/data/objects?prefix=run-3/&delimiter=/", 200)
    assert [len(page["items"]) for page in inside] == [200, 200, 100]


def test_a_folded_page_probes_the_index_instead_of_reading_the_bucket(lab: Lab) -> None:
    lab.note(*(f"run-{i // 500}/part-{i % 500:03}" for i in range(2500)))
    plan = Explain()
    with connection.execute_wrapper(plan):
        lab.viewer.get("buckets/data/objects?delimiter=/")
    explained = "\n".join(plan.lines)
    assert "object_one_current" in explained, explained
    assert "Seq Scan on staging_object" not in explained
    assert "SCAN staging_object" not in explained


class Explain:
    """Asks the database for its plan of each recursive query."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "RECURSIVE" in sql and "EXPLAIN" not in sql:
            if connection.vendor == "postgresql":
                execute("ANALYZE staging_object", None, False, context)
            execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{sql}", params, many, context)
            self.lines += [" ".join(map(str, row)) for row in context["cursor"].fetchall()]
        return execute(sql, params, many, context)


def test_deleted_and_replaced_versions_are_not_listed(lab: Lab) -> None:
    lab.note("a", "b")
    retiring.delete(Object.objects.get(key="a"))
    assert names(pages(lab.viewer, "buckets/data/objects", 10)) == ["b"]
    assert names(pages(lab.viewer, "buckets/data/objects?delimiter=/", 10)) == ["b"]


@pytest.mark.parametrize(
    "change", [lambda c: c[:-1], lambda c: c + "x", lambda c: "x", lambda c: "e30:x", lambda c: ""]
)
def test_a_cursor_that_was_tampered_with_is_refused(lab: Lab, change: Any) -> None:
    lab.note("a", "b")
    cursor = lab.viewer.get("buckets/data/objects?limit=1")["next"]
    path = f"buckets/data/objects?limit=1&cursor={quote(change(cursor))}"
    assert list(lab.viewer.refused("GET", path, status=400)["fields"]) == ["cursor"]


def test_a_cursor_belongs_to_its_list_and_project(lab: Lab, other: Lab) -> None:
    lab.note("a", "b")
    cursor = quote(lab.viewer.get("buckets/data/objects?limit=1")["next"])
    lab.viewer.refused("GET", f"buckets/data/objects?limit=1&prefix=a&cursor={cursor}", status=400)
    lab.viewer.refused("GET", f"buckets?cursor={cursor}", status=400)
    other.viewer.refused("GET", f"buckets/data/objects?limit=1&cursor={cursor}", status=400)
    assert lab.viewer.get(f"buckets/data/objects?limit=7&cursor={cursor}")["items"][0]["key"] == "b"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("prefix=../", "prefix"),
        ("prefix=a//b", "prefix"),
        ("prefix=/a", "prefix"),
        ("prefix=a%00", "prefix"),
        ("prefix=" + "x" * 2000, "prefix"),
        ("delimiter=:", "delimiter"),
        ("page=2", "page"),
    ],
)
def test_a_listing_that_cannot_be_is_refused_by_parameter(lab: Lab, query: str, field: str) -> None:
    assert list(lab.viewer.refused("GET", f"buckets/data/objects?{query}", status=400)["fields"]) == [field]


@pytest.mark.django_db(transaction=True)
def test_names_of_a_mounted_bucket_that_no_key_can_have_are_told(lab: Lab) -> None:
    for name in (b"a", b"b\xff", b"c", b"d\n"):
        (lab.root / "in" / os.fsdecode(name)).touch()
    first = lab.viewer.get("buckets/raw/objects?limit=1")
    assert ([item["key"] for item in first["items"]], list(first["unreachable"])) == (["a"], ["b\\xff"])
    whole = lab.viewer.get("buckets/raw/objects")
    assert ([item["key"] for item in whole["items"]], list(whole["unreachable"])) == (["a", "c"], ["b\\xff", "d\\x0a"])


@pytest.mark.django_db(transaction=True)
def test_an_object_is_shown_with_its_copies(lab: Lab) -> None:
    made = lab.upload("dir/result.csv", b"1,2\n")
    shown = lab.viewer.get("buckets/data/objects/dir/result.csv")
    assert shown["digests"] == {"sha256": hashlib.sha256(b"1,2\n").hexdigest()}
    assert (shown["id"], shown["version"], shown["size"], shown["state"]) == (str(made.pk), 1, 4, "available")
    assert (shown["durability"], shown["metadata"], shown["bucket"]) == ("persisted", {}, "data")
    [replica] = shown["replicas"]
    assert (replica["storage"], replica["tier"], replica["state"]) == ("disk", 2, "available")
    assert (replica["storage_state"], replica["size"]) == ("active", 4)
    assert (lab.root / replica["key"]).read_bytes() == b"1,2\n"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["a b/c d", "ä/ö.txt", "100%25.txt", "q?x=1&y#z", "semi;colon", " lead", "a+b", "\\x"])
@pytest.mark.parametrize("bucket", ["data", "raw"])
def test_any_legal_key_can_stand_in_an_address(lab: Lab, key: str, bucket: str) -> None:
    lab.upload(key, b"12", bucket=getattr(lab, bucket))
    path = f"buckets/{bucket}/objects/{quote(key)}"
    assert (lab.viewer.get(path)["key"], lab.viewer.get(path)["size"]) == (key, 2)
    assert lab.operator("PATCH", path, {"metadata": {"ö": "ä"}}).json()["metadata"] == {"ö": "ä"}
    assert lab.operator("DELETE", path).status_code in (202, 204)
    lab.viewer.refused("GET", path, status=404)


@pytest.mark.parametrize("key", ["a//b", "a/../b", "./a", "a%00b", "a%0Ab", "a/", "x" * 1025, "a%7F"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_illegal_key_is_refused_without_asking_anybody(lab: Lab, key: str, method: str) -> None:
    answer = lab.admin(method, f"buckets/raw/objects/{key}")
    assert answer.status_code in (400, 404)
    assert answer.json()["code"] in ("invalid_request", "not_found")


def test_deleting_a_managed_object_leaves_its_bytes_to_a_worker(lab: Lab) -> None:
    lab.note("a")
    assert lab.operator("DELETE", "buckets/data/objects/a").status_code == 202
    lab.operator.refused("DELETE", "buckets/data/objects/a", status=404)
    [transfer] = lab.viewer.get("transfers")["items"]
    assert (transfer["kind"], transfer["state"], transfer["label"]) == ("delete", "queued", "data/a")
    assert lab.viewer.get(f"transfers/{transfer['id']}") == transfer
    assert Event.objects.filter(kind="object.deleted", subject="data/a").count() == 1


@pytest.mark.django_db(transaction=True)
def test_deleting_a_mounted_file_removes_it_whoever_put_it_there(lab: Lab) -> None:
    lab.upload("ours", b"1", bucket=lab.raw)
    (lab.root / "in" / "theirs").write_bytes(b"2")
    for key in ("ours", "theirs"):
        assert lab.operator("DELETE", f"buckets/raw/objects/{key}").status_code == 204
        lab.operator.refused("DELETE", f"buckets/raw/objects/{key}", status=404)
        assert Event.objects.filter(kind="object.deleted", subject=f"raw/{key}").count() == 1
    assert list((lab.root / "in").iterdir()) == []
    assert not Object.objects.filter(current=True).exists()
    assert not Transfer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_mounted_file_that_cannot_be_deleted_stays_listed(lab: Lab) -> None:
    lab.upload("ours", b"1", bucket=lab.raw)
    lab.root.rename(lab.root.with_name("unmounted"))
    assert lab.operator.refused("DELETE", "buckets/raw/objects/ours", status=502)["retryable"]
    assert Object.objects.get(key="ours").current
    lab.root.with_name("unmounted").rename(lab.root)
    assert lab.viewer.get("buckets/raw/objects/ours")["version"] == 1


@pytest.mark.django_db(transaction=True)
def test_a_mounted_file_is_what_the_storage_says(lab: Lab) -> None:
    lab.upload("f", b"12345", bucket=lab.raw)
    ours = lab.viewer.get("buckets/raw/objects/f")
    assert (ours["version"], ours["digests"]["sha256"]) == (1, hashlib.sha256(b"12345").hexdigest())
    (lab.root / "in" / "f").write_bytes(b"changed by somebody")
    theirs = lab.viewer.get("buckets/raw/objects/f")
    assert (theirs["size"], theirs["version"], theirs["id"], theirs["digests"]) == (19, None, None, {})
    assert [replica["storage"] for replica in theirs["replicas"]] == ["disk"]


@pytest.mark.django_db(transaction=True)
def test_waybills_own_folder_cannot_be_reached_through_the_root(lab: Lab) -> None:
    made = lab.upload("a", b"1")
    place = made.replicas.get().key
    for method in ("GET", "DELETE"):
        lab.admin.refused(method, f"buckets/~disk/objects/{place}", status=404)
    assert (lab.root / place).exists()
    problem = lab.admin.refused("POST", "aliases", {"bucket": "~disk", "key": place, "mode": "read"}, status=400)
    assert list(problem["fields"]) == ["key"]


def test_metadata_is_set_name_by_name(lab: Lab) -> None:
    lab.note("a")
    path = "buckets/data/objects/a"
    assert lab.operator("PATCH", path, {"metadata": {"run": "7", "by": "kim"}}).json()["metadata"]["run"] == "7"
    assert lab.operator("PATCH", path, {"metadata": {"run": None, "x": ""}}).json()["metadata"] == {
        "by": "kim",
        "x": "",
    }
    for wrong in ({"metadata": {"a": 1}}, {"metadata": []}, {"metadata": {"a": ["b"]}}, {"size": 4}, {}):
        lab.operator.refused("PATCH", path, wrong, status=400)
    lab.operator.refused("PATCH", path, {"metadata": {"big": "x" * 16384}}, status=400)
    lab.operator.refused("PATCH", "buckets/data/objects/none", {"metadata": {}}, status=404)
    assert lab.viewer.get(path)["metadata"] == {"by": "kim", "x": ""}
