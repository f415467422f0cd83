"""S3 near by: what goes in one request and what is read in long ranges keeps the contract all the same."""
# ruff: noqa: PT012 - the block under test is the writing or the reading

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters import s3_read, s3_whole
from adapters.base import CHUNK_BYTES, WriteMode
from adapters.errors import AlreadyExists, VersionChanged
from adapters.s3 import S3Adapter
from adapters.s3_settings import S3Settings
from adapters.testkit import AdapterContract
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
    assert s3_whole.ROOM.free == 16 * 64 * MIB
    adapter.close()


@pytest.fixture
def content() -> bytes:
    return AdapterContract.content(SIZE)


def test_object_of_middling_size_takes_one_request_and_those_for_its_mark(
    adapter: S3Adapter, swift: Swift, content: bytes
) -> None:
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
    mark = next(line for line in asked if ".whole." in line).partition(" ")[2]
    assert sorted(asked) == sorted([f"PUT {mark}", "PUT /near/whole", "HEAD /near/whole", f"DELETE {mark}"])


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


def test_write_is_suspended_while_the_server_cannot_be_reached(
    adapter: S3Adapter, swift: Swift, content: bytes
) -> None:
    AdapterContract.store(adapter, "gone", b"", mode=WriteMode.REPLACE)
    with CuttingProxy(swift.port) as proxy:
        cut_off = build(proxy.port)
        session = cut_off.open_write("gone", size=SIZE, mode=WriteMode.REPLACE)
        session.write(content[:MIB])
        proxy.refuse()
        token = session.suspend()
        cut_off.close()
    with adapter.resume_write(token) as session:
        assert session.offset == 0
        session.write(content)
        session.publish()
    assert AdapterContract.fetch(adapter, "gone") == content


def test_more_than_there_is_room_for_goes_in_parts(
    adapter: S3Adapter, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_whole.ROOM, "free", 2 * SIZE - 1)
    with adapter.open_write("first", size=SIZE) as first:
        first.write(content)
        assert "-" in AdapterContract.store(adapter, "second", content).version
        assert "-" not in first.publish().version
    monkeypatch.undo()


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
