"""A gateway with a WebDAV storage and with a plain HTTP source behind it, both on a real Apache."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from staging import alias_targets, buckets, storages
from staging.alias_targets import Target
from staging.buckets import BucketSpec
from staging.errors import AddressRefused, InvalidRequest
from staging.models import Project
from staging.states import AliasMode
from staging.storages import StorageSpec
from tests.conftest import make_place
from tests.place import Place
from tests.servers.apache import PASSWORD, USER, Apache
from tests.servers.gateway import Gateway
from tests.servers.scripted import Said, Scripted
from tests.wire.curl import curl
from tests.wire.desk import KEY, REPLACE, Desk

DATA = bytes(range(251)) * 15_000  # 3.8 MB


@pytest.fixture(scope="module")
def apache() -> Iterator[Apache]:
    with Apache(password=True) as server:
        yield server


@pytest.fixture
def dav_desk(gateway: Gateway, project: Project, apache: Apache, tmp_path: Path) -> Iterator[Desk]:
    """Aliases on the WebDAV server, in a folder of the test's own."""
    root = apache.root / tmp_path.name
    root.mkdir()
    root.chmod(0o777)
    options = {"url": f"{apache.url}{root.name}/", "username": USER, "stall_timeout_s": 5}
    place = make_place(project, "dav-data", StorageSpec("dav", "webdav", options, {"password": PASSWORD}), root)
    yield Desk(gateway, place)
    storages.close_adapters()


@pytest.fixture
def source(gateway: Gateway, project: Project, apache: Apache, tmp_path: Path) -> Iterator[Desk]:
    """Aliases of files of the same server, asked for by plain HTTP; both buckets are the mounted one."""
    root = apache.root / f"{tmp_path.name}-source"
    (root / "d").mkdir(parents=True)
    (root / KEY).write_bytes(DATA)
    options = {"url": f"{apache.url}{root.name}/", "username": USER}
    storage = storages.create(project, StorageSpec("web", "http", options, {"password": PASSWORD}))
    mounted = project.buckets.get(name=storages.root_bucket_name("web"))
    yield Desk(gateway, Place(project, storage, mounted, mounted, root))
    storages.close_adapters()


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
def test_what_is_uploaded_to_webdav_comes_back(dav_desk: Desk, tmp_path: Path, mounted: bool) -> None:
    desk = dav_desk
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(DATA)
    assert curl("-fsS", "-T", sent, desk.url(desk.write(mounted=mounted))).status == 201
    assert curl("-fsS", "-o", received, desk.url(desk.read(mounted=mounted))).status == 200
    assert received.read_bytes() == DATA
    path = desk.read(mounted=mounted)
    part = desk.ask("GET", path, {"Range": "bytes=1000000-1000009"})
    assert (part.status, part.body) == (206, DATA[1_000_000:1_000_010])
    streamed = desk.ask("PUT", desk.write("d/streamed", mounted=mounted), chunks=[DATA[:2_000_000], DATA[2_000_000:]])
    assert streamed.status == 201
    assert desk.ask("GET", desk.read("d/streamed", mounted=mounted)).body == DATA
    desk.assert_nothing_is_left()


def test_upload_that_breaks_off_leaves_nothing_on_webdav(dav_desk: Desk) -> None:
    desk = dav_desk
    with desk.line() as line:
        line.begin("PUT", desk.write(mounted=True), {"Content-Length": str(len(DATA))})
        line.send(DATA[:2_000_000])
        desk.wait_until_uploads_run()
    desk.wait_until_uploads_run(0)
    assert desk.ask("GET", desk.read(mounted=True)).status == 503
    desk.assert_nothing_is_left()


def test_file_on_webdav_is_replaced_through_an_alias(dav_desk: Desk) -> None:
    desk = dav_desk
    assert desk.ask("PUT", desk.write(mounted=True), body=b"old").status == 201
    refused = desk.ask("PUT", desk.write(mounted=True), body=b"new")
    assert (refused.status, refused.code) == (409, "already_exists")
    assert desk.ask("PUT", desk.write(mounted=True, on_exists=REPLACE), body=DATA).status == 201
    assert desk.ask("GET", desk.read(mounted=True)).body == DATA
    assert os.listdir(desk.place.root / "d") == ["x.bin"]


