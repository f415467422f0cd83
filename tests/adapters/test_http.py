"""Plain HTTP sources: read by ranges of one version, and refused whatever else is asked of them."""
# ruff: noqa: PT012, SIM117 - the block under test is the reading, and servers outlive it

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from adapters import registry
from adapters.base import Adapter
from adapters.errors import (
    AccessDenied,
    AdapterError,
    NotFound,
    Offline,
    RangeInvalid,
    TimedOut,
    TransientAdapterError,
    Unsupported,
    VersionChanged,
)
from adapters.testkit import AdapterContract
from tests.servers.apache import PASSWORD, USER, Apache
from tests.servers.proxy import CuttingProxy
from tests.servers.scripted import Asked, Said, Scripted

DATA = AdapterContract.content(2_000_001)
fetch = AdapterContract.fetch


def build(url: str, *, credential: dict[str, str] | None = None, **options: object) -> Adapter:
    return registry.build("http", "web", {"url": url, **options}, credential or {})


@pytest.fixture(scope="module")
def apache() -> Iterator[Apache]:
    moved = """
Redirect 302 /shared/moved.bin /shared/data.bin
Redirect 301 /shared/out.bin /private/data.bin
Redirect 302 /shared/loop.bin /shared/loop.bin
Redirect 302 /shared/dots.bin /shared/%2e%2e/private/data.bin
"""
    with Apache(dav="Off", extra=moved, modules=["alias"]) as server:
        for folder in ("shared", "shared/folder", "private"):
            (server.root / folder).mkdir()
        for name in ("shared/data.bin", "shared/folder/data.bin", "private/data.bin", "shared/a b%#?é"):
            (server.root / name).write_bytes(DATA)
        (server.root / "shared/folder/index.html").write_bytes(b"<html>")
        (server.root / "shared/empty").write_bytes(b"")
        yield server


@pytest.fixture
def source(apache: Apache) -> Iterator[Adapter]:
    adapter = build(f"{apache.url}shared/", probe="folder/data.bin")
    yield adapter
    assert adapter.leaks == 0  # type: ignore[attr-defined]
    adapter.close()


@pytest.mark.parametrize("key", ["data.bin", "folder/data.bin", "a b%#?é"])
def test_ranges_hold_exactly_their_bytes(source: Adapter, key: str) -> None:
    stat = source.stat(key)
    assert (stat.key, stat.size) == (key, len(DATA))
    for start, stop in ((0, None), (0, 1), (1, 1_500_000), (2_000_000, None), (2_000_001, None), (7, 7)):
        with source.open_read(key, start, stop, version=stat.version) as stream:
            assert b"".join(iter(stream.read, b"")) == DATA[start:stop]
            assert stream.stat == stat
    for start, stop in ((0, 2_000_002), (2_000_002, None), (2_000_002, 2_000_002)):
        with pytest.raises(RangeInvalid):
            source.open_read(key, start, stop)


def test_empty_file_is_read(source: Adapter) -> None:
    assert source.stat("empty").size == 0
    assert fetch(source, "empty") == b""
    assert fetch(source, "empty", 0, 0) == b""


@pytest.mark.parametrize("key", ["missing", "no/such/folder", "folder"])
def test_what_is_no_file_is_not_found(source: Adapter, key: str) -> None:
    with pytest.raises(NotFound):
        source.stat(key)
    with pytest.raises(NotFound):
        source.open_read(key)


def test_other_version_is_refused(apache: Apache, source: Adapter) -> None:
    path = apache.root / "shared" / "changing"
    path.write_bytes(b"0123456789")
    old = source.stat("changing")
    path.with_name("new").write_bytes(b"abcdefghij")
    path.with_name("new").rename(path)
    for start, stop in ((5, None), (0, None), (2, 2)):
        with pytest.raises(VersionChanged):
            source.open_read("changing", start, stop, version=old.version)


def test_version_is_strong_once_the_last_change_is_a_minute_old(apache: Apache, source: Adapter) -> None:
    path = apache.root / "shared" / "ageing"
    path.write_bytes(b"data")
    assert not source.stat("ageing").version_is_strong
    long_ago = path.stat().st_mtime - 120
    os.utime(path, (long_ago, long_ago))
    assert source.stat("ageing").version_is_strong


def test_whatever_writes_or_lists_is_refused_for_good(source: Adapter) -> None:
    for call in (
        lambda: source.open_write("new", size=1),
        lambda: source.resume_write(f"{'0' * 32}:new"),
        lambda: source.delete("data.bin"),
        lambda: list(source.scan()),
    ):
        with pytest.raises(Unsupported) as refused:
            call()
        assert not refused.value.transient
    assert source.unfinished_writes("new") == []
    assert source.stat("data.bin").size == len(DATA)
    assert registry.is_read_only("http")
    assert not registry.is_read_only("webdav")


def test_redirect_is_followed_below_the_url(source: Adapter) -> None:
    assert source.stat("moved.bin").size == len(DATA)
    assert fetch(source, "moved.bin", 5, 10) == DATA[5:10]


@pytest.mark.parametrize("key", ["out.bin", "loop.bin", "dots.bin"])
def test_redirect_out_of_the_url_is_refused(source: Adapter, key: str) -> None:
    for call in (lambda: source.stat(key), lambda: source.open_read(key)):
        with pytest.raises(AdapterError, match="redirect") as refused:
            call()
        assert not refused.value.transient


