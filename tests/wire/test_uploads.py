"""PUT and POST: what is stored, what is a replay, and what the digests say."""

import base64
import hashlib
import threading
from pathlib import Path

import pytest

from staging import aliases
from tests.wire.curl import curl
from tests.wire.desk import KEY, REPLACE, Desk, sha256
from tests.wire.line import Answer

DATA = b"\x00\xffwaybill\r\n" * 250_000  # 2.75 MB: several chunks and a rest


def b64(algorithm: str, data: bytes = DATA) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


def test_an_upload_is_201_with_all_that_a_client_may_check(desk: Desk) -> None:
    answer = desk.ask("PUT", desk.write(), body=DATA)
    assert answer.status == 201
    assert answer["ETag"] == f'"{sha256(DATA)}"'
    assert answer["Repr-Digest"] == f"sha-256=:{b64('sha256')}:"
    assert answer["Waybill-Durability"] == "local"  # the test's storage is of tier 1
    assert answer["Upload-Complete"] == "?1"
    assert answer["Upload-Offset"] == str(len(DATA))
    assert "waybill-replayed" not in answer.headers
    assert desk.content() == DATA
    assert desk.events("object.created") == 1
    desk.assert_nothing_is_left()


def test_a_chunked_upload_is_stored_whole(desk: Desk) -> None:
    pieces = [DATA[start : start + 70_001] for start in range(0, len(DATA), 70_001)]
    assert desk.ask("PUT", desk.write(), chunks=pieces).status == 201
    assert desk.content() == DATA
    desk.assert_nothing_is_left()


def test_a_chunked_upload_fits_where_less_than_a_growth_step_is_free(desk: Desk) -> None:
    desk.place.storage.capacity_bytes = 10
    desk.place.storage.save()
    assert desk.ask("PUT", desk.write(), chunks=[b"1234567"]).status == 201
    more = desk.ask("PUT", desk.write("d/more"), chunks=[b"12345"])
    assert (more.status, more.code) == (507, "no_space")
    desk.assert_nothing_is_left()


def test_an_empty_body_of_declared_length_is_an_object(desk: Desk) -> None:
    assert desk.ask("PUT", desk.write(), body=b"").status == 201
    assert desk.content() == b""


def test_an_empty_stream_is_an_object_only_where_the_alias_allows_it(desk: Desk) -> None:
    refused = desk.ask("PUT", desk.write(), chunks=[])
    assert (refused.status, refused.code, refused["Waybill-Retryable"]) == (422, "empty_stream", "false")
    assert desk.content() is None
    assert desk.ask("PUT", desk.write("d/e", allow_empty_stream=True), chunks=[]).status == 201
    desk.assert_nothing_is_left()


def test_post_of_a_body_is_a_put_and_its_form_type_is_ignored(desk: Desk) -> None:
    source = desk.write()
    ended = curl("-fsS", "--data-binary", "@-", desk.url(source), stdin=b"a=b&c=%20\n")
    assert (ended.exit, ended.status) == (0, 201)
    got = desk.ask("GET", desk.read())
    assert (got.body, got["Content-Type"]) == (b"a=b&c=%20\n", "application/octet-stream")


