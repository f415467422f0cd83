"""Replacing: iRODS has no rename that replaces, and still no reader misses the object and no crash loses it."""
# ruff: noqa: PT012 - the block under test is the writing and the leaving of it

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from adapters.base import Adapter, WriteMode
from adapters.errors import (
    AlreadyExists,
    NotFound,
    TransientAdapterError,
    Truncated,
    Unavailable,
    VersionChanged,
    WriteLost,
)
from adapters.irods_catalog import set_aside_key
from adapters.testkit import AdapterContract
from tests.servers.irods import Irods
from tests.servers.process import wait_until

RENAME, UNLINK = 627, 615
content, store, fetch = AdapterContract.content, AdapterContract.store, AdapterContract.fetch
REPLACE = WriteMode.REPLACE


def set_aside(server: Irods, key: str) -> str:
    """What a writer leaves that dies in the middle of a replacement; returns the key at which the object lies now."""
    aside = set_aside_key(key)
    name = aside.rpartition("/")[2]
    server.sql("UPDATE replicas SET name = ? WHERE data = ?", name, server.data_id(key))
    return aside


def test_readers_see_the_old_object_or_the_new_one_and_never_none(adapter: Adapter) -> None:
    key = "torn/object"
    contents = [bytes([letter]) * (256 * 1024 + letter) for letter in b"abcdefghij"]
    store(adapter, key, contents[0], mode=REPLACE)
    done = threading.Event()

    def read() -> int:
        reads = 0
        while reads == 0 or not done.is_set():
            with suppress(VersionChanged, Truncated, Unavailable):  # Said aloud and nothing mixed.
                assert fetch(adapter, key) in contents
                assert [item.key for item in adapter.scan("torn/")] == [key]
            reads += 1
        return reads

    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        try:
            for data in contents:
                store(adapter, key, data, mode=REPLACE)
        finally:
            done.set()
        assert all(reader.result(timeout=60) for reader in readers)
    adapter.delete(key)


@pytest.mark.parametrize("act", ["cut", "lose"])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_line_that_is_lost_at_a_rename_leaves_one_whole_object(
    server: Irods, zone: Adapter, step: int, act: str
) -> None:
    """The steps: onto the old object (refused), the old one set aside, the new one into its place."""
    store(zone, "object", b"the old one")
    server.faults.add(RENAME, act, skip=step, times=1)
    with pytest.raises(TransientAdapterError), zone.open_write("object", size=3, mode=REPLACE) as session:
        session.write(b"new")
        with suppress(TransientAdapterError):
            session.publish()
        assert fetch(zone, "object") in (b"the old one", b"new")
        raise Unavailable
    is_done = step == 2 and act == "lose"
    assert fetch(zone, "object") == (b"new" if is_done else b"the old one")
    assert server.paths() == ["object"]
    assert zone.unfinished_writes("object") == []


def test_what_cannot_be_removed_is_removed_by_the_next_writer(server: Irods, zone: Adapter) -> None:
    store(zone, "object", b"one")
    server.faults.add(UNLINK, "refuse", code=-818_000)
    store(zone, "object", b"two", mode=REPLACE)
    server.faults.heal()
    assert fetch(zone, "object") == b"two"
    assert server.paths() == sorted([set_aside_key("object"), "object"])
    assert [item.key for item in zone.scan()] == ["object"]
    assert len(zone.unfinished_writes("object")) == 1
    store(zone, "object", b"three", mode=REPLACE)
    assert fetch(zone, "object") == b"three"
    assert server.paths() == ["object"]


