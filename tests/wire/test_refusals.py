"""Refusals: their status, their headers, that the client reads them, and that the connection stays in step."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from staging import aliases
from staging.models import Alias
from tests.wire.curl import curl
from tests.wire.desk import KEY, Desk
from tests.wire.line import Line

ON_EVERY_ANSWER = {"referrer-policy": "no-referrer", "cache-control": "private, no-transform"}
BODY = b"some bytes " * 1000


def alias_path(desk: Desk, change: Callable[[Alias], object], mode: str = "write") -> str:
    alias = desk.place.alias(KEY, mode)
    change(alias)
    return desk.gateway.alias_path(aliases.token_of(alias), "x.bin")


def expire(alias: Alias) -> None:
    Alias.objects.filter(pk=alias.pk).update(expires_at=alias.created_at)


#: What is asked, and what the answer is: the path's maker, method, headers, status, code.
Case = tuple[Callable[[Desk], str], str, dict[str, str], int, str]
UNKNOWN = "A" * 32
CASES: dict[str, Case] = {
    "unknown token": (lambda desk: f"/a/{UNKNOWN}/x", "PUT", {}, 404, "alias_unknown"),
    "malformed token": (lambda desk: "/a/..%2f%00%ff/x", "PUT", {}, 404, "alias_unknown"),
    "token of an enormous length": (lambda desk: f"/a/{'a' * 5000}/x", "PUT", {}, 404, "alias_unknown"),
    "unknown token, read": (lambda desk: f"/a/{UNKNOWN}/x", "GET", {}, 404, "alias_unknown"),
    "expired": (lambda desk: alias_path(desk, expire), "PUT", {}, 410, "alias_expired"),
    "expired, read": (lambda desk: alias_path(desk, expire, "read"), "GET", {}, 410, "alias_expired"),
    "revoked": (lambda desk: alias_path(desk, aliases.revoke), "PUT", {}, 410, "alias_revoked"),
    "read of a write alias": (lambda desk: desk.write(), "GET", {}, 405, "wrong_direction"),
    "write to a read alias": (lambda desk: desk.read(), "PUT", {}, 405, "wrong_direction"),
    "post to a read alias": (lambda desk: desk.read(), "POST", {}, 405, "wrong_direction"),
    "delete": (lambda desk: desk.write(), "DELETE", {}, 405, "wrong_direction"),
    "too large": (lambda desk: desk.write(max_bytes=10), "PUT", {}, 413, "too_large"),
    "wrong size": (lambda desk: desk.write(size=10), "PUT", {}, 422, "size_mismatch"),
    "form": (
        lambda desk: desk.write(),
        "POST",
        {"Content-Type": "multipart/form-data; boundary=x"},
        415,
        "unsupported_body",
    ),
    "encoded": (lambda desk: desk.write(), "PUT", {"Content-Encoding": "gzip"}, 415, "unsupported_body"),
    "part": (lambda desk: desk.write(), "PUT", {"Content-Range": "bytes 5-9/10"}, 409, "wrong_offset"),
    "malformed digest": (lambda desk: desk.write(), "PUT", {"Repr-Digest": "?"}, 400, "invalid_request"),
    "no data yet": (lambda desk: desk.read("d/none"), "GET", {}, 503, "data_pending"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_says_why_and_the_connection_stays_in_step(desk: Desk, case: str) -> None:
    make_path, method, headers, status, code = CASES[case]
    next_path, content = desk.write("d/next"), b"the next one on the same connection"
    with desk.line() as line:
        if method == "GET":
            refused = line.ask(method, make_path(desk), headers)
        else:
            refused = line.ask(method, make_path(desk), headers, body=BODY)
        assert (refused.status, refused.code) == (status, code)
        problem = json.loads(refused.body)
        assert refused["Content-Type"] == "application/problem+json"
        assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"urn:waybill:problem:{code}")
        assert problem["request_id"] == refused["X-Request-Id"]
        assert refused["Waybill-Retryable"] == str(problem["retryable"]).lower()
        assert "hint" in problem
        assert ("retry-after" in refused.headers) == (status == 503)
        assert ("allow" in refused.headers) == (status == 405)
        assert line.ask("PUT", next_path, body=content).status == 201
        assert line.ask("GET", desk.read("d/next")).body == content
    assert desk.versions() == 0


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][1] in ("PUT", "POST")])
def test_a_refused_stream_never_gets_a_status_that_curl_retries(desk: Desk, case: str) -> None:
    make_path, method, headers, status, _ = CASES[case]
    with desk.line() as line:
        refused = line.ask(method, make_path(desk), headers, chunks=[BODY, BODY])
        assert refused.status == status or case == "wrong size"
        assert refused.status not in (408, 429, 500, 502, 503, 504)
        assert line.ask("PUT", desk.write("d/next"), body=b"x").status == 201


def test_head_of_a_refusal_has_its_headers_and_no_body(desk: Desk) -> None:
    with desk.line() as line:
        refused = line.ask("HEAD", f"/a/{UNKNOWN}/x")
        assert (refused.status, refused.code) == (404, "alias_unknown")
        assert line.ask("HEAD", desk.write()).status == 200


def test_allow_names_what_the_alias_answers(desk: Desk) -> None:
    assert desk.ask("DELETE", desk.read())["Allow"] == "GET, HEAD"
    assert desk.ask("GET", desk.write())["Allow"] == "PUT, POST, PATCH, HEAD"


def test_every_answer_keeps_referrers_caches_and_transformers_away(desk: Desk) -> None:
    path = desk.stored(BODY)
    answers = [
        desk.ask("GET", path),
        desk.ask("GET", path, {"Range": "bytes=0-1"}),
        desk.ask("GET", path, {"If-None-Match": "*"}),
        desk.ask("HEAD", path),
        desk.ask("GET", f"{path}.sha256"),
        desk.ask("PUT", path, body=b""),
        desk.ask("GET", f"/a/{UNKNOWN}/x"),
        desk.ask("PUT", desk.write("d/other"), body=b""),
    ]
    for answer in answers:
        assert ON_EVERY_ANSWER.items() <= answer.headers.items(), answer
        assert len(answer["X-Request-Id"]) == 32
        assert "location" not in answer.headers
        assert "set-cookie" not in answer.headers
    assert desk.ask("HEAD", desk.write())["Referrer-Policy"] == "no-referrer"


def test_a_request_id_of_a_proxy_is_kept_where_it_is_well_formed(desk: Desk) -> None:
    path = f"/a/{UNKNOWN}/x"
    assert desk.ask("GET", path, {"X-Request-Id": "proxy-0123456789"})["X-Request-Id"] == "proxy-0123456789"
    assert desk.ask("GET", path, {"X-Request-Id": "a b"})["X-Request-Id"] != "a b"


def test_what_is_declared_too_large_is_refused_before_a_byte_of_it_is_sent(desk: Desk) -> None:
    with desk.line() as line:
        line.begin("PUT", desk.write(max_bytes=10), {"Content-Length": "10000000000"})
        assert line.answer().status == 413


def test_a_stream_that_grows_too_large_is_413(desk: Desk) -> None:
    answer = desk.ask("PUT", desk.write(max_bytes=5_000_000), chunks=[b"x" * 1_000_000] * 8)
    assert (answer.status, answer.code) == (413, "too_large")
    desk.assert_nothing_is_left()


def test_a_body_without_length_or_chunks_is_411(desk: Desk) -> None:
    with desk.line() as line:
        answer = line.ask("PUT", desk.write())
        assert (answer.status, answer.code) == (411, "length_required")
        assert line.ask("PUT", desk.write(), body=b"x").status == 201


def test_a_body_cut_short_stores_nothing_and_leaves_the_old_version(desk: Desk) -> None:
    path = desk.stored(b"old")
    for begin in (send_short, send_short_chunks):
        with desk.line() as line:
            begin(line, desk.write(on_exists="replace"))
            line.socket.shutdown(1)  # the client is done, and still listens
            answer = line.answer()
        assert (answer.code, answer.status) in [("incomplete_body", 400)]
    assert desk.ask("GET", path).body == b"old"
    desk.place.give_up_what_waits()
    desk.assert_nothing_is_left()


def send_short(line: Line, path: str) -> None:
    line.begin("PUT", path, {"Content-Length": "5000000"})
    line.send(b"x" * 4_000_000)


def send_short_chunks(line: Line, path: str) -> None:
    line.begin("PUT", path, {"Transfer-Encoding": "chunked"})
    line.send(b"200000\r\n" + b"x" * 0x200000 + b"\r\n200000\r\nxxx")


def test_malformed_chunks_store_nothing(desk: Desk) -> None:
    for wrong in (b"zz\r\n", b"5\r\nhello!!\r\n", b"-1\r\n"):
        with desk.line() as line:
            line.begin("PUT", desk.write(), {"Transfer-Encoding": "chunked"})
            line.send(b"5\r\nhello\r\n" + wrong)
            line.socket.shutdown(1)
            assert line.answer().status == 400
    assert desk.versions() == 0
    desk.assert_nothing_is_left()


def test_a_body_longer_than_declared_is_the_declared_part_and_the_rest_is_no_request(desk: Desk) -> None:
    with desk.line() as line:
        line.begin("PUT", desk.write(), {"Content-Length": "5"})
        line.send(b"12345 and more\r\n\r\n")
        assert line.answer().status == 201
        assert line.answer().status == 400
        assert line.is_closed()
    assert desk.content() == b"12345"


def test_a_form_upload_by_curl_says_what_to_do_instead(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(BODY)
    ended = curl("-sS", "-F", f"file=@{tmp_path / 'f'}", desk.url(desk.write()))
    assert ended.status == 415
    assert "curl -T FILE" in json.loads(ended.output)["hint"]
    assert desk.versions() == 0
