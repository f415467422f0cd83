"""S3 far away: several parts and ranges are under way at once, and what is read or published is whole all the same."""
# ruff: noqa: PT012 - the block under test is the writing or the reading

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from adapters.base import CHUNK_BYTES, Adapter, WriteMode
from adapters.errors import AdapterError, Truncated, VersionChanged
from adapters.guard import guard
from adapters.s3 import S3Adapter
from adapters.s3_settings import S3Settings
from adapters.testkit import AdapterContract, Line, Network
from tests.servers.front import Front, never
from tests.servers.proxy import CuttingProxy
from tests.servers.swift import ACCESS_KEY, SECRET_KEY, Swift

CREDENTIAL = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
BUCKET = "far"
MIB = 1024 * 1024
#: Six ranges, and as many parts.
SIZE = 40 * MIB + 123


def build(port: int, **limits: int) -> S3Adapter:
    options = {"endpoint": f"http://127.0.0.1:{port}", "bucket": BUCKET, **limits}
    return S3Adapter("far", S3Settings.read(options, CREDENTIAL), far=True)


@pytest.fixture(scope="module")
def adapter(swift: Swift) -> Iterator[Adapter]:
    swift.create_bucket(BUCKET)
    adapter = build(swift.port)
    yield guard(adapter)
    adapter.close()


class TestFarS3(Network):
    network_bytes = 20 * MIB

    @pytest.fixture
    def network(self, swift: Swift, adapter: Adapter) -> Iterator[Line]:
        with CuttingProxy(swift.port) as proxy:
            adapter = guard(build(proxy.port, connect_timeout_s=2, stall_timeout_s=2))
            yield Line(adapter, proxy)
            adapter.close()


def test_ranges_are_fetched_side_by_side_and_joined_in_order(adapter: Adapter) -> None:
    content = AdapterContract.content(SIZE)
    stat = AdapterContract.store(adapter, "object", content)
    assert stat.version.endswith("-6")
    with adapter.open_read("object", 5, SIZE - 7) as stream:
        assert sum(thread.name == "s3-range" for thread in threading.enumerate()) > 1
        pieces = [stream.read(size) for size in (1, 3 * MIB, 100_000)]
        pieces += iter(lambda: stream.read(700_000), b"")
    assert b"".join(pieces) == content[5 : SIZE - 7]
    assert AdapterContract.fetch(adapter, "object", SIZE - 9 * MIB) == content[-9 * MIB :]


def test_ranges_of_two_versions_are_never_mixed(adapter: Adapter) -> None:
    content = AdapterContract.content(SIZE)
    AdapterContract.store(adapter, "replaced", content)
    read = bytearray()
    with adapter.open_read("replaced") as stream:
        read += stream.read(1)
        AdapterContract.store(adapter, "replaced", bytes(SIZE), mode=WriteMode.REPLACE)
        with pytest.raises((VersionChanged, Truncated)):
            while piece := stream.read():
                read += piece
    assert content.startswith(read)


def test_stream_that_is_closed_early_leaves_no_thread(adapter: Adapter) -> None:
    AdapterContract.store(adapter, "closed", AdapterContract.content(SIZE))
    with adapter.open_read("closed") as stream:
        stream.read(1)
    assert not [thread for thread in threading.enumerate() if thread.name == "s3-range"]


@pytest.mark.parametrize(("number", "kept"), [(1, 0), (3, 16 * MIB)])
def test_part_that_fails_fails_the_write_and_the_parts_before_it_are_kept(swift: Swift, number: int, kept: int) -> None:
    size, key = 24 * MIB + 5, f"failed {number}"
    content = AdapterContract.content(size)
    with Front(swift.port) as front:
        adapter = build(front.port)
        front.refused = lambda method, path, headers: f"partNumber={number}&" in f"{path}&"
        session = adapter.open_write(key, size=size)
        with pytest.raises(AdapterError, match="501"):
            for start in range(0, size, CHUNK_BYTES):
                session.write(content[start : start + CHUNK_BYTES])
            session.publish()
        AdapterContract().assert_absent(adapter, key)
        token = session.suspend()
        front.refused = never
        with adapter.resume_write(token) as resumed:
            assert resumed.offset == kept
            resumed.write(content[kept:])
            resumed.publish()
        assert AdapterContract.fetch(adapter, key) == content
        adapter.close()
