"""Resumed uploads: what came before the break is safe, goes on where it ended, and is never mixed or left behind."""

import threading
import time
from pathlib import Path

import pytest

from staging import reservations, resuming
from staging.models import Storage, Upload
from tests.servers.faulty import Faults
from tests.servers.process import wait_until
from tests.wire.curl import curl
from tests.wire.desk import KEY, REPLACE, Desk, sha256
from tests.wire.line import Answer

DATA = bytes(range(251)) * 20_000  # 5 MB
CUT = 3_000_000
PATCH = {"Content-Type": "application/partial-upload"}


@pytest.fixture(params=["local", "sftp"])
def anywhere(request: pytest.FixtureRequest, desk: Desk, sftp_desk: Desk) -> Desk:
    """The desk at local and at SFTP storage."""
    return {"local": desk, "sftp": sftp_desk}[str(request.param)]


def broken(desk: Desk, path: str, data: bytes = DATA, cut: int = CUT, headers: dict[str, str] | None = None) -> int:
    """Send the first ``cut`` bytes, hang up, and return how many of them are safe."""
    with desk.line() as line:
        line.begin("PUT", path, {"Content-Length": str(len(data)), **(headers or {})})
        line.send(data[:cut])
        line.socket.shutdown(1)
        assert line.answer().status == 400
    head = desk.ask("HEAD", path)
    assert (head.status, head["Upload-Complete"], head["Upload-Length"]) == (200, "?0", str(len(data)))
    return int(head["Upload-Offset"])


def rest(desk: Desk, path: str, start: int, data: bytes = DATA, headers: dict[str, str] | None = None) -> Answer:
    span = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
    return desk.ask("PUT", path, {**span, **(headers or {})}, body=data[start:])


def test_curl_goes_on_where_an_upload_broke_off(anywhere: Desk, tmp_path: Path) -> None:
    path = anywhere.write()
    offset = broken(anywhere, path)
    assert offset == CUT
    assert anywhere.versions() == 0
    (tmp_path / "x.bin").write_bytes(DATA)
    ended = curl("-fsS", "-C", str(offset), "-T", tmp_path / "x.bin", anywhere.url(path))
    assert (ended.exit, ended.status) == (0, 201), ended
    assert anywhere.content() == DATA
    head = anywhere.ask("HEAD", path)
    assert (head["Upload-Offset"], head["Upload-Complete"]) == (str(len(DATA)), "?1")
    assert head["Waybill-Sha256"] == sha256(DATA)
    assert anywhere.events("object.created") == 1
    anywhere.assert_nothing_is_left()


def test_an_upload_may_break_time_and_again(anywhere: Desk) -> None:
    path = anywhere.write()
    offset = broken(anywhere, path, cut=1)
    for stop in (2, 70_000, 1_048_576, 3_000_001, len(DATA) - 1):
        with anywhere.line() as line:
            span = f"bytes {offset}-{len(DATA) - 1}/{len(DATA)}"
            line.begin("PUT", path, {"Content-Length": str(len(DATA) - offset), "Content-Range": span})
            line.send(DATA[offset:stop])
            line.socket.shutdown(1)
            assert line.answer().status == 400
        offset = int(anywhere.ask("HEAD", path)["Upload-Offset"])
        assert offset == stop
    assert rest(anywhere, path, offset).status == 201
    assert anywhere.content() == DATA
    anywhere.assert_nothing_is_left()


def test_a_wrong_offset_is_409_with_the_right_one_and_changes_nothing(desk: Desk) -> None:
    path = desk.write()
    offset = broken(desk, path)
    for wrong in (offset - 1, offset + 1, 1, len(DATA) - 1):
        answer = rest(desk, path, wrong)
        assert (answer.status, answer.code, answer["Upload-Offset"]) == (409, "wrong_offset", str(offset)), wrong
    assert rest(desk, path, offset).status == 201
    assert desk.content() == DATA
    desk.assert_nothing_is_left()


def test_a_file_of_another_length_is_another_file(desk: Desk) -> None:
    path = desk.write()
    offset = broken(desk, path)
    answer = rest(desk, path, offset, DATA + b"!")
    assert (answer.status, answer["Upload-Offset"]) == (409, "0")
    assert desk.ask("HEAD", path)["Upload-Offset"] == "0", "a loop that asks again begins anew"
    assert desk.ask("PUT", path, body=DATA + b"!").status == 201
    assert desk.content() == DATA + b"!"
    desk.place.sweep()
    desk.assert_nothing_is_left()


def test_a_whole_upload_gives_up_what_waited(desk: Desk) -> None:
    path = desk.write()
    broken(desk, path)
    assert desk.ask("PUT", path, body=DATA).status == 201
    assert desk.content() == DATA
    assert desk.place.sweep().removed == 1
    desk.assert_nothing_is_left()


