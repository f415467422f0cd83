"""The numbered traps of the HTTP contract: what must hold, with the real curl where curl is what falls in."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.errors import Offline, TimedOut, Unavailable
from gateway import problems
from staging import writing
from staging.models import Alias, Object
from tests.servers.faulty import Faults
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port, is_listening
from tests.servers.process import wait_until
from tests.servers.proxy import CuttingProxy
from tests.wire.curl import PATIENT, begin, curl, end
from tests.wire.desk import KEY, Desk, sha256
from tests.wire.line import LineCut

DATA = bytes(range(256)) * 20_000  # 5 MB
LARGE = 40_000_000


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "x.bin"
    path.write_bytes(b"x" * LARGE)
    return path


def test_trap_1_a_chunked_body_is_read_whole(desk: Desk) -> None:
    ended = curl("-fsS", "-T", "-", desk.url(desk.write()), stdin=DATA)
    assert (ended.exit, ended.status) == (0, 201)
    assert desk.content() == DATA


def test_trap_2_a_body_cut_short_is_never_published(desk: Desk) -> None:
    with desk.line() as line:
        line.begin("PUT", desk.write(), {"Content-Length": str(len(DATA))})
        line.send(DATA[:-1])
        line.socket.shutdown(1)
        assert (line.answer().status, desk.versions()) == (400, 0)
    desk.place.give_up_what_waits()
    desk.assert_nothing_is_left()


def test_trap_3_a_refused_upload_reads_its_status_and_no_reset(desk: Desk, large_file: Path) -> None:
    for _ in range(10):
        for path in (desk.write(max_bytes=1), "/a/" + "A" * 32 + "/x"):
            ended = curl("-sS", "-T", large_file, desk.url(path))
            assert (ended.exit, ended.status) in [(0, 413), (0, 404)], ended
    desk.assert_nothing_is_left()


def test_trap_3_a_client_that_sends_all_before_it_reads_is_answered_too(desk: Desk) -> None:
    body = b"x" * LARGE
    with desk.line() as line:
        for sent in ({"body": body}, {"chunks": [body]}, {"body": body}):
            assert line.ask("PUT", desk.write(max_bytes=1), **sent).status == 413
        assert line.ask("PUT", desk.write(), body=b"in step").status == 201


def test_trap_4_a_refused_upload_through_an_unbuffered_proxy_is_no_502(
    desk: Desk, large_file: Path, tmp_path: Path
) -> None:
    port, config = free_port(), tmp_path / "nginx.conf"
    config.write_text(NGINX.format(port=port, gateway=desk.port, folder=tmp_path))
    with Nginx(config, tmp_path / "nginx", [port]):
        for _ in range(10):
            ended = curl("-sS", "-T", large_file, desk.url(desk.write(max_bytes=1), port=port))
            assert (ended.exit, ended.status) == (0, 413), ended


NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        location / {{
            proxy_pass http://127.0.0.1:{gateway};
            proxy_http_version 1.1;
            proxy_request_buffering off;
        }}
    }}
}}
"""


def test_trap_5_any_accept_header_gets_the_bytes_uncompressed_with_their_length(desk: Desk) -> None:
    path = desk.stored(b"a" * 100_000)
    for headers in (
        {"Accept": "application/octet-stream"},
        {"Accept": "image/png"},
        {"Accept": "application/json;q=0"},
        {"Accept-Encoding": "gzip, br, zstd"},
    ):
        answer = desk.ask("GET", path, headers)
        assert (answer.status, answer["Content-Length"]) == (200, "100000")
        assert "content-encoding" not in answer.headers


def test_trap_6_a_stream_that_fails_is_never_ended_politely(faulty_desk: Desk, faults: Faults, tmp_path: Path) -> None:
    path = faulty_desk.stored(DATA)
    faults.fail("read", Unavailable, from_byte=2_000_000)
    with faulty_desk.line() as line, pytest.raises(LineCut) as cut:
        line.ask("GET", path)
    assert f"Content-Length: {len(DATA)}" in cut.value.head
    assert curl("-fsS", "-o", tmp_path / "x", faulty_desk.url(path)).exit == 18
    assert curl("-fsS", "--http1.0", "-o", tmp_path / "x", faulty_desk.url(path)).exit == 18


def test_trap_7_a_stream_on_a_failing_storage_gets_no_status_that_curl_retries(
    faulty_desk: Desk, faults: Faults
) -> None:
    for step, error in (("open_write", Offline), ("write", TimedOut), ("publish", Unavailable)):
        faults.fail(step, error)
        key = f"d/{step}"
        ended = curl("-fsS", "-T", "-", "--retry", "3", faulty_desk.url(faulty_desk.write(key)), stdin=DATA)
        assert (ended.exit, ended.status) == (22, 422), step
        assert faulty_desk.versions(key) == 0
        faults.heal()


