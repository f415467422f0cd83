"""A storage that goes away at each step, as a real SFTP server does: the contract's answer, and nothing left."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from staging.models import Object
from tests.servers.sshd import Sshd
from tests.wire.curl import PATIENT, begin, curl, end
from tests.wire.desk import Desk
from tests.wire.line import LineCut

DATA = bytes(range(256)) * 60_000  # 15 MB


@pytest.fixture
def server(sshd: Sshd) -> Iterator[Sshd]:
    """The SFTP server, which is there again after the test."""
    yield sshd
    if not sshd.processes:
        sshd.start()


def settle(desk: Desk, server: Sshd) -> None:
    """Bring the server back, and let the janitor do its work."""
    server.start()
    desk.place.sweep()
    desk.assert_nothing_is_left()
    assert not Object.objects.filter(key="d/new").exists()


def test_down_before_the_first_byte(sftp_desk: Desk, server: Sshd) -> None:
    desk = sftp_desk
    path = desk.stored(DATA)
    server.kill()
    written = desk.ask("PUT", desk.write("d/new"), body=DATA)
    streamed = desk.ask("PUT", desk.write("d/new"), chunks=[DATA])
    read = desk.ask("GET", path)
    # A connection that was used a moment ago is trusted, and breaks.
    assert written.code in ("storage_offline", "storage_unavailable")
    assert (written.status, written["Waybill-Retryable"]) == (502, "true")
    assert (streamed.status, streamed["Waybill-Retryable"]) == (422, "false")
    assert (read.status, read.code) == (502, "storage_offline")
    assert desk.ask("HEAD", path).status == 200
    settle(desk, server)
    assert desk.ask("GET", path).body == DATA


def test_down_in_the_middle_of_an_upload(sftp_desk: Desk, server: Sshd) -> None:
    desk = sftp_desk
    with desk.line() as line:
        line.begin("PUT", desk.write("d/new"), {"Content-Length": str(len(DATA))})
        line.send(DATA[: len(DATA) // 2])
        desk.wait_until_uploads_run()
        server.kill()
        line.send(DATA[len(DATA) // 2 :])
        answer = line.answer()
    assert answer.status in (502, 504)
    assert answer["Waybill-Retryable"] == "true"
    settle(desk, server)


def test_down_before_publish(sftp_desk: Desk, server: Sshd) -> None:
    desk = sftp_desk
    with desk.line() as line:
        line.begin("PUT", desk.write("d/new"), {"Content-Length": str(len(DATA))})
        line.send(DATA[:-1])
        desk.wait_until_uploads_run()
        server.kill()
        line.send(DATA[-1:])
        assert line.answer().status in (502, 504)
    settle(desk, server)


def test_down_in_the_middle_of_a_download_breaks_the_connection(sftp_desk: Desk, server: Sshd) -> None:
    desk = sftp_desk
    path = desk.stored(DATA)
    with desk.line(receive_buffer=4096) as line:
        line.begin("GET", path)
        line.wait_for_some()
        server.kill()
        with pytest.raises(LineCut):
            line.answer()
    settle(desk, server)


def test_the_documented_lines_come_through_an_outage(sftp_desk: Desk, server: Sshd, tmp_path: Path) -> None:
    desk, file = sftp_desk, tmp_path / "x"
    file.write_bytes(DATA)
    server.kill()
    upload = begin([*PATIENT, "-T", file, desk.url(desk.write())])
    assert curl("-fsS", "-T", file, desk.url(desk.write("d/new"))).status == 502
    server.start()
    sent = end(upload)
    assert (sent.exit, sent.status) == (0, 201), sent
    got = curl(*PATIENT, "-o", tmp_path / "y", desk.url(desk.read()))
    assert (got.exit, (tmp_path / "y").read_bytes()) == (0, DATA)
    desk.assert_nothing_is_left()