@pytest.mark.parametrize(
    "location", ["http://{other}/x", "//{other}/x", "https://{own}/x", "ftp://{own}/x", "http://["]
)
def test_redirect_to_another_server_is_never_followed(location: str) -> None:
    with Scripted(lambda _: Said(200, b"secret")) as other:
        where = f"127.0.0.1:{other.port}"

        def answer(asked: Asked) -> Said:
            return Said(302, b"", {"Location": location.format(own=asked.headers["host"], other=where)})

        with Scripted(answer) as server, closing(build(server.url, credential={"token": "t"})) as adapter:
            for call in (lambda: adapter.stat("x"), lambda: adapter.open_read("x")):
                with pytest.raises(AdapterError, match="redirect"):
                    call()
        assert other.asked == []


def test_check_reads_the_probe(apache: Apache, source: Adapter) -> None:
    steps = source.check()
    assert [(step.step, step.ok) for step in steps] == [("resolve", True), ("connect", True), ("read", True)]
    with closing(build(f"{apache.url}shared/", probe="missing")) as adapter:
        failed = adapter.check()[-1]
        assert (failed.step, failed.ok) == ("read", False)
        assert "probe" in failed.detail
    with closing(build(f"{apache.url}shared/")) as adapter:
        asked = adapter.check()[-1]
        assert (asked.step, asked.ok) == ("ask", True)
        assert "probe" in asked.detail


def test_wrong_password_is_access_denied() -> None:
    with Apache(dav="Off", password=True) as server:
        (server.root / "x").write_bytes(DATA)
        with closing(build(server.url, username=USER, credential={"password": "wrong"})) as adapter:
            with pytest.raises(AccessDenied):
                adapter.stat("x")
            failed = adapter.check()[-1]
            assert (failed.step, failed.ok) == ("ask", False)
        with closing(build(server.url, username=USER, credential={"password": PASSWORD}, probe="x")) as adapter:
            assert all(step.ok for step in adapter.check())
            assert fetch(adapter, "x") == DATA


def test_server_without_head_is_asked_for_one_byte() -> None:
    def answer(asked: Asked) -> Said:
        if asked.method == "HEAD":
            return Said(405)
        if asked.path == "/empty":
            return Said(416, b"", {"Content-Range": "bytes */0"})
        if "range" in asked.headers:
            return Said(206, DATA[:1], {"Content-Range": f"bytes 0-0/{len(DATA)}", "ETag": '"1"'})
        return Said(200, DATA, {"ETag": '"1"'})

    with Scripted(answer) as server, closing(build(server.url)) as adapter:
        stat = adapter.stat("x")
        assert (stat.size, stat.version, stat.version_is_strong) == (len(DATA), "e:1", True)
        assert adapter.stat("empty").size == 0


def test_file_of_unknown_size_is_refused() -> None:
    def answer(asked: Asked) -> Said:
        return Said(200, b"", {"Transfer-Encoding": "chunked", "Content-Length": ""})

    def unsized(asked: Asked) -> Said:
        return Said(200, b"3\r\nabc\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked", "Content-Length": "unknown"})

    with Scripted(unsized) as server, closing(build(server.url)) as adapter:
        for call in (lambda: adapter.stat("x"), lambda: adapter.open_read("x")):
            with pytest.raises(AdapterError, match="size"):
                call()


def test_check_tells_of_ranges_that_are_ignored() -> None:
    with Scripted(lambda _: Said(200, DATA)) as server, closing(build(server.url, probe="x")) as adapter:
        *_, read = adapter.check()
        assert (read.step, read.ok) == ("read", True)
        assert "ignores ranges" in read.detail
        assert "no ETag" in read.detail


def test_stream_that_is_left_before_a_slow_end_is_left_at_once() -> None:
    with Scripted(lambda _: Said(200, b"x" * 1000, {"Content-Length": "2000"})) as server:
        with closing(build(server.url)) as adapter:
            began = time.monotonic()
            with adapter.open_read("x") as stream:
                assert stream.read(10) == b"x" * 10
            assert time.monotonic() - began < 5, "the time limit for silence is a minute"


def test_digest_of_the_server_is_passed_on() -> None:
    digest = "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:"
    with Scripted(lambda _: Said(200, b"hello world", {"Repr-Digest": digest})) as server:
        with closing(build(server.url)) as adapter, adapter.open_read("x") as stream:
            assert stream.stat.checksum is not None
            assert stream.stat.checksum.hex == "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"


def test_line_that_is_lost_is_a_transient_error(apache: Apache) -> None:
    (apache.root / "shared" / "large").write_bytes(DATA * 8)
    with CuttingProxy(apache.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/shared/"
        with closing(build(url, connect_timeout_s=5, stall_timeout_s=5)) as adapter:
            with pytest.raises(TransientAdapterError), adapter.open_read("large") as stream:
                stream.read()
                proxy.cut_after(1_000_000)
                while stream.read():
                    pass
            proxy.restore()
            with pytest.raises(TimedOut), adapter.open_read("large") as stream:
                stream.read()
                proxy.stall()
                while stream.read():
                    pass
            proxy.restore()
            assert adapter.stat("large").size == 8 * len(DATA)
            proxy.refuse()
            with pytest.raises(Offline):
                adapter.stat("large")
            assert adapter.check()[-1].step == "connect"
            assert adapter.leaks == 0  # type: ignore[attr-defined]