def test_trap_7_a_second_and_empty_stream_is_refused(desk: Desk) -> None:
    path = desk.write()
    with desk.line() as line:
        line.begin("PUT", path, {"Transfer-Encoding": "chunked"})
        line.send(b"100000\r\n" + b"x" * 1000)
        desk.wait_until_uploads_run()
    for _ in range(2):
        assert desk.ask("PUT", path, chunks=[]).status == 422
    assert desk.versions() == 0


@pytest.mark.parametrize("passed", [500, 200_000, 3_000_000])
def test_trap_7_a_retried_stream_never_ends_well_with_wrong_bytes(desk: Desk, passed: int) -> None:
    path = desk.write()
    with CuttingProxy(desk.port) as proxy:
        proxy.cut_after(passed)
        reading, feeding = os.pipe()
        running = begin([*PATIENT, "--retry", "2", "-T", "-", desk.url(path, port=proxy.port)], stdin=reading)
        os.close(reading)
        feeder = threading.Thread(target=feed, args=(feeding,))
        feeder.start()
        wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
        proxy.restore()
        ended = end(running)
        feeder.join()
    assert desk.versions() == 0 or desk.content() == DATA
    assert ended.exit != 0 or desk.content() == DATA


def feed(descriptor: int) -> None:
    """Write all to a program that may end before it has read it."""
    with suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as pipe:
        left = memoryview(DATA)
        while left:
            left = left[pipe.write(left) :]


def test_trap_7_a_stream_whose_digest_is_known_may_be_sent_anew(desk: Desk) -> None:
    path = desk.write()
    desk.ask("PUT", path, chunks=[])
    writing.note_stream_cut(Alias.objects.get(), KEY)
    refused = desk.ask("PUT", path, chunks=[DATA])
    assert (refused.status, refused.code) == (409, "stream_interrupted")
    assert desk.ask("PUT", path, {"Waybill-Sha256": sha256(DATA)}, chunks=[DATA]).status == 201


def test_trap_8_no_answer_is_202_or_204_or_a_redirect(desk: Desk) -> None:
    path = desk.stored(DATA)
    statuses = {
        desk.ask(method, url, headers, body=b"" if method in ("PUT", "POST") else None).status
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH")
        for url in (path, path.rsplit("/", 1)[0], desk.write("d/new"), desk.read("d/none"), "/a/unknown")
        for headers in ({}, {"Prefer": "respond-async"}, {"Prefer": "redirect"})
    }
    assert statuses == {200, 201, 404, 405, 411, 503}


def test_trap_9_what_may_pass_by_itself_has_a_status_that_curl_retries() -> None:
    kept = {"BodyIncomplete": 400}  # the contract's word; --retry-all-errors repeats it
    for kind, status in problems._STATUS.items():
        transient = getattr(kind, "transient", True)
        if transient and kind.__name__ not in kept:
            assert status in problems.CURL_RETRIES, kind
        assert status not in (423, 425, 501), kind


def test_trap_9_a_busy_or_unready_answer_says_when_to_come_back(desk: Desk) -> None:
    answer = desk.ask("GET", desk.read("d/none"))
    assert answer.status == 503
    assert 1 <= int(answer["Retry-After"]) <= 300


def test_trap_10_going_on_with_a_complete_file_tells_an_old_curl_no_size(desk: Desk, tmp_path: Path) -> None:
    path, target = desk.stored(DATA), tmp_path / "x.bin"
    target.write_bytes(DATA)
    ended = curl("-fsS", "-C", "-", "-o", target, desk.url(path))
    assert (ended.exit, ended.status) == (0, 416)
    assert target.read_bytes() == DATA


def test_trap_10_a_file_that_is_longer_than_the_object_is_not_taken_for_complete(desk: Desk, tmp_path: Path) -> None:
    path, target = desk.stored(DATA), tmp_path / "x.bin"
    target.write_bytes(DATA + b"of another file")
    answer = desk.ask("GET", path, {"Range": f"bytes={len(DATA) + 1}-", "User-Agent": "curl/7.61.0"})
    assert (answer.status, answer["Content-Range"]) == (416, f"bytes */{len(DATA)}")
    if curl("--version").output.startswith(b"curl 7."):  # From 8.5 on it takes every 416 for the end.
        ended = curl("-fsS", "-C", "-", "-o", target, desk.url(path))
        assert (ended.exit, ended.status) == (22, 416)


def test_trap_11_head_answers_by_itself(desk: Desk) -> None:
    path = desk.stored(DATA)
    answer = desk.ask("HEAD", path, {"Prefer": "redirect", "Accept-Encoding": "gzip"})
    assert (answer.status, answer["Content-Length"], answer["Accept-Ranges"]) == (200, str(len(DATA)), "bytes")
    assert not {"location", "content-encoding", "transfer-encoding"} & set(answer.headers)


def test_trap_12_nothing_is_available_whose_bytes_were_not_all_hashed_in_one_go(desk: Desk) -> None:
    path = desk.write()
    half = len(DATA) // 2
    for start, stop in ((0, half), (half, len(DATA))):
        part = {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}
        assert desk.ask("PUT", path, part, body=DATA[start:stop]).status == 409
    assert not Object.objects.filter(key=KEY).exists()
