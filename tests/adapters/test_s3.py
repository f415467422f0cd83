"""S3 keeps the contract, against OpenStack Swift, and a few promises of its own."""

from __future__ import annotations

import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.base import CHUNK_BYTES, Adapter, ObjectStat, Unreachable, WriteMode
from adapters.errors import AlreadyExists, Busy, InvalidKey, NotFound, SizeMismatch, WriteLost
from adapters.guard import guard
from adapters.s3 import S3Adapter
from adapters.s3_bucket import WHOLE_BYTES, S3Bucket
from adapters.s3_copy import copy_within
from adapters.s3_multipart import Multipart
from adapters.s3_parts import FAR, NEAR
from adapters.s3_settings import S3Settings
from adapters.s3_signed import Stored
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings
from adapters.tokens import WriteToken
from tests.adapters.guarantees import Documented
from tests.servers.process import find_program
from tests.servers.proxy import CuttingProxy
from tests.servers.swift import ACCESS_KEY, SECRET_KEY, Swift

CREDENTIAL = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
MIB = 1024 * 1024
#: The least that S3 takes as a part that is not the last.
PART = 5 * MIB


@pytest.fixture(scope="module")
def settings(swift: Swift) -> Settings:
    swift.create_bucket("kit")
    return Settings("s3", {"endpoint": swift.endpoint, "bucket": "kit"}, CREDENTIAL)


@pytest.fixture(scope="module")
def adapter(settings: Settings) -> Iterator[Adapter]:
    adapter = S3Adapter.build("s3", settings.options, CREDENTIAL)
    yield guard(adapter)
    adapter.close()


class TestS3(AdapterContract, OtherProcesses, Network, Documented):
    row = "`s3` (OpenStack Swift)"
    part_bytes = 8 * MIB
    outliving_bytes = WHOLE_BYTES + MIB  # Of smaller ones, in one request, nothing is left: test_s3_near.

    @pytest.fixture
    def network(self, swift: Swift, settings: Settings) -> Iterator[Line]:
        with CuttingProxy(swift.port) as proxy:
            limits = {"connect_timeout_s": 5, "stall_timeout_s": 5}
            options = {**settings.options, **limits, "endpoint": f"http://127.0.0.1:{proxy.port}"}
            adapter = guard(S3Adapter.build("s3", options, CREDENTIAL))
            yield Line(adapter, proxy)
            adapter.close()


def settings_of_own(swift: Swift) -> S3Settings:
    options = {"endpoint": swift.endpoint, "bucket": "own", "prefix": "/the/prefix/"}
    return S3Settings.read(options, CREDENTIAL)


@pytest.fixture(scope="module")
def own(swift: Swift) -> Iterator[S3Adapter]:
    """A bucket of these tests' own, below a prefix, written in parts as small as S3 has them."""
    swift.create_bucket("own")
    adapter = S3Adapter("own", settings_of_own(swift), part_bytes=PART, whole_bytes=0)
    yield adapter
    assert uploads(adapter) == []
    adapter.close()


@pytest.fixture
def bucket(own: S3Adapter) -> S3Bucket:
    return own._bucket


def test_streams_uploads_and_requests_share_the_connections(settings: Settings) -> None:
    options = {**settings.options, "max_connections": 2, "connect_timeout_s": 1}
    adapter = S3Adapter.build("s3", options, CREDENTIAL)
    AdapterContract.store(adapter, "budget", b"data", mode=WriteMode.REPLACE)
    busy = "all 2 connections"
    with adapter.open_read("budget") as stream, adapter.open_write("never", size=1):
        assert stream.read() == b"data"
        for call in (lambda: adapter.stat("budget"), lambda: list(adapter.scan()), lambda: adapter.open_read("budget")):
            with pytest.raises(Busy, match=busy):
                call()
    for _ in range(3):  # Whatever ends badly gives back what it had.
        with pytest.raises(NotFound):
            adapter.open_read("missing")
        with pytest.raises(AlreadyExists), adapter.open_write("budget", size=0) as session:
            session.publish()
        with pytest.raises(WriteLost):
            adapter.resume_write(str(WriteToken.new("missing", size=1, mode=WriteMode.CREATE)))
    token = adapter.open_write("budget", size=9).suspend()
    with adapter.open_read("budget") as stream, adapter.open_read("budget"):
        assert stream.read() == b"data"
    adapter.abort_write(token)
    adapter.delete("budget")
    adapter.close()