class TestDeadWriter:
    """A replacement whose writer died after it had set the old object aside."""

    @pytest.mark.parametrize("key", ["object", "a/deep/object"])
    def test_object_is_still_read_listed_and_refused_to_a_create(self, server: Irods, zone: Adapter, key: str) -> None:
        store(zone, key, b"old")
        set_aside(server, key)
        assert fetch(zone, key) == b"old"
        assert zone.stat(key).size == 3
        assert [item.key for item in zone.scan()] == [key]
        with pytest.raises(AlreadyExists):
            zone.open_write(key, size=1)

    def test_abort_brings_the_old_object_back(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"old")
        with zone.open_write("object", size=3, mode=REPLACE) as session:
            session.write(b"new")
            token = session.suspend()
        set_aside(server, "object")
        assert len(zone.unfinished_writes("object")) == 2
        zone.abort_write(token)
        assert fetch(zone, "object") == b"old"
        assert server.paths() == ["object"]

    def test_whoever_finds_it_brings_the_old_object_back(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"old")
        set_aside(server, "object")
        [token] = zone.unfinished_writes("object")
        with pytest.raises(WriteLost):
            zone.resume_write(token)
        assert fetch(zone, "object") == b"old"
        zone.abort_write(token)
        assert server.paths() == ["object"]
        zone.abort_write(token)
        assert fetch(zone, "object") == b"old"

    def test_resumed_replacement_is_published_and_leaves_nothing(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"old")
        with zone.open_write("object", size=3, mode=REPLACE) as session:
            session.write(b"new")
            token = session.suspend()
        set_aside(server, "object")
        with zone.resume_write(token) as session:
            session.publish()
        assert fetch(zone, "object") == b"new"
        assert server.paths() == ["object"]

    def test_another_writer_replaces_it_and_leaves_nothing(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"old")
        set_aside(server, "object")
        store(zone, "object", b"new", mode=REPLACE)
        assert fetch(zone, "object") == b"new"
        assert server.paths() == ["object"]

    def test_writer_that_comes_at_the_same_moment_is_told_to_come_later(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"old")
        set_aside(server, "object")
        server.faults.add(RENAME, "refuse", code=-834_000, times=2)  # as if it were set aside between the two
        with (
            pytest.raises(Unavailable, match="another writer"),
            zone.open_write("object", size=3, mode=REPLACE) as session,
        ):
            session.write(b"new")
            session.publish()
        assert fetch(zone, "object") == b"old"
        assert server.paths() == ["object"]

    def test_deleted_object_does_not_come_back(self, server: Irods, zone: Adapter) -> None:
        store(zone, "object", b"old")
        set_aside(server, "object")
        zone.delete("object")
        with pytest.raises(NotFound):
            zone.stat("object")
        assert server.paths() == []


def test_of_writers_that_replace_at_once_one_wins_and_nothing_is_left(server: Irods, zone: Adapter) -> None:
    store(zone, "object", b"old")
    start = threading.Barrier(4, timeout=30)
    contents = [b"one", b"two", b"three", b"four"]

    def replace(data: bytes) -> bool:
        try:
            with zone.open_write("object", size=len(data), mode=REPLACE) as session:
                session.write(data)
                start.wait()
                session.publish()
        except TransientAdapterError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(replace, contents))
    winners = [data for data, is_done in zip(contents, done, strict=True) if is_done]
    assert fetch(zone, "object") in (winners or [b"old"])
    assert server.paths() == ["object"]


def test_create_that_comes_into_a_replacement_is_not_overwritten(server: Irods, zone: Adapter) -> None:
    """The one thing that is not atomic: an object that was there is created, and its replacement fails."""
    with zone.open_write("object", size=7) as create:
        create.write(b"created")
        late = create.suspend()
    store(zone, "object", b"old", mode=REPLACE)
    with zone.open_write("object", size=3, mode=REPLACE) as session:
        session.write(b"new")
        server.faults.add(RENAME, "wait", seconds=4, skip=2, times=1)
        with ThreadPoolExecutor(1) as thread:
            publishing = thread.submit(session.publish)
            wait_until(lambda: "object" not in server.paths(), what="the old object is set aside")
            with zone.resume_write(late) as resumed:
                resumed.publish()
            with pytest.raises(Unavailable, match="another writer"):
                publishing.result(timeout=30)
    assert fetch(zone, "object") == b"created"
    assert server.paths() == ["object"]
