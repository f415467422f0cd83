"""The documented one-liners on a bad network: cut lines, a gateway that restarts."""

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
from tests.wire.curl import PATIENT, begin, curl, end
from tests.wire.desk import Desk

DATA = bytes(range(256)) * 80_000  # 20 MB


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def own_gateway(django_db_setup: None, place: Place, tmp_path: Path) -> Iterator[Desk]:
    """A gateway that the test may end, and start again on its port."""
    with Gateway(tmp_path, **installation()) as gateway:
        yield Desk(gateway, place)


def test_an_upload_survives_a_line_that_is_cut(desk: Desk, file: Path) -> None:
    with CuttingProxy(desk.port) as proxy:
        proxy.cut_after(8_000_000)
        running = begin([*PATIENT, "-T", file, desk.url(desk.write(), port=proxy.port)])
        wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
        proxy.restore()
        ended = end(running)
    assert (ended.exit, ended.status) == (0, 201), ended
    assert desk.content() == DATA
    assert desk.versions() == 1


def test_a_download_survives_a_line_that_is_cut(desk: Desk, tmp_path: Path) -> None:
    path, target = desk.stored(DATA), tmp_path / "got"
    with CuttingProxy(desk.port) as proxy:
        proxy.cut_after(8_000_000)
        running = begin([*PATIENT, "-o", target, desk.url(path, port=proxy.port)])
        wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
        proxy.restore()
        ended = end(running)
    assert (ended.exit, ended.status) == (0, 200), ended
    assert target.read_bytes() == DATA


def test_a_reply_that_is_lost_is_got_by_the_retry_as_a_replay(desk: Desk, file: Path) -> None:
    path = desk.write()
    with CuttingProxy(desk.port) as proxy:
        proxy.cut_after(len(DATA) + 500)  # all of the request, nearly nothing of the answer
        running = begin([*PATIENT, "-T", file, desk.url(path, port=proxy.port)])
        wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
        proxy.restore()
        ended = end(running)
    assert ended.exit == 0, ended
    assert ended.status in (200, 201)
    assert (desk.versions(), desk.events("object.created")) == (1, 1)


def test_the_one_liners_survive_a_killed_and_restarted_gateway(own_gateway: Desk, file: Path, tmp_path: Path) -> None:
    desk, target = own_gateway, tmp_path / "got"
    down = desk.stored(DATA, "d/down")
    upload = begin([*PATIENT, "--limit-rate", "8M", "-T", file, desk.url(desk.write())])
    download = begin([*PATIENT, "--limit-rate", "8M", "-o", target, desk.url(down)])
    desk.wait_until_uploads_run()
    desk.gateway.kill()
    restart = threading.Thread(target=desk.gateway.start)
    restart.start()
    try:
        sent, got = end(upload), end(download)
    finally:
        restart.join()
    assert (sent.exit, sent.status) == (0, 201), sent
    assert (got.exit, got.status) == (0, 200), got
    assert desk.content() == DATA
    assert target.read_bytes() == DATA


def test_a_gateway_that_is_stopped_lets_a_running_upload_finish(own_gateway: Desk) -> None:
    desk = own_gateway
    with desk.line() as line:
        line.begin("PUT", desk.write(), {"Content-Length": "10"})
        line.send(b"01234")
        desk.wait_until_uploads_run()
        stop = threading.Thread(target=desk.gateway.stop)
        stop.start()
        wait_until(lambda: not is_listening(desk.port), what="no new connection is taken")
        line.send(b"56789")
        assert line.answer().status == 201
        stop.join()
    assert desk.current() is not None


def test_curl_without_retries_says_that_nobody_is_there(own_gateway: Desk, file: Path) -> None:
    path = own_gateway.write()
    own_gateway.gateway.stop()
    assert curl("-fsS", "-T", file, own_gateway.url(path)).exit == 7
