"""What lies on a WebDAV server: names, folders, races, versions, and listings of any length."""
# ruff: noqa: PT012, SIM117 - the block under test is the writing and the leaving of it

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from adapters import webdav_look
from adapters.base import Adapter, CopiesWithin, ObjectStat, Prefix, Unreachable, WriteMode
from adapters.errors import (
    AlreadyExists,
    Busy,
    InvalidKey,
    NotFound,
    OutOfSpace,
    Unavailable,
    VersionChanged,
    WriteLost,
)
from adapters.testkit import AdapterContract
from adapters.tokens import WriteToken
from adapters.webdav_change import WebDavChange
from adapters.webdav_write import COLLECTED_BYTES
from tests.adapters.webdav.storages import build, settings_of
from tests.servers.apache import PASSWORD, USER, Apache
from tests.servers.proxy import CuttingProxy

store, fetch, keys = AdapterContract.store, AdapterContract.fetch, AdapterContract.keys
LARGE = 2 * COLLECTED_BYTES + 1


def at(apache: Apache, folder: str, **options: object) -> Adapter:
    """A storage in a folder of its own on the server."""
    settings = settings_of(f"{apache.url}{folder}/", username=USER, credential={"password": PASSWORD}, **options)
    return build(settings)


def fresh(apache: Apache, name: str) -> Path:
    """An empty folder that the server may write to."""
    folder = apache.root / name
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_names_are_the_same_on_the_servers_disk(apache: Apache) -> None:
    root = fresh(apache, "a b%#?é")
    names = ("with space", "100%25", "a#b", "what?x=1&y", "é/日本", "plus+semi;colon:at@", "[x]{y}^`|")
    with closing(at(apache, "a%20b%25%23%3F%C3%A9")) as adapter:
        for name in names:
            store(adapter, name, name.encode())
        assert keys(adapter, "") == sorted(names)
        for name in names:
            assert (root / name).read_text() == name
            assert fetch(adapter, name) == name.encode()
            adapter.delete(name)
        assert keys(adapter, "") == []


def test_what_no_key_can_name_is_told(apache: Apache) -> None:
    root = fresh(apache, "odd names")
    for name in (b"\xff", b"x" * 230, b"plain"):
        (root / os.fsdecode(name)).touch()
    (root / os.fsdecode(b"folder\xfe")).mkdir()
    with closing(at(apache, "odd%20names")) as adapter:
        store(adapter, "%FF", b"named so")
        found = list(adapter.scan())
        assert [item.key for item in found if isinstance(item, ObjectStat)] == ["%FF", "plain"]
        unreachable = ["\\xff", "folder\\xfe", "x" * 230]
        assert [item.key for item in found if isinstance(item, Unreachable)] == unreachable
        assert fetch(adapter, "%FF") == b"named so"


def test_create_that_comes_too_late_is_refused_and_the_first_stays(apache: Apache) -> None:
    root = fresh(apache, "late")
    for size in (3, LARGE):
        with closing(at(apache, "late")) as adapter:
            key = f"object-{size}"
            first, second = AdapterContract.content(size, seed=1), AdapterContract.content(size, seed=2)
            with adapter.open_write(key, size=size) as one, adapter.open_write(key, size=size) as other:
                one.write(first)
                other.write(second)
                one.publish()
                with pytest.raises(AlreadyExists):
                    other.publish()
            assert fetch(adapter, key) == first
    assert not [name for name in os.listdir(root) if name.endswith(".partial")]


def test_two_creators_at_once_leave_one_whole_object(dav: Adapter) -> None:
    """Servers may let both of them win; what stands there then is whole, and of one who was told so."""
    for attempt in range(5):
        key, start = f"raced-{attempt}", threading.Barrier(2, timeout=30)

        def create(content: bytes, key: str = key, start: threading.Barrier = start) -> bytes | None:
            try:
                with dav.open_write(key, size=len(content)) as session:
                    session.write(content)
                    start.wait()
                    session.publish()
            except AlreadyExists:
                return None
            return content

        with ThreadPoolExecutor(2) as threads:
            winners = {content for content in threads.map(create, (b"one", b"the other")) if content is not None}
        assert winners
        assert fetch(dav, key) in winners
        assert dav.unfinished_writes(key) == []


def test_connection_is_used_again_whatever_was_asked(apache: Apache) -> None:
    """All but a refusal after which the server itself closes, as Apache does where a folder is missing."""
    (fresh(apache, "kept") / "d").mkdir()
    (apache.root / "kept" / "d").chmod(0o777)
    with CuttingProxy(apache.port) as proxy:
        options = {"username": USER, "credential": {"password": PASSWORD}}
        with closing(build(settings_of(f"http://127.0.0.1:{proxy.port}/kept/", **options))) as adapter:
            store(adapter, "d/first", b"data", mode=WriteMode.REPLACE)
            made = len(proxy._threads)
            for number in range(3):
                store(adapter, f"d/{number}", b"data")
                assert fetch(adapter, f"d/{number}", 1, 3) == b"at"
                with pytest.raises(NotFound):
                    adapter.stat("missing")
                assert len(keys(adapter, "")) == number + 2
                adapter.copy_within(f"d/{number}", WriteToken.new("copy", size=None, mode=WriteMode.REPLACE))  # type: ignore[attr-defined]
                adapter.delete("copy")
            assert len(proxy._threads) == made


