"""S3: bytes that change on their way are refused by whoever can tell, and a server that cannot is none the worse."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator

import pytest

from adapters.base import WriteMode
from adapters.errors import ChecksumMismatch, Unavailable
from adapters.s3 import S3Adapter
from adapters.s3_settings import S3Settings
from adapters.testkit import AdapterContract
from tests.servers.front import Front
from tests.servers.swift import ACCESS_KEY, SECRET_KEY, Swift

CREDENTIAL = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
PART = 5 * 1024 * 1024


@pytest.fixture
def front(swift: Swift) -> Iterator[Front]:
    swift.create_bucket("sums")
    with Front(swift.port) as front:
        yield front


def build(front: Front, *, far: bool) -> S3Adapter:
    options = {"endpoint": f"http://127.0.0.1:{front.port}", "bucket": "sums"}
    return S3Adapter("sums", S3Settings.read(options, CREDENTIAL), part_bytes=PART, far=far)


@pytest.fixture
def adapter(front: Front) -> Iterator[S3Adapter]:
    adapter = build(front, far=True)
    yield adapter
    adapter.close()


@pytest.mark.parametrize(
    ("size", "far"), [(10_000, False), (PART + 1, False), (PART + 1, True)], ids=["put", "whole", "parts"]
)
def test_bytes_that_change_on_their_way_are_refused(front: Front, size: int, far: bool) -> None:
    adapter, key = build(front, far=far), f"changed {size}"
    AdapterContract.store(adapter, key, b"old", mode=WriteMode.REPLACE)
    front.spoiled = lambda method, path, headers: method == "PUT" and int(headers["content-length"]) > 5_000
    with pytest.raises(ChecksumMismatch):
        AdapterContract.store(adapter, key, AdapterContract.content(size), mode=WriteMode.REPLACE)
    assert AdapterContract.fetch(adapter, key) == b"old"
    assert adapter.unfinished_writes(key) == []
    adapter.close()


def test_server_that_knows_no_sums_gets_none(adapter: S3Adapter, front: Front) -> None:
    """So do older services, and Ceph where it wants every length told."""
    front.refused = lambda method, path, headers: any("trailer" in name or "checksum" in name for name in headers)
    content = AdapterContract.content(PART + 1)
    AdapterContract.store(adapter, "plain", content, mode=WriteMode.REPLACE)
    assert adapter._bucket.known.checks_sums is False
    assert AdapterContract.fetch(adapter, "plain") == content
    # Near by, what is read whole is asked for its sum, and without one where that is refused.
    near = build(front, far=False)
    assert AdapterContract.fetch(near, "plain") == content
    near.close()


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
def test_read_whose_bytes_have_another_sum_than_was_told_does_not_end_well(front: Front, small: bool) -> None:
    adapter = build(front, far=False)
    content = AdapterContract.content(3_000_000 if small else 17_000_000)
    AdapterContract.store(adapter, "read", content, mode=WriteMode.REPLACE)
    front.told = {"x-amz-checksum-crc32": base64_crc(content)}
    assert AdapterContract.fetch(adapter, "read") == content
    front.told = {"x-amz-checksum-crc32": base64_crc(content[1:])}
    with pytest.raises(Unavailable, match="checksum"):
        AdapterContract.fetch(adapter, "read")
    adapter.close()


def base64_crc(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def test_first_create_finds_out_what_the_server_can_do(adapter: S3Adapter) -> None:
    assert adapter._bucket.known.honours_create is None
    AdapterContract.store(adapter, "first", b"data")
    assert adapter._bucket.known.honours_create
    assert adapter._bucket.known.checks_sums
    assert [item.key for item in adapter.scan() if item.key == "first" or "check" in item.key] == ["first"]
    assert adapter.unfinished_writes("waybill-check") == []
