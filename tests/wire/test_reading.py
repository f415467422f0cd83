"""GET and HEAD of managed objects: lengths, ranges, conditions, digests."""

import base64
import hashlib
import subprocess
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from staging import aliases, retiring, storages
from staging.models import Alias, Bucket
from staging.storages import StorageSpec
from tests.servers.process import wait_until
from tests.wire.curl import curl
from tests.wire.desk import KEY, Desk, sha256

DATA = bytes(range(256)) * 12_000  # three chunks


@pytest.fixture
def path(desk: Desk) -> str:
    return desk.stored(DATA)


@pytest.fixture
def streamed(desk: Desk) -> str:
    """The same object in the gateway's memory."""
    storage = storages.create(desk.place.project, StorageSpec("ram", "memory", {}, tier=0))
    desk.place.managed = Bucket.objects.create(project=desk.place.project, name="ram", storage=storage)
    return desk.stored(DATA)


def test_a_whole_object_has_its_exact_length_and_all_validators(desk: Desk, path: str) -> None:
    answer = desk.ask("GET", path)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer["Content-Length"] == str(len(DATA))
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["ETag"] == f'"{sha256(DATA)}"'
    digest = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
    assert answer["Repr-Digest"] == f"sha-256=:{digest}:"
    assert answer["Waybill-Sha256"] == sha256(DATA)
    made = desk.current()
    assert made
    assert answer["Last-Modified"] == format_datetime(made.created_at.replace(microsecond=0), usegmt=True)
    assert "transfer-encoding" not in answer.headers
    assert "content-encoding" not in answer.headers


def test_an_object_that_is_streamed_has_its_exact_length_too(desk: Desk, streamed: str) -> None:
    answer = desk.ask("GET", streamed)
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, DATA, str(len(DATA)))
    assert desk.ask("GET", streamed, {"Range": "bytes=1048570-1048590"}).body == DATA[1048570:1048591]


def test_an_empty_object_is_read_as_empty(desk: Desk) -> None:
    path = desk.stored(b"")
    answer = desk.ask("GET", path)
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, b"", "0")


RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-", 0, len(DATA)),
    ("bytes=10-19", 10, 20),
    ("bytes=100-99999999999", 100, len(DATA)),
    (f"bytes={len(DATA) - 1}-", len(DATA) - 1, len(DATA)),
    ("bytes=-1", len(DATA) - 1, len(DATA)),
    ("bytes=-1000000", len(DATA) - 1_000_000, len(DATA)),
    (f"bytes=-{len(DATA) + 5}", 0, len(DATA)),
]