def test_large_upload_to_webdav_waits_on_a_fast_storage_until_it_is_whole(dav_desk: Desk, place: Place) -> None:
    desk, data = dav_desk, DATA * 3
    path = desk.write(mounted=True)
    with desk.line() as line:
        line.begin("PUT", path, {"Content-Length": str(len(data))})
        line.send(data[:9_000_000])
        line.socket.shutdown(1)
        assert line.answer().status == 400
    assert desk.ask("HEAD", path)["Upload-Offset"] == "9000000"
    assert desk.place.files() == []
    span = {"Content-Range": f"bytes 9000000-{len(data) - 1}/{len(data)}"}
    assert desk.ask("PUT", path, span, body=data[9_000_000:]).status == 201
    assert desk.ask("GET", desk.read(mounted=True)).body == data
    desk.assert_nothing_is_left()
    place.assert_nothing_is_left()


def test_file_of_a_plain_source_is_read_through_an_alias(source: Desk, tmp_path: Path) -> None:
    received = tmp_path / "received"
    assert curl("-fsS", "-o", received, source.url(source.read())).status == 200
    assert hashlib.sha256(received.read_bytes()).digest() == hashlib.sha256(DATA).digest()
    path = source.read()
    head = source.ask("HEAD", path)
    assert (head.status, head["Content-Length"]) == (200, str(len(DATA)))
    part = source.ask("GET", path, {"Range": "bytes=-10"})
    assert (part.status, part.body) == (206, DATA[-10:])
    missing = source.ask("GET", source.read("d/missing"))
    assert (missing.status, missing.code) == (404, "source_missing")


def test_a_source_that_tells_no_version_is_given_whole_and_never_in_parts(
    gateway: Gateway, project: Project, tmp_path: Path
) -> None:
    data = [b"a" * 100_000]
    with Scripted(lambda _: Said(200, data[0])) as server:
        storage = storages.create(project, StorageSpec("dynamic", "http", {"url": server.url}))
        mounted = project.buckets.get(name=storages.root_bucket_name("dynamic"))
        desk = Desk(gateway, Place(project, storage, mounted, mounted, tmp_path))
        url, received = desk.url(desk.read("made/anew")), tmp_path / "received"
        assert desk.ask("HEAD", desk.read("made/anew"))["Accept-Ranges"] == "none"
        received.write_bytes(data[0][:5_000])  # What an earlier attempt left.
        data[0] = b"b" * 100_000
        assert curl("-fsS", "-C", "-", "-o", received, url).exit == 33, "curl wants to go on and cannot"
        assert received.read_bytes() == b"a" * 5_000
        assert curl("-fsS", "-o", received, url).exit == 0
        assert received.read_bytes() == data[0]
        storages.close_adapters()


def test_folder_of_a_plain_source_has_files_and_no_listing(source: Desk) -> None:
    path = source.folder("d/", "read-prefix")
    assert source.ask("GET", f"{path}x.bin").body == DATA
    listing = source.ask("GET", path)
    assert (listing.status, listing.code) == (403, "storage_unsupported")


def test_plain_source_takes_no_data(source: Desk) -> None:
    project, storage = source.place.project, source.place.storage
    with pytest.raises(InvalidRequest) as managed:
        buckets.create(project, BucketSpec("data", storage))
    assert "read-only" in managed.value.fields["storage"]
    mounted = buckets.create(project, BucketSpec("below", storage, mounted=True, prefix="d"))
    for mode in (AliasMode.WRITE, AliasMode.WRITE_PREFIX):
        with pytest.raises(InvalidRequest) as refused:
            source.place.alias("d", mode)
        assert refused.value.fields == {"mode": "the storage web is read-only"}
    assert Desk(source.gateway, Place(project, storage, mounted, mounted, source.place.root)).content("x.bin") == DATA


def test_alias_is_found_by_a_web_address(source: Desk, apache: Apache) -> None:
    project, root = source.place.project, source.place.root.name
    for uri in (f"{apache.url}{root}/d/x.bin", f"HTTP://127.0.0.1:{apache.port}/{root}/d/x%2Ebin"):
        [(bucket, key)] = alias_targets.find(project, [Target(uri=uri)])
        assert (bucket.name, key) == ("~web", KEY)
    for elsewhere in (
        f"https://127.0.0.1:{apache.port}/{root}/x",
        f"{apache.url}{root}er/x",
        f"http://127.0.0.1/{root}/x",
    ):
        with pytest.raises(AddressRefused):
            alias_targets.find(project, [Target(uri=elsewhere)])