def uploads(adapter: S3Adapter) -> list[str]:
    """The keys of all multipart uploads that the server knows of."""
    bucket = adapter._bucket
    return [upload["Key"] for upload in bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])]


def write(adapter: Adapter, key: str, size: int, *, declared: bool = True) -> str:
    """Write ``size`` bytes and return the version."""
    content = AdapterContract.content(size)
    with adapter.open_write(key, size=size if declared else None, mode=WriteMode.REPLACE) as session:
        for start in range(0, size, CHUNK_BYTES):
            session.write(content[start : start + CHUNK_BYTES])
        version = session.publish().version
    assert AdapterContract.fetch(adapter, key) == content
    return version


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize(("size", "parts"), [(PART - 1, 0), (PART, 0), (PART + 1, 2), (2 * PART, 2), (2 * PART + 1, 3)])
def test_object_has_as_few_parts_as_it_can(own: S3Adapter, size: int, parts: int, declared: bool) -> None:
    _, _, number = write(own, "parts", size, declared=declared).partition("-")
    assert int(number or 0) == parts
    assert uploads(own) == []


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.usefixtures("own")
def test_session_holds_few_bytes_however_large_the_object(swift: Swift, declared: bool, far: bool) -> None:
    adapter = S3Adapter("own", settings_of_own(swift), part_bytes=PART, whole_bytes=0, far=far)
    lanes = FAR if far else NEAR
    size = lanes.ahead_bytes + 40 * MIB
    tracemalloc.start()
    try:
        with adapter.open_write("large", size=size if declared else None) as session:
            for _ in range(size // CHUNK_BYTES):
                session.write(bytes(CHUNK_BYTES))
            # What waits, a chunk for each part that is being sent and some more, and what is being collected.
            most = lanes.ahead_bytes + (lanes.count + 3) * CHUNK_BYTES
            assert tracemalloc.get_traced_memory()[1] < most + (0 if declared else 2 * PART)
    finally:
        tracemalloc.stop()
    adapter.close()


def test_abort_leaves_no_multipart_upload(own: S3Adapter) -> None:
    with own.open_write("aborted", size=None) as session:
        session.write(bytes(2 * PART))
        assert uploads(own) == ["the/prefix/aborted"]
    assert uploads(own) == []


def test_upload_that_the_service_has_removed_is_a_lost_write(own: S3Adapter, bucket: S3Bucket) -> None:
    """Buckets are often told to drop unfinished uploads after some days."""
    with own.open_write("dropped", size=None) as session:
        session.write(bytes(PART + 1))
        token = session.suspend()
    for upload in bucket.client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]:
        bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
    with pytest.raises(WriteLost):
        own.resume_write(token)
    assert own.unfinished_writes("dropped") == [token]
    own.abort_write(token)
    assert own.unfinished_writes("dropped") == []


def test_second_of_two_creates_is_refused_and_the_first_stays(own: S3Adapter) -> None:
    with own.open_write("created", size=3) as first, own.open_write("created", size=None) as second:
        first.write(b"one")
        second.write(bytes(PART + 1))
        first.publish()
        with pytest.raises(AlreadyExists):
            second.publish()
    assert AdapterContract.fetch(own, "created") == b"one"


def test_check_finds_out_what_the_server_can_refuse(swift: Swift) -> None:
    swift.create_bucket("checked")
    adapter = S3Adapter.build("s3", {"endpoint": swift.endpoint, "bucket": "checked"}, CREDENTIAL)
    steps = adapter.check()
    assert [step.step for step in steps] == [
        "resolve",
        "connect",
        "bucket",
        "write",
        "read",
        "checksums",
        "create",
        "delete",
    ]
    assert adapter._bucket.known.honours_create
    assert not adapter.traits.atomic_create  # Swift looks when a request begins, and not when it ends.
    AdapterContract.store(adapter, "object", b"old")
    with pytest.raises(AlreadyExists):
        AdapterContract.store(adapter, "object", b"new")
    assert AdapterContract.keys(adapter, "") == ["object"]
    adapter.close()


def unknown() -> None:
    """The version of what may be any."""


def test_object_of_another_size_than_sent_is_removed(bucket: S3Bucket, own: S3Adapter) -> None:
    with pytest.raises(SizeMismatch):
        bucket.publish("short", WriteMode.CREATE, lambda create: bucket.put("short", b"12"), size=3, version=unknown)
    AdapterContract().assert_absent(own, "short")


