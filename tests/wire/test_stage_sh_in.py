"""``stage.sh in``: a file appears whole and verified or not at all, whatever the line, the gateway and the disk do."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from staging import aliases
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.ports import is_listening
from tests.servers.process import wait_until
from tests.servers.proxy import CuttingProxy
from tests.wire.desk import KEY, REPLACE, Desk, sha256
from tests.wire.stage import DIGEST, GAVE_UP, LOCAL, REFUSED, Stage
from tests.wire.stand_in import Asked, Said, StandIn, Versions

DATA = os.urandom(1_000_000) * 6
OTHER = os.urandom(1_000_000) * 6
#: Of this no curl has all at once, however slowly it is told to go: it takes up to 100 buffers before it looks.
LARGE = DATA * 10
#: What a header, an answer's frame or bytes on their way when a line is cut may come to.
SLACK = 1_000_000


@pytest.fixture
def own_gateway(django_db_setup: None, place: Place, tmp_path: Path) -> Iterator[Desk]:
    """A gateway that the test may end, and start again on its port."""
    with Gateway(tmp_path, **installation()) as gateway:
        yield Desk(gateway, place)


def assert_only(stage: Stage, *files: str) -> None:
    """Nothing lies in the folder but these files, and no notes are left."""
    assert stage.files() == sorted(files)
    assert stage.left_notes() == []


def cut_and_restore(proxy: CuttingProxy, count: int) -> None:
    proxy.cut_after(count)
    wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
    proxy.restore()


NAMES = ["with two  spaces", "-o", "--", "--help", "größe ☃", "a:b", "$(touch x)'\"", "*", "[1-3]{a,b}", "b\\s"]


def test_a_file_of_any_name_arrives_whole(desk: Desk, stage: Stage) -> None:
    url = desk.url(desk.stored(DATA[:300_000]))
    for name in NAMES:
        ended = stage.run("in", url, name)
        assert (ended.exit, ended.output) == (0, b""), ended
        assert (stage.folder / name).read_bytes() == DATA[:300_000]
    assert_only(stage, *NAMES)


def test_an_empty_file_arrives(desk: Desk, stage: Stage) -> None:
    assert stage.run("in", desk.url(desk.stored(b"")), "empty").exit == 0
    assert (stage.folder / "empty").read_bytes() == b""
    assert_only(stage, "empty")


def test_a_download_that_is_cut_again_and_again_goes_on_where_it_stopped(desk: Desk, stage: Stage) -> None:
    with CuttingProxy(desk.port) as proxy:
        url = desk.url(desk.stored(DATA), port=proxy.port)
        proxy.cut_after(1)
        running = stage.begin("in", url, "x")
        wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
        proxy.restore()
        for count in (600, 2_000_000, 900, 2_000_000):
            cut_and_restore(proxy, count)
        ended = stage.end(running)
        assert ended.exit == 0, ended
        assert proxy.passed < len(DATA) + SLACK
    assert "continuing after" in ended.words
    assert (stage.folder / "x").read_bytes() == DATA
    assert_only(stage, "x")


def test_a_killed_download_is_continued_by_the_next_run(desk: Desk, stage: Stage) -> None:
    with CuttingProxy(desk.port) as proxy:
        url = desk.url(desk.stored(LARGE), port=proxy.port)
        running = stage.begin("in", url, "x", STAGE_CURL_OPTIONS="--limit-rate 30M")
        part = stage.folder / "x.part"
        wait_until(lambda: part.exists() and part.stat().st_size > 1_000_000, what="something has come")
        running.kill()
        running.communicate()
        # Its curl lives on and holds the part; the next run waits for it and has little left to do.
        assert stage.run("in", url, "x").exit == 0
        assert proxy.passed < len(LARGE) + 10 * SLACK
    assert (stage.folder / "x").read_bytes() == LARGE
    assert stage.files() == ["x"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_its_curl_at_once_and_the_part_is_continued(
    desk: Desk, stage: Stage, how: signal.Signals
) -> None:
    url = desk.url(desk.stored(LARGE))
    running = stage.begin("in", url, "x", STAGE_CURL_OPTIONS="--limit-rate 5M")
    part = stage.folder / "x.part"
    wait_until(lambda: part.exists() and part.stat().st_size > 500_000, what="something has come")
    running.send_signal(how)
    assert stage.end(running, timeout_s=3).exit == 128 + how
    assert_only(stage, "x.part", "x.part.about")
    told = f"continuing after {part.stat().st_size} of {len(LARGE)} bytes"
    ended = stage.run("in", url, "x")
    assert (ended.exit, told in ended.words) == (0, True), ended
    assert (stage.folder / "x").read_bytes() == LARGE
    assert_only(stage, "x")


def test_two_runs_for_one_file_do_not_disturb_each_other(desk: Desk, stage: Stage) -> None:
    with CuttingProxy(desk.port) as proxy:
        url = desk.url(desk.stored(DATA), port=proxy.port)
        runs = [stage.begin("in", url, "x", STAGE_CURL_OPTIONS="--limit-rate 4M") for _ in range(3)]
        for running in runs:
            ended = stage.end(running)
            assert ended.exit == 0, ended
        assert proxy.passed < len(DATA) + SLACK
    assert (stage.folder / "x").read_bytes() == DATA
    assert_only(stage, "x")


def test_a_version_that_was_replaced_between_two_runs_is_never_mixed(desk: Desk, stage: Stage) -> None:
    path = desk.stored(DATA)
    with CuttingProxy(desk.port) as proxy:
        proxy.cut_after(3_000_000)
        assert stage.run("in", desk.url(path, port=proxy.port), "x", STAGE_PATIENCE_S="1").exit == GAVE_UP
    assert (stage.folder / "x.part").stat().st_size > 1_000_000
    assert_only(stage, "x.part", "x.part.about")
    assert desk.ask("PUT", desk.write(on_exists=REPLACE), body=OTHER).status == 201
    assert stage.run("in", desk.url(path), "x").exit == 0
    assert (stage.folder / "x").read_bytes() == OTHER
    assert_only(stage, "x")


def test_a_version_that_was_replaced_between_two_attempts_is_never_mixed(stage: Stage) -> None:
    versions = Versions(DATA)
    versions.cut_after = 3_000_000
    with StandIn(versions) as server:
        running = stage.begin("in", server.url(), "x")
        wait_until(lambda: server.count("GET") == 1, what="the first version is on its way")
        versions.serve(OTHER)
        assert stage.end(running).exit == 0
    assert (stage.folder / "x").read_bytes() == OTHER


def test_a_version_that_is_replaced_between_head_and_get_is_412_and_begins_anew(stage: Stage) -> None:
    versions = Versions(DATA)
    with StandIn(lambda asked: (versions(asked), asked.method == "HEAD" and versions.serve(OTHER))[0]) as server:
        assert stage.run("in", server.url(), "x").exit == 0
        assert server.count("GET") == 2
    assert (stage.folder / "x").read_bytes() == OTHER


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_version_a_broken_download_begins_anew(stage: Stage, etag: str) -> None:
    versions = Versions(DATA, ETag=etag, Waybill_Sha256="")
    versions.cut_after = 3_000_000
    with StandIn(versions) as server:
        ended = stage.run("in", server.url(), "x")
        assert ended.exit == 0, ended
        assert [asked.headers.get("Range") for asked in server.asked] == [None] * 4
    assert "does not know the SHA-256" in ended.words
    assert (stage.folder / "x").read_bytes() == DATA


def test_a_wrong_digest_never_leaves_the_file(stage: Stage) -> None:
    (stage.folder / "x").write_bytes(b"what was there before")
    with StandIn(Versions(DATA, Waybill_Sha256=sha256(OTHER))) as server:
        ended = stage.run("in", server.url(), "x")
        assert server.count("GET") == 2, "a second try, because the fault may have been on the way"
    assert ended.exit == DIGEST
    assert (stage.folder / "x").read_bytes() == b"what was there before"
    assert_only(stage, "x")


def test_damage_on_the_way_is_repaired_by_a_second_download(stage: Stage) -> None:
    versions = Versions(DATA)

    def damaged_once(asked: Asked) -> Said:
        versions.data = OTHER if server.count("GET") == 1 else DATA
        return versions(asked)

    with StandIn(damaged_once) as server:
        assert stage.run("in", server.url(), "x").exit == 0
    assert (stage.folder / "x").read_bytes() == DATA


def test_a_part_that_somebody_damaged_is_not_believed(desk: Desk, stage: Stage) -> None:
    path = desk.stored(DATA)
    (stage.folder / "x.part").write_bytes(OTHER[:2_000_000])
    (stage.folder / "x.part.about").write_text(f'"{sha256(DATA)}" {len(DATA)} {sha256(DATA)}\n')
    assert stage.run("in", desk.url(path), "x").exit == 0
    assert (stage.folder / "x").read_bytes() == DATA
    assert_only(stage, "x")


def test_what_is_here_already_is_not_downloaded_again(desk: Desk, stage: Stage) -> None:
    (stage.folder / "x").write_bytes(DATA)
    with CuttingProxy(desk.port) as proxy:
        ended = stage.run("in", desk.url(desk.stored(DATA), port=proxy.port), "x")
        assert (ended.exit, proxy.passed < SLACK) == (0, True), ended
    (stage.folder / "x").write_bytes(OTHER)
    assert stage.run("in", desk.url(desk.read()), "x").exit == 0
    assert (stage.folder / "x").read_bytes() == DATA


def test_data_that_is_not_there_yet_is_waited_for(desk: Desk, stage: Stage) -> None:
    write, read = desk.write("d/later"), desk.read("d/later")
    with CuttingProxy(desk.port) as proxy:
        running = stage.begin("in", desk.url(read, port=proxy.port), "x")
        wait_until(lambda: proxy.passed > 0, what="it has asked")
        assert desk.ask("PUT", write, body=DATA).status == 201
        ended = stage.end(running)
    assert ended.exit == 0, ended
    assert (stage.folder / "x").read_bytes() == DATA


def test_the_wait_for_data_has_an_end(stage: Stage) -> None:
    pending = {"Waybill-Error-Code": "data_pending", "Waybill-Retryable": "true", "Retry-After": "1"}
    with StandIn(lambda _: Said(503, pending)) as server:
        ended = stage.run("in", server.url(), "x", STAGE_WAIT_S="2", STAGE_PATIENCE_S="900")
        assert server.count("HEAD") >= 2
    assert ended.exit == GAVE_UP
    assert "data_pending" in ended.words
    assert_only(stage)


def test_the_wait_for_data_takes_nothing_from_the_patience_with_faults(stage: Stage) -> None:
    pending = {"Waybill-Error-Code": "data_pending", "Waybill-Retryable": "true", "Retry-After": "1"}
    answers = [Said(503, pending), Said(503, pending), Said(503, pending), None]
    versions = Versions(DATA)
    with StandIn(lambda asked: answers.pop(0) if answers else versions(asked)) as server:
        ended = stage.run("in", server.url(), "x", STAGE_PATIENCE_S="2")
    assert ended.exit == 0, ended


REFUSALS: list[tuple[str, Callable[[Desk], str], str]] = [
    ("unknown", lambda desk: "/a/" + "A" * 32 + "/x", "404 alias_unknown"),
    ("wrong direction", lambda desk: desk.write(), "405 wrong_direction"),
    ("deleted", lambda desk: desk.read("d/none", mounted=True), "404 source_missing"),
]


@pytest.mark.parametrize(("make", "words"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_a_refusal_for_good_ends_at_once_and_says_why(
    desk: Desk, stage: Stage, make: Callable[[Desk], str], words: str
) -> None:
    path = make(desk)
    ended = stage.run("in", desk.url(path), "x", timeout_s=10)
    assert (ended.exit, words in ended.words) == (REFUSED, True), ended
    assert path.split("/")[2] not in ended.words, "a token is a password"
    assert_only(stage)


def test_a_revoked_alias_is_refused_with_the_gateways_hint(desk: Desk, stage: Stage) -> None:
    desk.stored(DATA)
    alias = desk.place.alias(KEY)
    path = desk.gateway.alias_path(aliases.token_of(alias), "x.bin")
    aliases.revoke(alias)
    ended = stage.run("in", desk.url(path), "x")
    assert ended.exit == REFUSED
    assert "410 alias_revoked. " in ended.words
    assert "request " in ended.words
    assert_only(stage)


@pytest.mark.parametrize("status", [302, 404, 403, 204])
def test_an_answer_that_is_not_waybills_is_tried_again_and_never_becomes_the_file(stage: Stage, status: int) -> None:
    answers = [Said(status, {"Location": "/elsewhere"}, b"" if status == 204 else b"<html>sign in</html>")] * 3
    versions = Versions(DATA)
    with StandIn(lambda asked: answers.pop() if answers else versions(asked)) as server:
        ended = stage.run("in", server.url(), "x")
    assert ended.exit == 0, ended
    assert (stage.folder / "x").read_bytes() == DATA


@pytest.mark.parametrize("status", [302, 404, 200])
def test_a_portal_that_answers_for_waybill_is_refused_in_the_end(stage: Stage, status: int) -> None:
    portal = Said(status, {"Location": "/elsewhere"}, b"<html>sign in</html>")
    with StandIn(lambda asked: Versions(DATA)(asked) if asked.method == "HEAD" else portal) as server:
        ended = stage.run("in", server.url(), "x")
        assert 5 <= server.count("GET") <= 6
    assert ended.exit == REFUSED
    assert "x" not in stage.files()


def test_a_gateway_that_is_killed_and_started_again_is_waited_for(own_gateway: Desk, stage: Stage) -> None:
    desk = own_gateway
    url = desk.url(desk.stored(LARGE))
    running = stage.begin("in", url, "x", STAGE_CURL_OPTIONS="--limit-rate 20M")
    part = stage.folder / "x.part"
    wait_until(lambda: part.exists() and part.stat().st_size > 1_000_000, what="something has come")
    desk.gateway.kill()
    restart = threading.Thread(target=desk.gateway.start)
    restart.start()
    try:
        ended = stage.end(running)
    finally:
        restart.join()
    assert ended.exit == 0, ended
    assert (stage.folder / "x").read_bytes() == LARGE
    assert_only(stage, "x")


def test_a_gateway_that_stays_away_is_given_up(desk: Desk, stage: Stage) -> None:
    with CuttingProxy(desk.port) as proxy:
        url = desk.url(desk.stored(DATA), port=proxy.port)
    ended = stage.run("in", url, "x", STAGE_PATIENCE_S="2")
    assert ended.exit == GAVE_UP
    assert "gave up: curl: (7)" in ended.words
    assert_only(stage)


def test_a_line_that_moves_nothing_is_broken_off_and_continued(desk: Desk, stage: Stage) -> None:
    with CuttingProxy(desk.port) as proxy:
        url = desk.url(desk.stored(LARGE), port=proxy.port)
        running = stage.begin("in", url, "x", STAGE_CURL_OPTIONS="--limit-rate 20M", STAGE_STALL_S="2")
        part = stage.folder / "x.part"
        wait_until(lambda: part.exists() and part.stat().st_size > 1_000_000, what="something has come")
        proxy.stall()
        wait_until(lambda: not is_curl_at_it(stage), what="curl has given up the line")
        proxy.restore()
        ended = stage.end(running)
    assert ended.exit == 0, ended
    assert "curl ended with 28" in ended.words
    assert (stage.folder / "x").read_bytes() == LARGE


def is_curl_at_it(stage: Stage) -> bool:
    """Whether a curl is at work: at its end it says something into the script's notes."""
    return all(not (stage.notes / name / "status").stat().st_size for name in os.listdir(stage.notes))