@pytest.mark.parametrize("when", ["at first", "with the rest"])
def test_parts_of_different_files_are_never_stored_where_a_digest_is_known(desk: Desk, when: str) -> None:
    path, told = desk.write(), {"Waybill-Sha256": sha256(DATA)}
    other = bytes(len(DATA))
    offset = broken(desk, path, other, headers=told if when == "at first" else {})
    answer = rest(desk, path, offset, DATA, headers=told if when == "with the rest" else {})
    assert (answer.status, answer.code, answer["Waybill-Retryable"]) == (503, "parts_differ", "true")
    assert desk.versions() == 0
    assert desk.ask("HEAD", path)["Upload-Offset"] == "0"
    desk.assert_nothing_is_left()
    assert desk.ask("PUT", path, told, body=DATA).status == 201


def test_a_digest_fixed_at_the_aliass_creation_holds_for_resumed_uploads(desk: Desk) -> None:
    path = desk.write(sha256=sha256(DATA), size=len(DATA))
    offset = broken(desk, path, bytes(len(DATA)))
    assert rest(desk, path, offset).code == "parts_differ"
    assert rest(desk, path, broken(desk, path)).status == 201
    assert desk.content() == DATA
    desk.assert_nothing_is_left()


def test_a_new_writer_takes_over_from_a_stalled_one(desk: Desk) -> None:
    path = desk.write()
    with desk.line() as stalled:
        stalled.begin("PUT", path, {"Content-Length": str(len(DATA))})
        stalled.send(DATA[:CUT])
        wait_until(lambda: desk.ask("HEAD", path)["Upload-Offset"] != "0", what="some bytes are there")
        noted = int(desk.ask("HEAD", path)["Upload-Offset"])  # On a busy machine all may have been noted already.
        moved_on = rest(desk, path, min(noted, CUT - 1))
        assert (moved_on.code, moved_on["Upload-Offset"]) == ("wrong_offset", str(CUT)), "those under way were kept"
        assert rest(desk, path, CUT).status == 201
        assert stalled.answer().status in (400, 503)
    assert desk.content() == DATA
    assert desk.versions() == 1
    desk.assert_nothing_is_left()


def test_a_stalled_writer_hands_over_at_once(desk: Desk) -> None:
    path = desk.write()
    with desk.line() as stalled:
        stalled.begin("PUT", path, {"Content-Length": str(len(DATA))})
        stalled.send(DATA[:CUT])
        wait_until(lambda: desk.ask("HEAD", path)["Upload-Offset"] != "0", what="some bytes are there")
        began = time.monotonic()
        assert rest(desk, path, 1).code == "wrong_offset"
        assert time.monotonic() - began < resuming.HANDOVER_S
    # On a busy machine the gateway has not taken all yet that was sent; what it has taken is kept.
    kept = int(desk.ask("HEAD", path)["Upload-Offset"])
    assert 1 < kept <= CUT
    assert rest(desk, path, kept).status == 201
    assert desk.content() == DATA
    desk.assert_nothing_is_left()


def test_a_writer_that_was_fenced_off_removes_nothing_of_its_successor(desk: Desk) -> None:
    path = desk.write()
    with desk.line() as stalled:
        stalled.begin("PUT", path, {"Content-Length": str(len(DATA)), "Upload-Complete": "?1"})
        desk.wait_until_uploads_run()
        wait_until(lambda: desk.place.files() != [], what="its file is there")
        assert patch(desk, path, 0, len(DATA), "?1").status == 201
    assert desk.content() == DATA
    desk.assert_nothing_is_left()


def test_what_a_fenced_off_writer_published_and_nobody_can_use_is_removed(faulty_desk: Desk, faults: Faults) -> None:
    desk = faulty_desk
    path = desk.write()
    begun = desk.ask("POST", path, {"Upload-Complete": "?0"}, body=DATA[:10])
    assert begun.status == 201
    faults.hold("published")
    with desk.line() as held:
        held.begin("PATCH", path, {**PATCH, "Upload-Offset": "10", "Upload-Complete": "?1", "Content-Length": "10"})
        held.send(DATA[10:20])
        faults.wait_until_held("published")
        answer = patch(desk, path, 20, 20, "?1")
        assert (answer.code, answer["Upload-Offset"]) == ("wrong_offset", "0"), "nobody said how long it was to be"
        faults.heal()
        assert held.answer().code == "lease_lost"
    desk.assert_nothing_is_left()


def test_what_was_published_after_the_janitor_had_given_it_up_is_removed(faulty_desk: Desk, faults: Faults) -> None:
    faults.hold("published")
    with faulty_desk.line() as held:
        held.begin("PUT", faulty_desk.write(), {"Content-Length": "10"})
        held.send(DATA[:10])
        faults.wait_until_held("published")
        upload = Upload.objects.get()
        assert reservations.claim(upload)
        reservations.drop(upload)  # as if the janitor had come before the bytes
        faults.heal()
        assert held.answer().code == "lease_lost"
    faulty_desk.assert_nothing_is_left()