def test_object_of_a_later_writer_is_not_taken_for_ours(bucket: S3Bucket, own: S3Adapter) -> None:
    def overtaken(create: bool) -> Stored:
        version = bucket.put("raced", b"one")
        bucket.put("raced", b"the other")
        return version

    stat = bucket.publish("raced", WriteMode.REPLACE, overtaken, size=3, version=unknown)
    assert stat.size == 3
    assert stat.version != own.stat("raced").version
    own.delete("raced")
    with pytest.raises(AlreadyExists):
        bucket.publish("raced", WriteMode.CREATE, overtaken, size=3, version=unknown)
    assert AdapterContract.fetch(own, "raced") == b"the other"


def test_large_object_is_copied_in_parts(bucket: S3Bucket, own: S3Adapter) -> None:
    write(own, "source", 2 * PART + 1)
    stat = copy_within(bucket, "source", WriteToken.new("target", size=None, mode=WriteMode.CREATE), part_bytes=PART)
    assert stat.version.endswith("-3")
    assert AdapterContract.fetch(own, "target") == AdapterContract.content(2 * PART + 1)


def test_an_upload_in_parts_without_a_mark_is_listed_and_removed(bucket: S3Bucket, own: S3Adapter) -> None:
    """Its writer died between the two, or was copying within the bucket."""
    Multipart.begin(bucket, "below/object")
    with own.open_write("below/marked", size=None) as session:
        session.write(AdapterContract.content(2 * PART + 1))
        assert {found.key: found.token == session.token for found in own.scan_unfinished("below/")} == {
            "below/object": False,
            "below/marked": True,
        }
        [unmarked] = [found.token for found in own.scan_unfinished("below/") if found.key == "below/object"]
        own.abort_write(unmarked)
        own.abort_write(unmarked)
        assert [found.key for found in own.scan_unfinished("below/")] == ["below/marked"]
        session.abort()
    assert list(own.scan_unfinished("")) == []


def test_empty_object_is_copied(own: S3Adapter) -> None:
    AdapterContract.store(own, "empty", b"")
    assert own.copy_within("empty", WriteToken.new("empty copy", size=None, mode=WriteMode.CREATE)).size == 0


def test_prefix_is_before_every_key_and_seen_in_none(own: S3Adapter, bucket: S3Bucket) -> None:
    AdapterContract.store(own, "seen/é", b"data")
    assert [item.key for item in own.scan("seen")] == ["seen/é"]
    bucket.client.head_object(Bucket=bucket.name, Key="the/prefix/seen/é")
    assert S3Adapter.base_uri({"bucket": "own", "prefix": "/the/prefix/"}) == "s3://own/the/prefix/"


def test_names_that_are_no_keys_are_told_and_those_of_folders_left_out(own: S3Adapter, bucket: S3Bucket) -> None:
    for name in ("strange/", "strange//b", "strange/../c", "strange/object", "strange/x" + "x" * 220):
        bucket.client.put_object(Bucket=bucket.name, Key=f"the/prefix/{name}", Body=b"")
    bucket.client.put_object(Bucket=bucket.name, Key="the/prefix/strange/full/", Body=b"bytes")
    long = "strange/x" + "x" * 220
    for recursive, unreachable in (
        (True, ["strange/../c", "strange//b", "strange/full/", long]),
        (False, ["strange/../", "strange//", long]),
    ):
        found = list(own.scan("strange/", recursive=recursive))
        assert [item.key for item in found if isinstance(item, Unreachable)] == unreachable
        assert [item.key for item in found if isinstance(item, ObjectStat)] == ["strange/object"]


def test_key_that_is_too_long_with_the_prefix_is_refused(own: S3Adapter) -> None:
    key = "/".join(["k" * 200] * 5) + "/" + "k" * 15
    with pytest.raises(InvalidKey, match="prefix"):
        AdapterContract.store(own, key, b"data")


def test_signed_urls_serve_curl(own: S3Adapter, tmp_path: Path) -> None:
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(AdapterContract.content(300_000))
    curl = [find_program("curl", package="curl"), "-sS", "--fail", "--max-time", "30"]
    url = own.sign_url("by curl", method="PUT", lifetime_s=60)
    subprocess.run([*curl, "-T", str(sent), url], check=True)
    assert AdapterContract.fetch(own, "by curl") == sent.read_bytes()
    url = own.sign_url("by curl", method="GET", lifetime_s=60)
    subprocess.run([*curl, "-o", str(received), url], check=True)
    assert received.read_bytes() == sent.read_bytes()
    assert subprocess.run([*curl, "-T", str(sent), url], check=False, capture_output=True).returncode == 22
