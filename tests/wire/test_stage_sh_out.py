"""``stage.sh out``: done is what the gateway has acknowledged with our digest, and nothing else."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.ports import is_listening
from tests.servers.process import wait_until
from tests.servers.proxy import CuttingProxy
from tests.wire.desk import REPLACE, Desk, sha256
from tests.wire.stage import DIGEST, GAVE_UP, LOCAL, REFUSED, Stage
from tests.wire.stand_in import Asked, Resumable, Said, StandIn

DATA = os.urandom(1_000_000) * 6
OTHER = os.urandom(1_000_000) * 6
#: From 16 MiB on it asks what is there before it sends anything.
LARGE = DATA * 4


@pytest.fixture
def own_gateway(django_db_setup: None, place: Place, tmp_path: Path) -> Iterator[Desk]:
    """A gateway that the test may end, and start again on its port."""
    with Gateway(tmp_path, **installation()) as gateway:
        yield Desk(gateway, place)


def put_down(stage: Stage, data: bytes = DATA, name: str = "out") -> str:
    (stage.folder / name).write_bytes(data)
    return name


def test_a_file_of_any_name_is_stored_whole(desk: Desk, stage: Stage) -> None:
    names = ["with two  spaces", "-T", "--", "größe ☃", "a:b", "$(touch x)'\"", "*", "[1-3]{a,b}", "b\\s"]
    for number, name in enumerate(names):
        put_down(stage, DATA[:100_000] + name.encode(), name)
        ended = stage.run("out", name, desk.url(desk.write(f"d/{number}")))
        assert (ended.exit, ended.output) == (0, b""), ended
        assert desk.content(f"d/{number}") == DATA[:100_000] + name.encode()
    assert (stage.files(), stage.left_notes()) == (sorted(names), [])


def test_an_empty_file_is_stored(desk: Desk, stage: Stage) -> None:
    assert stage.run("out", put_down(stage, b""), desk.url(desk.write())).exit == 0
    assert desk.content() == b""


def test_an_upload_that_is_cut_again_and_again_arrives_whole_and_once(desk: Desk, stage: Stage) -> None:
    put_down(stage)
    with CuttingProxy(desk.port) as proxy:
        url = desk.url(desk.write(), port=proxy.port)
        proxy.cut_after(100)
        running = stage.begin("out", "out", url)
        for count in (3_000_000, 300, 2_000_000, None):
            wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
            proxy.restore()
            if count:
                proxy.cut_after(count)
        ended = stage.end(running)
    assert ended.exit == 0, ended
    assert desk.content() == DATA
    assert (desk.versions(), desk.events("object.created")) == (1, 1)


def test_a_reply_that_is_lost_does_no_harm(desk: Desk, stage: Stage) -> None:
    put_down(stage)
    with CuttingProxy(desk.port) as proxy:
        url = desk.url(desk.write(), port=proxy.port)
        proxy.cut_after(len(DATA) + 500)  # all of the upload, and nearly nothing of its answer
        running = stage.begin("out", "out", url)
        wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
        proxy.restore()
        ended = stage.end(running)
    assert ended.exit == 0, ended
    assert desk.content() == DATA
    assert (desk.versions(), desk.events("object.created")) == (1, 1)


def test_an_upload_of_what_stands_there_is_done_and_of_other_content_refused(desk: Desk, stage: Stage) -> None:
    for data in (DATA, LARGE):
        key = f"d/{len(data)}"
        put_down(stage, data)
        for _ in range(2):
            assert stage.run("out", "out", desk.url(desk.write(key))).exit == 0
        put_down(stage, data[::-1])
        ended = stage.run("out", "out", desk.url(desk.write(key)), timeout_s=20)
        assert (ended.exit, "409 already_exists" in ended.words) == (REFUSED, True), ended
        assert desk.content(key) == data


def test_a_replacing_alias_is_not_taken_for_done_because_an_old_version_is_complete(desk: Desk, stage: Stage) -> None:
    path = desk.write(on_exists=REPLACE)
    for data in (LARGE, LARGE[::-1]):
        put_down(stage, data)
        assert stage.run("out", "out", desk.url(path)).exit == 0
        assert desk.content() == data


def test_a_refusal_for_good_ends_at_once_and_says_why(desk: Desk, stage: Stage) -> None:
    put_down(stage, LARGE)
    stored = desk.stored(DATA, "d/stored")
    for path, words in (
        ("/a/" + "A" * 32 + "/x", "404 alias_unknown"),
        (stored, "405 wrong_direction"),
        (desk.write(max_bytes=5), "413 too_large"),
        (desk.write(size=5), "422 size_mismatch. 24000000 bytes are announced, the alias is for exactly 5. "),
    ):
        ended = stage.run("out", "out", desk.url(path), timeout_s=20)
        assert (ended.exit, words in ended.words) == (REFUSED, True), ended
        assert path.split("/")[2] not in ended.words, "a token is a password"
    assert "6000000 bytes" not in ended.words
    assert stage.left_notes() == []


def test_an_alias_for_another_digest_ends_as_a_mismatch(desk: Desk, stage: Stage) -> None:
    put_down(stage)
    ended = stage.run("out", "out", desk.url(desk.write(sha256=sha256(OTHER))))
    assert ended.exit == DIGEST
    assert "not the one that the alias was made for" in ended.words
    assert desk.content() is None


def test_a_gateway_that_is_killed_and_started_again_gets_the_file(own_gateway: Desk, stage: Stage) -> None:
    desk = own_gateway
    put_down(stage, LARGE)
    running = stage.begin("out", "out", desk.url(desk.write()), STAGE_CURL_OPTIONS="--limit-rate 8M")
    desk.wait_until_uploads_run()
    desk.gateway.kill()
    restart = threading.Thread(target=desk.gateway.start)
    restart.start()
    try:
        ended = stage.end(running)
    finally:
        restart.join()
    assert ended.exit == 0, ended
    assert desk.content() == LARGE


def test_a_killed_script_is_run_again_and_the_file_is_stored_once(desk: Desk, stage: Stage) -> None:
    put_down(stage, LARGE)
    url = desk.url(desk.write())
    running = stage.begin("out", "out", url, STAGE_CURL_OPTIONS="--limit-rate 16M")
    desk.wait_until_uploads_run()
    running.kill()
    running.communicate()
    ended = stage.run("out", "out", url)
    assert ended.exit == 0, ended
    assert desk.content() == LARGE
    assert desk.versions() == 1


def test_what_cannot_be_read_is_local_trouble(desk: Desk, stage: Stage) -> None:
    os.mkfifo(stage.folder / "pipe")
    url = desk.url(desk.write())
    for name in ("missing", "pipe", "-"):
        assert stage.run("out", name, url, timeout_s=10).exit == LOCAL
    assert desk.content() is None


# --- What the contract says of resumed uploads, with a stand-in that does it ------------------------------------------


def test_a_broken_upload_goes_on_where_it_stopped(stage: Stage) -> None:
    put_down(stage)
    gateway = Resumable(2_000_001, 2_000_002, 5_999_999)
    with StandIn(gateway) as server:
        ended = stage.run("out", "out", server.url())
        parts = [asked.headers.get("Content-Range") for asked in server.asked if asked.method == "PUT"]
    assert ended.exit == 0, ended
    assert parts == [None, *(f"bytes {first}-5999999/6000000" for first in (2_000_001, 2_000_002, 5_999_999))]
    assert (gateway.published == DATA, gateway.received) == (True, len(DATA))


def test_a_killed_run_of_a_large_upload_is_continued_by_the_next(stage: Stage) -> None:
    put_down(stage, LARGE)
    gateway = Resumable()
    gateway.data = LARGE[:9_000_000]
    with StandIn(gateway) as server:
        assert stage.run("out", "out", server.url()).exit == 0
    assert (gateway.published == LARGE, gateway.received) == (True, len(LARGE) - 9_000_000)


def test_a_part_of_another_file_is_found_out_and_replaced(stage: Stage) -> None:
    put_down(stage, LARGE)
    gateway = Resumable()
    gateway.data = OTHER
    with StandIn(gateway) as server:
        ended = stage.run("out", "out", server.url())
    assert ended.exit == 0, ended
    assert gateway.published == LARGE


def test_a_lost_reply_is_got_from_head_without_sending_again(stage: Stage) -> None:
    put_down(stage)
    gateway = Resumable(lose_reply=True)
    gateway.verifying = 2
    with StandIn(gateway) as server:
        assert stage.run("out", "out", server.url()).exit == 0
        assert (server.count("PUT"), server.count("HEAD")) == (1, 3)
    assert gateway.received == len(DATA)


def test_a_lost_reply_of_which_head_tells_no_digest_is_replayed(stage: Stage) -> None:
    put_down(stage)
    with StandIn(Resumable(lose_reply=True, tells_digest=False)) as server:
        assert stage.run("out", "out", server.url()).exit == 0
        assert server.count("PUT") == 2


def test_a_gateway_that_forgot_the_part_is_asked_again(stage: Stage) -> None:
    put_down(stage)
    gateway = Resumable(3_000_000, 5_000_000)

    def forgetful(asked: Asked) -> Said | None:
        said = gateway(asked)
        if asked.method == "HEAD" and server.count("HEAD") == 1:
            gateway.data = gateway.data[:1_000_000]
        return said

    with StandIn(forgetful) as server:
        ended = stage.run("out", "out", server.url())
    assert ended.exit == 0, ended
    assert "wrong_offset" in ended.words
    assert gateway.published == DATA


def test_where_head_is_not_answered_the_put_decides(stage: Stage) -> None:
    put_down(stage, LARGE)
    gateway = Resumable(3_000_000)
    no = Said(405, {"Waybill-Error-Code": "method_not_allowed", "Waybill-Retryable": "false"})
    with StandIn(lambda asked: no if asked.method == "HEAD" else gateway(asked)) as server:
        ended = stage.run("out", "out", server.url())
    assert (ended.exit, gateway.published == LARGE) == (0, True), ended


# --- Answers that must not pass for done ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [Said(200, {}, b"<html>sign in</html>"), Said(201), Said(204), Said(302, {"Location": "/x"})],
    ids=["portal", "no digest", "no content", "redirect"],
)
def test_success_without_our_digest_is_no_success(stage: Stage, said: Said) -> None:
    put_down(stage)
    with StandIn(lambda asked: (asked.read(asked.size) and said) or said) as server:
        ended = stage.run("out", "out", server.url())
    assert ended.exit == REFUSED
    assert "not what Waybill answers" in ended.words


def test_success_with_another_digest_is_no_success(stage: Stage) -> None:
    put_down(stage)
    said = Said(201, {"Waybill-Sha256": sha256(OTHER), "Upload-Offset": "6000000", "Upload-Complete": "?1"})
    with StandIn(lambda asked: (asked.read(asked.size) and said) or said) as server:
        assert stage.run("out", "out", server.url()).exit == REFUSED


def test_a_file_that_changes_while_it_is_sent_is_told(stage: Stage) -> None:
    put_down(stage)
    gateway = Resumable()

    def changing(asked: Asked) -> Said | None:
        with (stage.folder / "out").open(
            "r+b"
        ) as file:  # In its place: curl has it open, and finds no early end of it.
            file.write(OTHER)
        return gateway(asked)

    with StandIn(changing) as server:
        # What curl reads after the change does not have the digest that was promised.
        ended = stage.run("out", "out", server.url(), STAGE_CURL_OPTIONS="--limit-rate 8M")
    assert (ended.exit, "changes while it is sent" in ended.words) == (LOCAL, True), ended
    assert gateway.published is None


def test_a_storage_that_stays_away_is_given_up_and_not_refused(stage: Stage) -> None:
    put_down(stage)
    offline = Said(502, {"Waybill-Error-Code": "storage_offline", "Waybill-Retryable": "true"})
    with StandIn(lambda asked: (asked.read(asked.size) and offline) or offline) as server:
        ended = stage.run("out", "out", server.url(), STAGE_PATIENCE_S="2")
    assert (ended.exit, "502 storage_offline" in ended.words) == (GAVE_UP, True), ended


def test_the_gateways_wish_to_wait_is_obeyed(stage: Stage) -> None:
    put_down(stage)
    busy = {"Waybill-Error-Code": "gateway_busy", "Waybill-Retryable": "true", "Retry-After": "3"}
    gateway, answers = Resumable(), [Said(503, busy)]
    with StandIn(lambda asked: (asked.read(asked.size), answers.pop())[1] if answers else gateway(asked)) as server:
        ended = stage.run("out", "out", server.url())
    assert (ended.exit, "again in 3 s" in ended.words) == (0, True), ended


def test_a_cut_upload_sends_only_what_is_missing(desk: Desk, stage: Stage) -> None:
    put_down(stage, LARGE)
    with CuttingProxy(desk.port) as proxy:
        url = desk.url(desk.write(), port=proxy.port)
        proxy.cut_after(9_000_000)
        running = stage.begin("out", "out", url)
        wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
        proxy.restore()
        ended = stage.end(running)
        assert proxy.passed < len(LARGE) + 2_000_000
    assert (ended.exit, "continuing after" in ended.words) == (0, True), ended
    assert desk.content() == LARGE
    desk.assert_nothing_is_left()