def test_what_the_janitor_adopted_stays_when_its_writer_wakes_up(faulty_desk: Desk, faults: Faults) -> None:
    faults.hold("published")
    with faulty_desk.line() as held:
        held.begin("PUT", faulty_desk.write(), {"Content-Length": "10"})
        held.send(DATA[:10])
        faults.wait_until_held("published")
        assert faulty_desk.place.sweep().adopted == 1
        faults.heal()
        answer = held.answer()
    assert (answer.status, answer["Waybill-Replayed"]) == (200, "true")
    assert faulty_desk.content() == DATA[:10]
    faulty_desk.assert_nothing_is_left()


def test_of_two_who_go_on_at_once_one_is_told_to_ask_again(desk: Desk) -> None:
    path = desk.write()
    offset = broken(desk, path)
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(rest(desk, path, offset))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {200, 201, 400, 409, 503}
    if desk.versions() == 0:
        offset = int(desk.ask("HEAD", path)["Upload-Offset"])
        assert rest(desk, path, offset).status == 201
    assert desk.content() == DATA
    assert desk.versions() == 1
    desk.place.sweep()
    desk.assert_nothing_is_left()


def test_an_interrupted_replacement_leaves_the_old_version(desk: Desk) -> None:
    desk.stored(b"old")
    path = desk.write(on_exists=REPLACE)
    assert desk.ask("HEAD", path)["Upload-Complete"] == "?0"
    offset = broken(desk, path)
    assert desk.content() == b"old"
    assert rest(desk, path, offset).status == 201
    assert desk.content() == DATA


def test_an_upload_that_waits_too_long_is_removed_and_its_space_comes_back(desk: Desk) -> None:
    broken(desk, desk.write())
    assert Storage.objects.get(pk=desk.place.storage.pk).reserved_bytes == len(DATA)
    desk.place.give_up_what_waits()
    assert Storage.objects.get(pk=desk.place.storage.pk).reserved_bytes == 0
    desk.assert_nothing_is_left()


def test_an_upload_to_a_mounted_bucket_goes_on_and_is_seen_only_when_it_is_whole(anywhere: Desk) -> None:
    path = anywhere.write(mounted=True)
    offset = broken(anywhere, path)
    assert offset == CUT
    assert not (anywhere.place.root / KEY).exists()
    assert rest(anywhere, path, offset).status == 201
    assert (anywhere.place.root / KEY).read_bytes() == DATA
    assert anywhere.ask("HEAD", path)["Upload-Complete"] == "?1"
    anywhere.assert_nothing_is_left()


def test_parts_of_different_files_are_never_seen_in_a_mounted_bucket(anywhere: Desk) -> None:
    path, told = anywhere.write(mounted=True), {"Waybill-Sha256": sha256(DATA)}
    offset = broken(anywhere, path, bytes(len(DATA)), headers=told)
    assert rest(anywhere, path, offset).code == "parts_differ"
    assert not (anywhere.place.root / KEY).exists()
    anywhere.assert_nothing_is_left()
    assert anywhere.ask("PUT", path, told, body=DATA).status == 201


def test_a_file_that_somebody_put_at_the_key_meanwhile_stays(desk: Desk) -> None:
    path = desk.write(mounted=True)
    offset = broken(desk, path)
    (desk.place.root / KEY).write_bytes(b"theirs")
    answer = rest(desk, path, offset)
    assert (answer.status, answer.code) == (409, "already_exists")
    assert (desk.place.root / KEY).read_bytes() == b"theirs"
    assert not Upload.objects.exists()
    assert desk.ask("HEAD", path)["Upload-Offset"] == "0"


def test_the_drafts_words_begin_append_and_end_an_upload(anywhere: Desk) -> None:
    path = anywhere.write()
    begun = anywhere.ask("POST", path, {"Upload-Complete": "?0"}, body=DATA[:10])
    assert (begun.status, begun["Upload-Offset"], begun["Upload-Complete"], begun["Location"]) == (
        201,
        "10",
        "?0",
        path,
    )
    for start, stop in ((10, 2_000_000), (2_000_000, 2_000_001)):
        more = patch(anywhere, path, start, stop, "?0")
        assert (more.status, more["Upload-Offset"]) == (204, str(stop))
    head = anywhere.ask("HEAD", path)
    assert (head["Upload-Offset"], head["Upload-Complete"]) == ("2000001", "?0")
    assert head["Upload-Limit"].startswith("max-size=")
    wrong = patch(anywhere, path, 5, 10, "?0")
    assert (wrong.status, wrong["Upload-Offset"]) == (409, "2000001")
    assert anywhere.versions() == 0
    assert patch(anywhere, path, 2_000_001, len(DATA), "?1").status == 201
    assert anywhere.content() == DATA
    anywhere.assert_nothing_is_left()