def test_folder_is_never_replaced_or_removed(apache: Apache, dav: Adapter) -> None:
    store(dav, "folder/in it", b"data")
    for mode in WriteMode:
        for size in (1, LARGE, None):
            with (
                pytest.raises(InvalidKey, match="folder"),
                dav.open_write("folder", size=size, mode=mode) as session,
            ):
                session.write(bytes(size or 1))
                session.publish()
    assert isinstance(dav, CopiesWithin)
    with pytest.raises(InvalidKey, match="folder"):
        dav.copy_within("folder/in it", WriteToken.new("folder", size=None, mode=WriteMode.REPLACE))
    with pytest.raises(NotFound):
        dav.copy_within("folder", WriteToken.new("copy", size=None, mode=WriteMode.CREATE))
    dav.delete("folder")
    assert fetch(dav, "folder/in it") == b"data"
    assert dav.unfinished_writes("folder") == []


def test_file_that_changes_between_two_ranges_is_never_mixed(apache: Apache) -> None:
    root = fresh(apache, "changing")
    with closing(at(apache, "changing")) as adapter:
        stat = store(adapter, "object", b"0123456789")
        assert fetch(adapter, "object", 0, 5, version=stat.version) == b"01234"
        (root / "new").write_bytes(b"abcdefghij")
        (root / "new").rename(root / "object")
        for start, stop in ((5, 10), (5, None), (0, None), (3, 3), (10, None)):
            with pytest.raises(VersionChanged):
                adapter.open_read("object", start, stop, version=stat.version)
        assert fetch(adapter, "object", 5) == b"fghij"


def test_version_is_strong_once_the_last_change_is_a_minute_old(apache: Apache) -> None:
    root = fresh(apache, "ageing")
    with closing(at(apache, "ageing")) as adapter:
        young = store(adapter, "object", b"data")
        assert not young.version_is_strong
        long_ago = young.modified.timestamp() - 120 if young.modified else 0
        os.utime(root / "object", (long_ago, long_ago))
        old = adapter.stat("object")
        assert old.version_is_strong
        assert old.version != young.version
        assert list(adapter.scan()) == [old]
        with adapter.open_read("object", version=old.version) as stream:
            assert stream.stat == old


def test_folder_that_is_larger_than_what_is_kept_is_listed_whole(
    apache: Apache, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fresh(apache, "many")
    for number in range(10):
        (root / f"{number:02}").write_bytes(b"x" * number)
        (root / f"folder-{number}").mkdir()
        (root / f"folder-{number}" / "in it").write_bytes(b"")
    expected = sorted([*(f"{n:02}" for n in range(10)), *(f"folder-{n}/in it" for n in range(10))])
    with closing(at(apache, "many")) as adapter:
        for count in (1, 3, 4, 5, 20, 21):
            monkeypatch.setattr(webdav_look, "LISTED_AT_ONCE", count)
            assert keys(adapter, "") == expected
            assert keys(adapter, "", after="folder-3/in it") == expected[14:]
            assert len(list(adapter.scan(recursive=False))) == 20
        found = next(iter(adapter.scan("09")))
        assert isinstance(found, ObjectStat)
        assert found.size == 9
        assert isinstance(next(iter(adapter.scan("folder-0", recursive=False))), Prefix)


def test_answer_that_is_lost_after_the_move_is_found_out(dav: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    move = WebDavChange.move

    def lost(change: WebDavChange, source: str, target: str, *, mode: WriteMode) -> None:
        move(change, source, target, mode=mode)
        raise Unavailable("the connection broke", storage="files", key=target)

    monkeypatch.setattr(WebDavChange, "move", lost)
    stat = store(dav, "lost answer", b"data")
    assert stat == dav.stat("lost answer")
    assert fetch(dav, "lost answer") == b"data"


def test_move_that_failed_is_not_taken_for_done(dav: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(change: WebDavChange, source: str, target: str, *, mode: WriteMode) -> None:
        raise Unavailable("the connection broke", storage="files", key=target)

    monkeypatch.setattr(WebDavChange, "move", broken)
    with pytest.raises(Unavailable):
        store(dav, "not moved", b"data")
    AdapterContract().assert_nothing_left(dav, "not moved")


def test_partial_that_vanishes_is_a_lost_write(apache: Apache) -> None:
    root = fresh(apache, "vanishing")
    with closing(at(apache, "vanishing")) as adapter, adapter.open_write("object", size=LARGE) as session:
        session.write(bytes(LARGE))
        put = WebDavChange.end_put

        def vanish(change: WebDavChange, key: str, exchange: object) -> None:
            put(change, key, exchange)  # type: ignore[arg-type]
            for path in root.glob(".object.*.partial"):
                path.unlink()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WebDavChange, "end_put", vanish)
            with pytest.raises(WriteLost):
                session.publish()
        session.abort()
        assert os.listdir(root) == []


def test_connections_are_bounded_and_waited_for(apache: Apache, dav: Adapter) -> None:
    store(dav, "bounded", AdapterContract.content(LARGE))
    options = {"max_connections": 2, "connect_timeout_s": 5}
    settings = settings_of(apache.url, username=USER, credential={"password": PASSWORD}, **options)
    with closing(build(settings)) as adapter:
        with adapter.open_read("bounded") as held, adapter.open_read("bounded") as other:
            held.read(1)
            other.read(1)
            with pytest.raises(Busy, match="max_connections"):
                adapter.stat("bounded")
            closer = threading.Timer(0.2, held.close)
            closer.start()
            assert adapter.stat("bounded").size == LARGE
            closer.join()
        assert adapter.leaks == 0  # type: ignore[attr-defined]


def test_upload_larger_than_the_server_takes_is_out_of_space() -> None:
    with Apache(extra='<Directory "{root}">\nLimitRequestBody 2000000\n</Directory>') as server:
        with closing(build(settings_of(server.url))) as adapter:
            store(adapter, "small", bytes(1000))
            with pytest.raises(OutOfSpace):
                store(adapter, "object", bytes(LARGE))
            assert keys(adapter, "") == ["small"]
            assert adapter.unfinished_writes("object") == []