def test_curl_appends_the_name_to_a_url_that_ends_in_a_slash(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(DATA)
    folder = desk.write().rsplit("/", 1)[0] + "/"
    ended = curl("-fsS", "-T", tmp_path / "x.bin", desk.url(folder))
    assert (ended.exit, ended.status) == (0, 201)
    assert desk.content() == DATA


RIGHT = [
    {"Repr-Digest": f"sha-256=:{b64('sha256')}:"},
    {"Content-Digest": f"sha-512=:{b64('sha512')}:, sha-256=:{b64('sha256')}:"},
    {"Digest": f"SHA-256={b64('sha256')},MD5={b64('md5')}"},
    {"Content-MD5": b64("md5")},
    {"Waybill-Sha256": sha256(DATA).upper()},
    {"Repr-Digest": "unixsum=:AAAA:", "Digest": "crc32c=AAAAAA=="},  # unknown algorithms are ignored
]
WRONG = [
    {"Repr-Digest": f"sha-256=:{b64('sha256', b'')}:"},
    {"Content-Digest": f"sha-256=:{b64('sha256')}:, sha-512=:{b64('sha512', b'')}:"},
    {"Digest": f"SHA={b64('sha1', b'')}"},
    {"Content-MD5": b64("md5", b"")},
    {"Waybill-Sha256": sha256(b"")},
]
MALFORMED = [
    {"Repr-Digest": f"sha-256={b64('sha256')}"},
    {"Content-Digest": "sha-256=:AAAA:"},
    {"Digest": "sha-256"},
    {"Content-MD5": "é"},
    {"Content-MD5": "AA"},
    {"Waybill-Sha256": "12"},
    {"Waybill-Sha256": sha256(DATA), "Repr-Digest": f"sha-256=:{b64('sha256', b'')}:"},  # they contradict each other
]


def test_every_form_of_a_right_digest_is_accepted(desk: Desk) -> None:
    with desk.line() as line:
        for number, headers in enumerate(RIGHT):
            assert line.ask("PUT", desk.write(f"d/{number}"), headers, body=DATA).status == 201, headers


@pytest.mark.parametrize("chunked", [False, True], ids=["known length", "chunked"])
def test_every_form_of_a_wrong_digest_is_422_and_stores_nothing(desk: Desk, chunked: bool) -> None:
    with desk.line() as line:
        for headers in WRONG:
            body = {"chunks": [DATA]} if chunked else {"body": DATA}
            answer = line.ask("PUT", desk.write(), headers, **body)
            assert (answer.status, answer.code) == (422, "digest_mismatch"), headers
            assert desk.versions() == 0
    desk.assert_nothing_is_left()


def test_every_malformed_or_contradicting_digest_is_400(desk: Desk) -> None:
    with desk.line() as line:
        for headers in MALFORMED:
            answer = line.ask("PUT", desk.write(), headers, body=DATA)
            assert (answer.status, answer.code) == (400, "invalid_request"), headers
    desk.assert_nothing_is_left()


def test_size_and_digest_fixed_at_creation_are_kept_to(desk: Desk) -> None:
    fixed = desk.write(size=5, sha256=sha256(b"right"))
    for body, code in ((b"wrong", "digest_mismatch"), (b"longer", "size_mismatch")):
        for sent in ({"body": body}, {"chunks": [body]}):
            answer = desk.ask("PUT", fixed, **sent)
            assert (answer.status, answer.code) == (422, code), sent
    announced = desk.ask("PUT", fixed, {"Waybill-Sha256": sha256(b"other")}, body=b"right")
    assert (announced.status, announced.code) == (422, "digest_mismatch")
    assert desk.ask("PUT", fixed, body=b"right").status == 201
    desk.assert_nothing_is_left()


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
@pytest.mark.parametrize("on_exists", ["fail", "replace"])
def test_a_replay_is_200_and_makes_no_version_and_no_event(desk: Desk, mounted: bool, on_exists: str) -> None:
    path = desk.write(mounted=mounted, on_exists=on_exists)
    assert desk.ask("PUT", path, body=DATA).status == 201
    for sent in ({"body": DATA}, {"chunks": [DATA]}):
        again = desk.ask("PUT", path, **sent)
        assert (again.status, again["Waybill-Replayed"], again["ETag"]) == (200, "true", f'"{sha256(DATA)}"')
    assert (desk.versions(), desk.events()) == (1, 1)
    assert desk.ask("GET", desk.read(mounted=mounted)).body == DATA
    desk.assert_nothing_is_left()


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
def test_other_content_is_409_and_the_first_stays(desk: Desk, mounted: bool) -> None:
    assert desk.ask("PUT", desk.write(mounted=mounted), body=DATA).status == 201
    longer, same_length = DATA + b"!", b"!" + DATA[1:]
    for body in (longer, same_length, b""):
        for sent in ({"body": body}, {"chunks": [body]}):
            answer = desk.ask("PUT", desk.write(mounted=mounted), **sent)
            assert answer.status == (422 if sent == {"chunks": [b""]} else 409), (len(body), answer)
    assert desk.ask("GET", desk.read(mounted=mounted)).body == DATA
    assert desk.versions() == 1
    desk.assert_nothing_is_left()


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
def test_replace_makes_a_new_version_and_a_reader_in_flight_keeps_the_old(desk: Desk, mounted: bool) -> None:
    old, new = b"a" * 8_000_000, b"b" * 8_000_000
    desk.ask("PUT", desk.write(mounted=mounted), body=old)
    with desk.line(receive_buffer=4096) as slow:
        slow.begin("GET", desk.read(mounted=mounted))
        slow.wait_for_some()
        replaced = desk.ask("PUT", desk.write(mounted=mounted, on_exists=REPLACE), body=new)
        assert replaced.status == 201
        assert slow.answer().body == old
    assert desk.ask("GET", desk.read(mounted=mounted)).body == new
    assert desk.events("object.replaced") == 1


def test_a_used_up_alias_still_acknowledges_what_it_committed(desk: Desk) -> None:
    path = desk.write(max_uses=1, on_exists=REPLACE)
    assert desk.ask("PUT", path, body=DATA).status == 201
    assert desk.ask("PUT", path, body=DATA)["Waybill-Replayed"] == "true"
    other = desk.ask("PUT", path, body=b"other")
    assert (other.status, other.code) == (410, "alias_used_up")


def test_head_tells_how_much_is_safe(desk: Desk) -> None:
    path = desk.write()
    before = desk.ask("HEAD", path)
    assert (before.status, before["Upload-Offset"], before["Upload-Complete"]) == (200, "0", "?0")
    assert before["Cache-Control"] == "no-store"
    desk.ask("PUT", path, body=DATA)
    after = desk.ask("HEAD", path)
    assert (after["Upload-Offset"], after["Upload-Complete"]) == (str(len(DATA)), "?1")


def test_a_part_of_a_file_is_409_and_told_where_to_begin(desk: Desk) -> None:
    path = desk.write()
    for given in ("bytes 5-9/10", "bytes 0-4/10", "bytes 0-4/*", "bytes */5", "nonsense", "bytes 0-4/" + "9" * 5000):
        answer = desk.ask("PUT", path, {"Content-Range": given}, body=b"12345")
        assert (answer.status, answer.code, answer["Upload-Offset"]) == (409, "wrong_offset", "0"), given
    assert desk.ask("PUT", path, {"Content-Range": "bytes 0-4/5"}, body=b"12345").status == 201
    complete = desk.ask("PUT", path, {"Content-Range": "bytes 2-4/5"}, body=b"345")
    assert (complete.status, complete["Upload-Offset"], complete["Upload-Complete"]) == (409, "5", "?1")


def test_expiry_is_checked_when_a_request_starts_and_a_running_one_finishes(desk: Desk) -> None:
    alias = desk.place.alias(KEY, "write")
    path = desk.gateway.alias_path(aliases.token_of(alias), "x.bin")
    with desk.line() as line:
        line.begin("PUT", path, {"Content-Length": "10"})
        line.send(b"12345")
        desk.wait_until_uploads_run()
        aliases.revoke(alias)
        line.send(b"67890")
        assert line.answer().status == 201
    gone = desk.ask("PUT", path, body=b"1234567890")
    assert (gone.status, gone.code) == (410, "alias_revoked")


def test_two_equal_uploads_at_once_make_one_object(desk: Desk) -> None:
    path = desk.write()
    answers = at_once(desk, [(path, DATA)] * 2)
    assert sorted(answer.status for answer in answers) == [200, 201]
    assert (desk.versions(), desk.events()) == (1, 1)
    desk.assert_nothing_is_left()


def test_of_two_different_uploads_at_once_one_is_refused(desk: Desk) -> None:
    path = desk.write()
    answers = at_once(desk, [(path, b"1" * 3_000_000), (path, b"2" * 3_000_000)])
    assert sorted(answer.status for answer in answers) == [201, 409]
    assert (desk.versions(), desk.events()) == (1, 1)
    desk.assert_nothing_is_left()


def at_once(desk: Desk, uploads: list[tuple[str, bytes]]) -> list[Answer]:
    """All uploads side by side: each has been reserved before the last byte of any is sent."""
    lines = [desk.line() for _ in uploads]
    for line, (path, data) in zip(lines, uploads, strict=True):
        line.begin("PUT", path, {"Content-Length": str(len(data))})
        line.send(data[:-1])
    desk.wait_until_uploads_run(len(uploads))
    threads = [
        threading.Thread(target=line.send, args=(data[-1:],)) for line, (_, data) in zip(lines, uploads, strict=True)
    ]
    for thread in threads:
        thread.start()
    answers = []
    for line, thread in zip(lines, threads, strict=True):
        thread.join()
        with line:
            answers.append(line.answer())
    return answers


@pytest.mark.parametrize("name", ["If-None-Match", "If-Match", "If-Unmodified-Since"])
def test_an_upload_on_a_condition_is_refused_as_none_is_held(desk: Desk, name: str) -> None:
    path = desk.write(on_exists=REPLACE)
    assert desk.ask("PUT", path, body=b"first").status == 201
    refused = desk.ask("PUT", path, {name: "*"}, body=b"other")
    assert (refused.status, refused.code) == (400, "invalid_request")
    assert desk.content() == b"first"
