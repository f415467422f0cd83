"""S3 near by: what goes in one request and what is read in long ranges keeps the contract all the same."""
# ruff: noqa: PT012 - the block under test is the writing or the reading

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from adapters import s3_read
from adapters.base import CHUNK_BYTES, WriteMode
from adapters.errors import AlreadyExists, NotFound, Offline, VersionChanged, WriteLost
from adapters.s3 import S3Adapter
from adapters.s3_settings import S3Settings
from adapters.testkit import AdapterContract, Settings
from adapters.testkit.processes import elsewhere
from adapters.tokens import WriteToken
from tests.servers.front import Front
from tests.servers.proxy import CuttingProxy
from tests.servers.swift import ACCESS_KEY, SECRET_KEY, Swift

CREDENTIAL = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
MIB = 1024 * 1024
PART = 5 * MIB
SIZE = 17 * MIB + 5


def build(port: int, **sizes: int) -> S3Adapter:
    options = {"endpoint": f"http://127.0.0.1:{port}", "bucket": "near"}
    return S3Adapter("near", S3Settings.read(options, CREDENTIAL), part_bytes=PART, far=False, **sizes)


@pytest.fixture
def adapter(swift: Swift) -> Iterator[S3Adapter]:
    swift.create_bucket("near")
    adapter = build(swift.port)
    yield adapter
    kept = adapter._bucket.kept
    for _ in range(16):  # Every write has given its file back.
        kept.take().close()
    adapter.close()


@pytest.fixture
def content() -> bytes:
    return AdapterContract.content(SIZE)


def test_object_of_middling_size_takes_one_request_and_a_look(adapter: S3Adapter, swift: Swift, content: bytes) -> None:
    AdapterContract.store(adapter, "learned", b"what the server can do", mode=WriteMode.REPLACE)
    asked: list[str] = []
    with Front(swift.port) as front:
        fronted = build(front.port)
        AdapterContract.store(fronted, "learned", b"of the front as well", mode=WriteMode.REPLACE)
        front.refused = lambda method, path, headers: bool(asked.append(f"{method} {path.partition('?')[0]}"))  # type: ignore[func-returns-value]
        stat = AdapterContract.store(fronted, "whole", content)
        fronted.close()
    assert stat == adapter.stat("whole")
    assert AdapterContract.fetch(adapter, "whole") == content
    assert sorted(asked) == ["HEAD /near/whole", "PUT /near/whole"]


def test_create_that_another_has_overtaken_is_refused(adapter: S3Adapter, content: bytes) -> None:
    """Swift looks when a request begins."""
    with adapter.open_write("overtaken", size=SIZE) as session:
        for start in range(0, SIZE, CHUNK_BYTES):
            session.write(content[start : start + CHUNK_BYTES])
        AdapterContract.store(adapter, "overtaken", b"the first")
        with pytest.raises(AlreadyExists):
            session.publish()
    assert AdapterContract.fetch(adapter, "overtaken") == b"the first"
    # What stands there from the beginning is told of by ``publish`` as well, and by no ``write``.
    with adapter.open_write("overtaken", size=SIZE) as session:
        for start in range(0, SIZE, CHUNK_BYTES):
            session.write(content[start : start + CHUNK_BYTES])
        with pytest.raises(AlreadyExists):
            session.publish()
    assert AdapterContract.fetch(adapter, "overtaken") == b"the first"


def test_suspended_write_of_one_request_keeps_every_byte(adapter: S3Adapter, content: bytes) -> None:
    cut = 11 * MIB + 3
    with adapter.open_write("kept", size=SIZE) as session:
        session.write(content[:MIB])
        session.write(content[MIB:cut])
        token = session.suspend()
    with adapter.resume_write(token) as session:
        assert session.offset == cut
        session.write(content[cut:])
        session.publish()
    assert AdapterContract.fetch(adapter, "kept") == content


def test_write_that_cannot_be_suspended_leaves_nothing(adapter: S3Adapter, swift: Swift, content: bytes) -> None:
    AdapterContract.store(adapter, "gone", b"", mode=WriteMode.REPLACE)
    with CuttingProxy(swift.port) as proxy:
        cut_off = build(proxy.port)
        session = cut_off.open_write("gone", size=SIZE, mode=WriteMode.REPLACE)
        session.write(content[:MIB])
        proxy.refuse()
        with pytest.raises(Offline):
            session.suspend()
        session.abort()
        cut_off.close()
    assert AdapterContract.fetch(adapter, "gone") == b""
    assert adapter.unfinished_writes("gone") == []


