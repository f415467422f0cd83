"""Reads that are sent on to the storage: only where alias and request both ask, and only to what is really there."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from staging.alias_terms import AliasSpec, problems
from staging.models import Replica
from staging.states import AliasMode
from staging.storages import adapter_for
from tests.servers.swift import Swift
from tests.wire.curl import curl
from tests.wire.desk import KEY, Desk, sha256

DATA = bytes(range(251)) * 20_000
PREFERS = {"Prefer": "wait=1, redirect"}


def asking(path: str) -> str:
    return f"{path}?redirect=1"


@pytest.fixture
def direct(s3_desk: Desk) -> str:
    """A read alias that allows redirects, on an object on S3."""
    s3_desk.stored(DATA)
    return s3_desk.read(redirect=True)


def test_a_get_that_asks_is_sent_to_a_signed_url_of_the_storage(s3_desk: Desk, direct: str, swift: Swift) -> None:
    for path, headers in ((asking(direct), {}), (direct, PREFERS), (f"{direct}?wait=1&redirect=1", {})):
        answer = s3_desk.ask("GET", path, headers)
        assert (answer.status, answer.body) == (307, b"")
        target = urlsplit(answer["Location"])
        assert f"{target.scheme}://{target.netloc}" == swift.endpoint
        assert "Signature=" in target.query
        assert (answer["Cache-Control"], answer["Waybill-Sha256"]) == ("no-store", sha256(DATA))
        assert answer.headers.get("preference-applied") == ("redirect, wait=1" if headers else None)
    assert "Signature" not in s3_desk.gateway.log.read_text()


def test_curl_gets_the_bytes_from_the_storage_whole_and_resumed(s3_desk: Desk, direct: str, tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    ended = curl("-fsSL", "-o", target, "-w", "%{num_redirects} %{size_download}\\n", s3_desk.url(asking(direct)))
    assert (ended.exit, target.read_bytes() == DATA) == (0, True), ended
    assert f"1 {len(DATA)}" in ended.output.decode()
    target.write_bytes(DATA[:1_000_000])
    resumed = curl("-fsSL", "-C", "-", "-o", target, s3_desk.url(asking(direct)))
    assert (resumed.exit, resumed.status, target.read_bytes() == DATA) == (0, 206, True), resumed


def test_who_does_not_ask_twice_gets_the_bytes(s3_desk: Desk, direct: str) -> None:
    plain = s3_desk.read()
    for path, headers in ((direct, {}), (asking(plain), {}), (plain, PREFERS), (f"{direct}?redirect=0", {})):
        answer = s3_desk.ask("GET", path, headers)
        assert (answer.status, answer.body == DATA) == (200, True), path
    assert s3_desk.ask("GET", direct, {"Prefer": "redirected"}).status == 200


def test_head_conditions_and_companions_are_answered_here(s3_desk: Desk, direct: str) -> None:
    head = s3_desk.ask("HEAD", asking(direct), PREFERS)
    assert (head.status, head["Content-Length"]) == (200, str(len(DATA)))
    assert s3_desk.ask("GET", asking(direct), {"If-None-Match": head["ETag"]}).status == 304
    assert s3_desk.ask("GET", asking(direct), {"If-Match": '"other"'}).status == 412
    assert s3_desk.ask("GET", asking(direct), {"Range": f"bytes={len(DATA)}-"}).status == 416
    digest = s3_desk.ask("GET", asking(f"{direct}.sha256"))
    assert (digest.status, digest.body.split()[0].decode()) == (200, sha256(DATA))


def test_a_condition_that_holds_is_not_left_to_a_storage_with_other_tags(
    s3_desk: Desk, direct: str, tmp_path: Path
) -> None:
    head, target = s3_desk.ask("HEAD", direct), tmp_path / "x.bin"
    ended = curl("-fsSL", "-H", f"If-Match: {head['ETag']}", "-o", target, s3_desk.url(asking(direct)))
    assert (ended.exit, ended.status, target.read_bytes() == DATA) == (0, 200, True), ended
    long_ago = "Sat, 01 Jan 2000 00:00:00 GMT"
    for headers in (
        {"If-None-Match": '"other"'},
        {"If-Modified-Since": long_ago},
        {"If-Unmodified-Since": head["Last-Modified"]},
        {"If-Range": head["ETag"]},
    ):
        assert s3_desk.ask("GET", asking(direct), headers).status == 200, headers


def test_below_a_prefix_files_are_redirected_and_archives_are_not(s3_desk: Desk, direct: str) -> None:
    folder = s3_desk.folder("d/", "read-prefix", redirect=True)
    assert s3_desk.ask("GET", asking(f"{folder}x.bin")).status == 307
    assert s3_desk.ask("GET", asking(folder)).status == 200
    archive = s3_desk.ask("GET", asking(f"{folder.removesuffix('/')}.tar"))
    assert archive.status == 200
    assert DATA in archive.body


def test_a_storage_that_signs_nothing_is_read_through_waybill(desk: Desk) -> None:
    desk.stored(DATA)
    answer = desk.ask("GET", asking(desk.read(redirect=True)))
    assert (answer.status, answer.body == DATA) == (200, True)


def test_a_mounted_file_is_redirected_whole_and_its_parts_are_pinned_here(s3_desk: Desk) -> None:
    assert s3_desk.ask("PUT", s3_desk.write("m.bin", mounted=True), body=DATA).status == 201
    path = asking(s3_desk.read("m.bin", mounted=True, redirect=True))
    assert s3_desk.ask("GET", path).status == 307
    part = s3_desk.ask("GET", path, {"Range": "bytes=5-9"})
    assert (part.status, part.body) == (206, DATA[5:10])


def test_nobody_is_sent_to_bytes_that_have_vanished(s3_desk: Desk, direct: str) -> None:
    replica = Replica.objects.select_related("storage__credential").get(object__key=KEY)
    adapter_for(replica.storage).delete(replica.key)
    answer = s3_desk.ask("GET", asking(direct))
    assert (answer.status, answer["Waybill-Retryable"]) == (502, "true")


def test_what_only_waybill_can_bound_excludes_redirects(s3_desk: Desk) -> None:
    bucket = s3_desk.place.managed
    bounds = [{"max_uses": 1}, {"max_rate": 2048}, {"max_requests": 1}, {"networks": ["10.0.0.0/8"]}]
    for bound in bounds:
        (name,) = bound
        assert name in problems(bucket, AliasSpec(AliasMode.READ, "a", redirect=True, **bound))["redirect"]
    for mode in (AliasMode.WRITE, AliasMode.WRITE_PREFIX):
        assert "redirect" in problems(bucket, AliasSpec(mode, "a", redirect=True))
    assert not problems(bucket, AliasSpec(AliasMode.READ, "a", redirect=True, idle_s=60))