def test_a_folder_that_is_not_there_or_a_file_that_is_one_is_local_trouble(desk: Desk, stage: Stage) -> None:
    url = desk.url(desk.stored(DATA))
    (stage.folder / "folder").mkdir()
    assert stage.run("in", url, "nowhere/x").exit == LOCAL
    assert stage.run("in", url, "folder").exit == LOCAL
    assert stage.run("in", url, "/dev/null").exit == LOCAL
    assert_only(stage)


def test_a_full_disk_is_local_trouble_and_what_has_come_is_continued(desk: Desk, stage: Stage) -> None:
    url = desk.url(desk.stored(DATA))
    # A file that may not grow any more fails as on a full disk; dash counts in blocks of 512 bytes, busybox in 1024.
    full = ["sh", "-c", 'ulimit -f 4000; trap "" XFSZ; exec "$@"', "full"]
    ended = Stage([*full, *stage.shell], stage.folder, stage.notes).run("in", url, "x")
    assert ended.exit == LOCAL, ended
    assert_only(stage, "x.part", "x.part.about")
    assert stage.run("in", url, "x").exit == 0
    assert (stage.folder / "x").read_bytes() == DATA


def test_standard_output_gets_verified_bytes_or_none(desk: Desk, stage: Stage) -> None:
    ended = stage.run("in", desk.url(desk.stored(DATA)), "-")
    assert (ended.exit, ended.output == DATA) == (0, True), ended.words
    with StandIn(Versions(DATA, Waybill_Sha256=sha256(OTHER))) as server:
        ended = stage.run("in", server.url(), "-")
    assert (ended.exit, ended.output) == (DIGEST, b"")
    assert_only(stage)


def test_a_digest_that_is_not_known_can_be_demanded(desk: Desk, stage: Stage) -> None:
    file = desk.place.root / KEY
    file.parent.mkdir()
    file.write_bytes(DATA)
    url = desk.url(desk.read(mounted=True))
    assert stage.run("in", url, "x").exit == 0
    assert (stage.folder / "x").read_bytes() == DATA
    assert stage.run("in", url, "y", STAGE_REQUIRE_DIGEST="1").exit == DIGEST
    assert "y" not in stage.files()