def test_an_upload_begun_with_no_byte_is_one(desk: Desk) -> None:
    path = desk.write()
    begun = desk.ask("PUT", path, {"Upload-Complete": "?0", "Upload-Length": str(len(DATA))}, body=b"")
    assert (begun.status, begun["Upload-Offset"]) == (201, "0")
    assert patch(desk, path, 0, len(DATA), "?1").status == 201
    assert desk.content() == DATA
    desk.assert_nothing_is_left()


def test_a_stream_whose_client_speaks_the_draft_is_resumed_too(desk: Desk) -> None:
    path = desk.write()
    with desk.line() as line:
        line.begin("PUT", path, {"Transfer-Encoding": "chunked", "Upload-Complete": "?1"})
        line.send(b"%x\r\n%s\r\n100000\r\n" % (CUT, DATA[:CUT]))
        line.socket.shutdown(1)
        assert line.answer().status == 400
    offset = int(desk.ask("HEAD", path)["Upload-Offset"])
    assert 0 < offset <= CUT
    assert patch(desk, path, offset, len(DATA), "?1").status == 201
    assert desk.content() == DATA
    desk.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Offset": "0", "Upload-Complete": "?1"}, 415),
        ({**PATCH, "Upload-Complete": "?1"}, 400),
        ({**PATCH, "Upload-Offset": "0"}, 400),
        ({**PATCH, "Upload-Offset": "-1", "Upload-Complete": "?1"}, 400),
        ({**PATCH, "Upload-Offset": "0", "Upload-Complete": "yes"}, 400),
        ({**PATCH, "Upload-Offset": "0", "Upload-Complete": "?1", "Upload-Length": "7"}, 400),
        ({**PATCH, "Upload-Offset": "9" * 30, "Upload-Complete": "?1"}, 400),
        ({**PATCH, "Upload-Offset": "9" * 18, "Upload-Complete": "?1"}, 413),
        ({**PATCH, "Upload-Offset": "3", "Upload-Complete": "?1"}, 409),
    ],
)
def test_a_malformed_part_is_refused(desk: Desk, headers: dict[str, str], status: int) -> None:
    assert desk.ask("PATCH", desk.write(), headers, body=b"12345").status == status
    assert desk.versions() == 0
    desk.assert_nothing_is_left()


def patch(desk: Desk, path: str, start: int, stop: int, complete: str) -> Answer:
    headers = {**PATCH, "Upload-Offset": str(start), "Upload-Complete": complete}
    return desk.ask("PATCH", path, headers, body=DATA[start:stop])


def test_what_came_another_way_is_not_told_as_this_aliass_own(desk: Desk) -> None:
    """A loop that asks HEAD until the upload is complete must not take another job's file for its own."""
    desk.stored(b"another's")
    for on_exists in ("fail", "replace"):
        head = desk.ask("HEAD", desk.write(on_exists=on_exists))
        assert (head["Upload-Offset"], head["Upload-Complete"]) == ("0", "?0")
    folder = desk.folder("d/", "write-prefix")
    assert desk.ask("PUT", folder + "mine", body=b"x").status == 201
    assert desk.ask("HEAD", folder + "mine")["Upload-Complete"] == "?1"
    assert desk.ask("HEAD", folder + "x.bin")["Upload-Complete"] == "?0"


def test_a_file_of_another_digest_is_another_file(desk: Desk) -> None:
    path, other = desk.write(), bytes(len(DATA))
    offset = broken(desk, path, other, headers={"Waybill-Sha256": sha256(other)})
    answer = rest(desk, path, offset, headers={"Waybill-Sha256": sha256(DATA)})
    assert (answer.status, answer["Upload-Offset"]) == (409, "0")
    assert desk.ask("HEAD", path)["Upload-Offset"] == "0"
    assert desk.ask("PUT", path, {"Waybill-Sha256": sha256(DATA)}, body=DATA).status == 201
    assert desk.content() == DATA


def test_a_digest_that_comes_with_a_later_part_is_remembered(desk: Desk) -> None:
    path = desk.write()
    offset = broken(desk, path, bytes(len(DATA)))
    with desk.line() as line:
        span = {"Content-Range": f"bytes {offset}-{len(DATA) - 1}/{len(DATA)}", "Waybill-Sha256": sha256(DATA)}
        line.begin("PUT", path, {"Content-Length": str(len(DATA) - offset), **span})
        line.send(DATA[offset : offset + 10])
        line.socket.shutdown(1)
        assert line.answer().status == 400
    assert rest(desk, path, offset + 10).code == "parts_differ"
    assert desk.versions() == 0
