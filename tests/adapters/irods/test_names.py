"""Names: what a key may not do to a query, and what other clients have called their objects."""

from __future__ import annotations

from contextlib import closing

import pytest

from adapters.base import Adapter, ObjectStat, Unreachable, WriteMode
from adapters.errors import InvalidKey, NotFound
from adapters.testkit import AdapterContract
from adapters.tokens import WriteToken
from tests.adapters.irods.storages import build, settings_of
from tests.servers.irods import ZONE, Irods

store, fetch = AdapterContract.store, AdapterContract.fetch


@pytest.mark.parametrize("key", ["x' || = 'secret", "a&&b'c", "d' && = 'e/object", "\uffff", "a/\ufffe/b"], ids=ascii)
def test_key_that_no_query_can_ask_for_is_refused_by_every_call(zone: Adapter, key: str) -> None:
    store(zone, "object", b"data")
    for attempt in (
        lambda: zone.stat(key),
        lambda: zone.open_read(key),
        lambda: zone.open_write(key, size=1),
        lambda: zone.delete(key),
        lambda: zone.unfinished_writes(key),
        lambda: zone.resume_write(f"{'0' * 32}:{key}"),
        lambda: zone.abort_write(f"{'0' * 32}:{key}"),
        lambda: zone.copy_within("object", WriteToken.new(key, size=None, mode=WriteMode.CREATE)),  # type: ignore[attr-defined]
    ):
        with pytest.raises(InvalidKey):
            attempt()


@pytest.mark.parametrize("key", ["it's", "a && b", "a || b", "'", "''", "= 'x'", "%", "like '%'", "in ('a','b')"])
def test_key_that_looks_like_a_query_names_an_object(zone: Adapter, key: str) -> None:
    store(zone, "other", b"other")
    with pytest.raises(NotFound):
        zone.stat(key)
    store(zone, f"{key}/{key}", key.encode())
    assert fetch(zone, f"{key}/{key}") == key.encode()
    assert [item.key for item in zone.scan(f"{key}/")] == [f"{key}/{key}"]


def test_unfinished_writes_of_names_that_a_pattern_mixes_up_are_kept_apart(zone: Adapter) -> None:
    names = ("a_b", "axb", "a%b", "a\\b", "a.b", "A_B")
    sessions = {name: zone.open_write(name, size=None) for name in names}
    try:
        for name, session in sessions.items():
            assert zone.unfinished_writes(name) == [session.token], name
    finally:
        for session in sessions.values():
            session.abort()


def test_names_of_other_clients_that_are_no_keys_hide_nothing(server: Irods, zone: Adapter) -> None:
    odd = ("bell\x07", "end\uffff", "two\nlines", "line's && end", "broken \udcff")
    for number in range(len(odd)):
        store(zone, f"folder/{number}", b"x")
    store(zone, "folder/plain", b"x")
    for number, name in enumerate(odd):
        data = server.data_id(f"folder/{number}")
        server.sql(
            "UPDATE replicas SET name = CAST(? AS TEXT) WHERE data = ?",
            name.encode(errors="surrogateescape").decode(errors="replace") if "\udcff" in name else name,
            data,
        )
    server.sql("INSERT INTO collections (name, parent) VALUES (?, ?)", f"{server.root}/b\x07", server.root)
    found = list(zone.scan())
    assert [item.key for item in found if isinstance(item, ObjectStat)] == ["folder/broken \ufffd", "folder/plain"]
    told = {item.key for item in found if isinstance(item, Unreachable)}
    assert {"b\\x7f", "folder/bell\\x7f", "folder/line's && end", "folder/two\\x0alines"} <= told


def test_objects_of_neighbouring_roots_are_apart(server: Irods, zone: Adapter) -> None:
    for root in (f"{server.root}2", f"{server.root}/inner"):
        server.sql("INSERT INTO collections (name, parent) VALUES (?, ?)", root, root.rpartition("/")[0])
        with closing(build(settings_of(server, root=root))) as neighbour:
            store(neighbour, "object", root.encode())
    store(zone, "object", b"mine")
    assert [item.key for item in zone.scan()] == ["inner/object", "object"]
    with closing(build(settings_of(server, root=f"/{ZONE}"))) as above:
        own = server.root.rpartition("/")[2]
        assert [item.key for item in above.scan(own)] == [f"{own}/inner/object", f"{own}/object", f"{own}2/object"]


def test_folder_of_many_objects_is_listed_whole_and_in_order(server: Irods, zone: Adapter) -> None:
    store(zone, "many/0000", b"x")
    server.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 699)"
        " INSERT INTO replicas SELECT 10000 + i, coll, printf('%04d', i), number, size, status, checksum, modified,"
        " resource FROM replicas, n WHERE name = '0000'"
    )
    assert [item.key for item in zone.scan("many/")] == [f"many/{number:04}" for number in range(700)]