def test_nothing_is_left_of_one_request_whose_process_dies(adapter: S3Adapter, swift: Swift) -> None:
    options = {"endpoint": swift.endpoint, "bucket": "near"}
    elsewhere(Settings("s3", options, CREDENTIAL), "die", key="died", size=64 * MIB, bytes=SIZE)
    with pytest.raises(NotFound):
        adapter.stat("died")
    bucket = adapter._bucket
    assert "died" not in str(bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents"))
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=bucket.name)
    with pytest.raises(WriteLost):
        adapter.resume_write(str(WriteToken.new("died", size=64 * MIB, mode=WriteMode.CREATE)))


def test_files_that_keep_what_was_sent_are_used_again(adapter: S3Adapter, content: bytes) -> None:
    """The second write, which is shorter, finds the first one's bytes in its file, and leaves them there."""
    AdapterContract.store(adapter, "long", content)
    with adapter.open_write("short", size=SIZE) as session:
        session.write(content[-6 * MIB :])
        token = session.suspend()
    with adapter.resume_write(token) as session:
        assert session.offset == 6 * MIB
        session.write(content[: SIZE - 6 * MIB])
        session.publish()
    assert AdapterContract.fetch(adapter, "short") == content[-6 * MIB :] + content[: SIZE - 6 * MIB]


def test_more_than_there_is_room_for_goes_in_parts(adapter: S3Adapter, content: bytes) -> None:
    taken = [adapter._bucket.kept.take() for _ in range(15)]
    with adapter.open_write("first", size=SIZE) as first:
        first.write(content)
        assert "-" in AdapterContract.store(adapter, "second", content).version
        assert "-" not in first.publish().version
    for kept in taken:
        adapter._bucket.kept.give_back(kept)


@pytest.mark.parametrize("whole", [0, SIZE], ids=["parts", "whole"])
def test_what_comes_a_little_at_a_time_comes_to_an_end(swift: Swift, content: bytes, whole: int) -> None:
    """Each piece is less than a part, and is suspended before the next."""
    swift.create_bucket("near")
    adapter = build(swift.port, whole_bytes=whole)
    session = adapter.open_write(f"little {whole}", size=SIZE)
    for _ in range(8):
        session.write(content[session.offset : session.offset + 3 * MIB])
        session = adapter.resume_write(session.suspend())  # type: ignore[assignment]
    assert session.offset == SIZE
    session.publish()
    assert AdapterContract.fetch(adapter, f"little {whole}") == content
    adapter.close()


def test_long_ranges_are_joined_and_never_of_two_versions(
    adapter: S3Adapter, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_read, "LONG_BYTES", 4 * MIB)
    AdapterContract.store(adapter, "read", content)
    assert AdapterContract.fetch(adapter, "read", 1, SIZE - 1) == content[1:-1]
    read = bytearray()
    with adapter.open_read("read") as stream:
        read += stream.read()
        AdapterContract.store(adapter, "read", bytes(SIZE), mode=WriteMode.REPLACE)
        with pytest.raises(VersionChanged):
            while piece := stream.read():
                read += piece
    assert content.startswith(read)


def test_ranges_end_a_little_behind_where_a_part_begins(
    adapter: S3Adapter, swift: Swift, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swift computes the MD5 of every part that it sends from its first byte on."""
    monkeypatch.setattr(s3_read, "FIRST_BYTES", MIB)
    monkeypatch.setattr(s3_read, "LARGE_PART_BYTES", PART)
    monkeypatch.setattr(adapter._bucket, "whole_bytes", 0)
    AdapterContract.store(adapter, "parts", content)
    asked: list[str] = []
    with Front(swift.port) as front:
        front.refused = lambda method, path, headers: bool(asked.append(headers.get("range", "")))  # type: ignore[func-returns-value]
        fronted = build(front.port)
        assert AdapterContract.fetch(fronted, "parts") == content
        fronted.close()
    ends = [MIB, *(MIB + number * PART for number in (1, 2, 3)), SIZE]
    assert asked == ["", *(f"bytes={start}-{end - 1}" for start, end in pairwise(ends))]
