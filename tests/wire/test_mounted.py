"""Sources that others write to as well: what is read is one version, or the client is told that it is not."""

import os
from pathlib import Path

import pytest

from adapters.errors import AdapterError, Offline, TimedOut, Truncated, VersionChanged
from tests.servers.faulty import Faults
from tests.wire.curl import curl
from tests.wire.desk import KEY, Desk
from tests.wire.line import LineCut

DATA = b"0123456789abcdef" * 600_000


def put_there(desk: Desk, data: bytes = DATA) -> Path:
    """Write a file behind Waybill's back."""
    path = desk.place.root / KEY
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_file_that_waybill_did_not_write_is_served_without_a_digest(desk: Desk) -> None:
    put_there(desk)
    path = desk.read(mounted=True)
    answer = desk.ask("GET", path)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer["ETag"].startswith('"')
    assert "repr-digest" not in answer.headers
    unknown = desk.ask("GET", f"{path}.sha256")
    assert (unknown.status, unknown.code) == (404, "source_missing")


def test_a_file_that_waybill_wrote_has_its_digest_until_somebody_changes_it(desk: Desk) -> None:
    desk.ask("PUT", desk.write(mounted=True), body=DATA)
    path = desk.read(mounted=True)
    before = desk.ask("HEAD", path)
    assert "repr-digest" in before.headers
    put_there(desk, DATA + b"!")
    after = desk.ask("HEAD", path)
    assert "repr-digest" not in after.headers
    assert after["ETag"] != before["ETag"]


def test_a_part_of_a_source_that_has_changed_is_412(desk: Desk) -> None:
    put_there(desk)
    path = desk.read(mounted=True)
    etag = desk.ask("HEAD", path)["ETag"]
    assert desk.ask("GET", path, {"Range": "bytes=5-", "If-Match": etag}).status == 206
    put_there(desk, DATA[::-1])
    changed = desk.ask("GET", path, {"Range": "bytes=5-", "If-Match": etag})
    assert (changed.status, changed.code) == (412, "precondition_failed")
    assert desk.ask("GET", path, {"Range": "bytes=5-", "If-Range": etag}).status == 200


def test_a_source_rewritten_in_place_while_it_is_read_breaks_the_connection(desk: Desk) -> None:
    file = put_there(desk)
    with desk.line(receive_buffer=4096) as line:
        line.begin("GET", desk.read(mounted=True))
        line.wait_for_some()
        with file.open("r+b") as source:
            source.write(DATA[::-1])
        with pytest.raises(LineCut):
            line.answer()


def test_a_source_replaced_by_rename_while_it_is_read_is_delivered_as_it_was(desk: Desk) -> None:
    file = put_there(desk)
    with desk.line(receive_buffer=4096) as line:
        line.begin("GET", desk.read(mounted=True))
        other = file.with_name("other")
        other.write_bytes(DATA[::-1])
        os.replace(other, file)
        assert line.answer().body in (DATA, DATA[::-1])


def test_a_managed_file_truncated_under_our_feet_breaks_the_connection(desk: Desk, tmp_path: Path) -> None:
    path = desk.stored(DATA)
    stored = desk.place.root / desk.place.files()[0]
    with desk.line(receive_buffer=4096) as line:
        line.begin("GET", path)
        line.wait_for_some()
        os.truncate(stored, 1_000_000)
        with pytest.raises(LineCut) as cut:
            line.answer()
        assert len(cut.value.body) < len(DATA)
    damaged = desk.ask("GET", path)
    assert (damaged.status, damaged.code, damaged["Waybill-Retryable"]) == (502, "storage_truncated", "true")


@pytest.mark.parametrize("error", [Truncated, Offline, VersionChanged])
def test_a_source_that_fails_in_the_middle_makes_curl_exit_18(
    faulty_desk: Desk, faults: Faults, error: type[AdapterError], tmp_path: Path
) -> None:
    path = faulty_desk.stored(DATA)
    faults.fail("read", error, from_byte=3_000_000)
    ended = curl("-fsS", "-o", tmp_path / "x", faulty_desk.url(path))
    assert (ended.exit, ended.status) == (18, 200)
    assert (tmp_path / "x").stat().st_size < len(DATA)


@pytest.mark.parametrize(
    ("step", "error", "status"),
    [("open_read", Offline, 502), ("open_read", TimedOut, 504), ("read", Truncated, 502), ("stat", TimedOut, 504)],
)
def test_a_source_that_fails_before_the_first_byte_has_a_status_of_its_own(
    faulty_desk: Desk, faults: Faults, step: str, error: type[AdapterError], status: int
) -> None:
    put_there(faulty_desk)
    faults.fail(step, error)
    answer = faulty_desk.ask("GET", faulty_desk.read(mounted=True))
    assert (answer.status, answer.code) == (status, f"storage_{error.code}")
    faults.heal()
    assert faulty_desk.ask("GET", faulty_desk.read(mounted=True)).body == DATA


def test_a_version_that_goes_between_the_look_and_the_read_is_looked_at_again(
    faulty_desk: Desk, faults: Faults
) -> None:
    put_there(faulty_desk)
    faults.fail("open_read", VersionChanged, once=True)
    assert faulty_desk.ask("GET", faulty_desk.read(mounted=True)).body == DATA
    faults.fail("open_read", VersionChanged, once=True)
    part = faulty_desk.ask("GET", faulty_desk.read(mounted=True), {"Range": "bytes=0-4"})
    assert (part.status, part.code) == (412, "storage_version_changed")


@pytest.mark.parametrize("kind", ["file", "archive"])
def test_a_file_that_somebody_is_writing_is_worth_coming_again(faulty_desk: Desk, faults: Faults, kind: str) -> None:
    put_there(faulty_desk)
    folder = faulty_desk.folder("d/", "read-prefix", mounted=True)
    path = f"{folder}x.bin" if kind == "file" else f"{folder[:-1]}.tar"
    faults.fail("open_read", VersionChanged)
    answer = faulty_desk.ask("GET", path)
    assert (answer.status, answer.code, answer["Waybill-Retryable"]) == (503, "object_unavailable", "true")
    assert answer["Retry-After"]
    upload = faulty_desk.ask("PUT", faulty_desk.write(mounted=True), body=DATA)
    assert (upload.status, upload.code) == (503, "object_unavailable"), "its bytes cannot be compared now"
    faults.heal()
    assert faulty_desk.ask("PUT", faulty_desk.write(mounted=True), body=DATA).status == 200


def test_an_absent_source_is_404_unless_a_job_is_to_write_it(desk: Desk) -> None:
    path = desk.read(mounted=True)
    missing = desk.ask("GET", path)
    assert (missing.status, missing.code) == (404, "source_missing")
    desk.write(mounted=True)
    assert desk.ask("GET", path).status == 503


def test_a_source_of_weak_versions_has_a_weak_etag(sftp_desk: Desk) -> None:
    put_there(sftp_desk, b"over ssh")
    path = sftp_desk.read(mounted=True)
    answer = sftp_desk.ask("GET", path)
    assert (answer.status, answer.body) == (200, b"over ssh")
    assert answer["ETag"].startswith('W/"')
    assert sftp_desk.ask("GET", path, {"If-None-Match": answer["ETag"]}).status == 304
    assert sftp_desk.ask("GET", path, {"If-Match": answer["ETag"]}).status == 412
    assert sftp_desk.ask("GET", path, {"If-Range": answer["ETag"], "Range": "bytes=0-1"}).status == 200