def test_one_range_is_answered_with_exactly_its_bytes(desk: Desk, path: str) -> None:
    with desk.line() as line:
        for asked, start, stop in RANGES:
            answer = line.ask("GET", path, {"Range": asked})
            assert answer.status == 206, asked
            assert answer["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
            assert answer["Content-Length"] == str(stop - start)
            assert answer.body == DATA[start:stop]
            assert answer["ETag"] == f'"{sha256(DATA)}"'


def test_several_ranges_and_malformed_ones_get_the_whole_object(desk: Desk, path: str) -> None:
    with desk.line() as line:
        for asked in ("bytes=0-1,5-6", "bytes=5-1", "bytes=", "bytes=a-b", "lines=1-2", "bytes=" + "9" * 5000 + "-"):
            answer = line.ask("GET", path, {"Range": asked})
            assert (answer.status, len(answer.body)) == (200, len(DATA)), asked
            assert "content-range" not in answer.headers


def test_a_range_past_the_end_is_416_and_curl_before_8_5_is_not_told_the_size(desk: Desk, path: str) -> None:
    past = {"Range": f"bytes={len(DATA)}-"}
    with desk.line() as line:
        for agent, tells in (("curl/7.61.0", False), ("curl/8.4.0", False), ("curl/8.5.0", True), ("wget", True)):
            answer = line.ask("GET", path, {**past, "User-Agent": agent})
            assert (answer.status, answer.code) == (416, "range_unsatisfiable")
            assert answer.headers.get("content-range") == (f"bytes */{len(DATA)}" if tells else None)
        assert line.ask("GET", path, {**past, "User-Agent": "curl/" + "9" * 5000 + ".1"}).status == 416
    assert desk.ask("GET", desk.stored(b"", "d/empty"), {"Range": "bytes=-5"}).status == 416


def test_curl_goes_on_with_a_partial_download(desk: Desk, path: str, tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(DATA[:1_234_567])
    ended = curl("-fsS", "-C", "-", "-o", target, desk.url(path))
    assert (ended.exit, ended.status) == (0, 206)
    assert target.read_bytes() == DATA


def test_if_range_yields_the_part_of_that_version_and_else_the_whole(desk: Desk, path: str) -> None:
    modified = desk.ask("HEAD", path)["Last-Modified"]
    cases = [
        (f'"{sha256(DATA)}"', 206),
        (f'W/"{sha256(DATA)}"', 200),
        ('"another"', 200),
        (modified, 200),
        ("no date", 200),
    ]
    with desk.line() as line:
        for condition, status in cases:
            answer = line.ask("GET", path, {"Range": "bytes=5-9", "If-Range": condition})
            assert (answer.status, len(answer.body)) == (status, 5 if status == 206 else len(DATA)), condition


def test_conditions_are_304_and_412(desk: Desk, path: str) -> None:
    etag, modified = f'"{sha256(DATA)}"', desk.ask("HEAD", path)["Last-Modified"]
    past = "Thu, 01 Jan 1998 00:00:00 GMT"
    cases = [
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"a", W/{etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"a"'}, 200),
        ({"If-None-Match": '"a"', "If-Modified-Since": modified}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": past}, 200),
        ({"If-Modified-Since": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, 200),
        ({"If-Match": etag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": f"W/{etag}"}, 412),
        ({"If-Match": '"a"'}, 412),
        ({"If-Unmodified-Since": past}, 412),
        ({"If-Unmodified-Since": modified}, 200),
        ({"If-Match": etag, "If-Unmodified-Since": past}, 200),
        ({"If-Match": '"a"', "Range": "bytes=0-1"}, 412),
    ]
    with desk.line() as line:
        for headers, status in cases:
            for method in ("GET", "HEAD"):
                answer = line.ask(method, path, headers)
                assert answer.status == status, (method, headers)
                if status == 304:
                    assert answer["ETag"] == etag
                    assert answer["Content-Length"] == str(len(DATA))


def test_head_answers_what_get_would(desk: Desk, path: str) -> None:
    with desk.line() as line:
        for url in (path, f"{path}.sha256"):
            got, headed = line.ask("GET", url), line.ask("HEAD", url)
            assert headed.status == got.status == 200
            for answer in (got, headed):
                answer.headers.pop("x-request-id")
                answer.headers.pop("date")
            assert headed.headers == got.headers


def test_head_of_a_managed_object_opens_no_storage(desk: Desk, path: str) -> None:
    for name in desk.place.files():
        (desk.place.root / name).unlink()
    assert desk.ask("HEAD", path)["Content-Length"] == str(len(DATA))
    assert desk.ask("GET", path).status == 502


def test_the_file_name_survives_unicode_spaces_and_quotes(desk: Desk) -> None:
    name = 'naïve "résumé"; 100%\\.txt'
    path = desk.stored(b"x", f"d/{name}")
    answer = desk.ask("GET", path)
    assert answer["Content-Disposition"] == f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_curl_names_the_file_as_the_object_is_named(desk: Desk, tmp_path: Path) -> None:
    path = desk.stored(b"table", "d/out_0.csv")
    ended = curl("-fsS", "--output-dir", tmp_path, "-O", desk.url(path))
    assert (ended.exit, (tmp_path / "out_0.csv").read_bytes()) == (0, b"table")


def test_the_companion_checks_the_file(desk: Desk, path: str, tmp_path: Path) -> None:
    answer = desk.ask("GET", f"{path}.sha256")
    assert answer.body == f"{sha256(DATA)}  x.bin\n".encode()
    (tmp_path / "x.bin").write_bytes(DATA)
    subprocess.run(["sha256sum", "-c"], input=answer.body, cwd=tmp_path, check=True, capture_output=True)


def test_an_object_named_like_a_companion_is_itself(desk: Desk) -> None:
    assert desk.ask("GET", desk.stored(b"itself", "d/y.sha256")).body == b"itself"


def test_any_name_behind_the_token_serves_the_object(desk: Desk, path: str) -> None:
    token = path.split("/")[2]
    for other in (f"/a/{token}", f"/a/{token}/", f"/a/{token}/other/name"):
        assert desk.ask("GET", other).body == DATA


def test_the_content_type_given_with_the_upload_comes_back(desk: Desk) -> None:
    desk.ask("PUT", desk.write(), {"Content-Type": "text/csv; charset=utf-8"}, body=b"a,b")
    assert desk.ask("GET", desk.read())["Content-Type"] == "text/csv; charset=utf-8"


def test_uses_count_whole_deliveries_only(desk: Desk) -> None:
    large = DATA * 5  # more than the kernel's buffers take
    desk.stored(large)
    path = desk.read(max_uses=1)
    with desk.line(receive_buffer=4096) as line:
        line.begin("GET", path)  # and go away in the middle of it
        line.socket.recv(1000)
    for method, headers in [
        ("HEAD", {}),
        ("GET", {"Range": "bytes=0-5"}),
        ("GET", {"If-None-Match": "*"}),
        ("GET", {"Range": "bytes=9999999-"}),
        ("GET", {"If-Match": '"a"'}),
    ]:
        assert desk.ask(method, path, headers).status in (200, 206, 304, 416, 412)
    assert desk.ask("GET", path).body == large
    wait_until(lambda: Alias.objects.filter(uses=1, max_uses=1).exists(), what="the delivery is counted")
    used_up = desk.ask("GET", path)
    assert (used_up.status, used_up.code) == (410, "alias_used_up")


def test_what_is_not_there_yet_is_503_and_comes_later(desk: Desk) -> None:
    write, read = desk.write(), desk.read()
    for method in ("GET", "HEAD"):
        pending = desk.ask(method, read)
        assert (pending.status, pending.code, pending["Waybill-Retryable"]) == (503, "data_pending", "true")
        assert 1 <= int(pending["Retry-After"]) <= 300
    desk.ask("PUT", write, body=b"now")
    assert desk.ask("GET", read).body == b"now"


def test_a_deleted_object_is_404(desk: Desk, path: str) -> None:
    made = desk.current()
    assert made
    for alias in made.bucket.aliases.filter(key=KEY, mode="write"):
        aliases.revoke(alias)
    retiring.delete(made)
    gone = desk.ask("GET", path)
    assert (gone.status, gone.code) == (404, "source_missing")
