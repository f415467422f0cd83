"""Bounds: threads, memory, database connections, and clients that stall."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from staging.models import Upload
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.wire.curl import curl
from tests.wire.desk import Desk
from tests.wire.line import Line, LineCut

MIB = 1024 * 1024
LARGE = b"x" * (16 * MIB)  # more than the kernel's buffers take


@contextmanager
def slots_taken(desk: Desk) -> Iterator[list[Line]]:
    """One upload and one download that hold both slots of the narrow gateway."""
    path = desk.stored(LARGE)
    with ExitStack() as lines:
        reader = lines.enter_context(desk.line(receive_buffer=4096))
        reader.begin("GET", path)
        reader.wait_for_some()
        writer = lines.enter_context(desk.line())
        writer.begin("PUT", desk.write("d/slow"), {"Content-Length": "10"})
        desk.wait_until_uploads_run()
        yield [reader, writer]
    desk.wait_until_uploads_run(0)


def test_with_all_slots_taken_the_next_is_told_to_come_back_and_health_answers(narrow: Desk) -> None:
    path, began = narrow.read(), time.monotonic()
    with slots_taken(narrow) as (_, writer):
        for method in ("GET", "PUT"):
            with narrow.line() as line:
                url = path if method == "GET" else narrow.write("d/other")
                busy = line.ask(method, url, body=b"x" * 1000 if method == "PUT" else None)
                assert (busy.status, busy.code, busy["Waybill-Retryable"]) == (503, "gateway_busy", "true")
                assert 1 <= int(busy["Retry-After"]) <= 300
        stream = narrow.ask("PUT", narrow.write("d/third"), chunks=[b"x"])
        assert (stream.status, stream["Waybill-Retryable"]) == (422, "false")
        assert narrow.ask("GET", "/live").status == 200
        assert narrow.ask("HEAD", path).status == 200
        if time.monotonic() - began < 4.9:
            writer.send(b"0123456789")
            assert writer.answer().status == 201
    wait_until(lambda: narrow.ask("GET", path).status == 200, what="the slots are free again")


def test_stalled_clients_give_their_slots_back(narrow: Desk) -> None:
    before = narrow.gateway.log.read_text().count("object.cut")
    with slots_taken(narrow) as (reader, writer):
        assert writer.answer().code == "incomplete_body"
        wait_until(lambda: narrow.gateway.log.read_text().count("object.cut") > before, what="the reader is let go")
        with pytest.raises(LineCut):
            reader.answer()
    assert narrow.ask("GET", narrow.read()).body == LARGE
    narrow.assert_nothing_is_left()


def test_refused_uploads_that_never_come_do_not_take_the_threads(narrow: Desk) -> None:
    with ExitStack() as lines:
        for _ in range(12):
            line = lines.enter_context(narrow.line(timeout_s=30))
            line.begin("PUT", "/a/" + "A" * 32 + "/x", {"Content-Length": "1000000000"})
        assert narrow.ask("GET", "/live").status == 200


def test_a_slow_reader_that_moves_is_not_cut_off(narrow: Desk) -> None:
    path, received = narrow.stored(LARGE), 0
    with narrow.line(receive_buffer=4096) as line:
        line.begin("GET", path)
        until = time.monotonic() + 8  # longer than a client may stall
        while time.monotonic() < until:
            received += len(line.socket.recv(16_384))
            time.sleep(0.05)  # the client's own pace
        while received < len(LARGE):
            data = line.socket.recv(MIB)
            assert data, received
            received += len(data)


@pytest.fixture
def measured(django_db_setup: None, place: Place, tmp_path: Path) -> Iterator[Desk]:
    """A gateway of its own, so that nothing else has raised its peak."""
    with Gateway(tmp_path, **installation()) as gateway:
        yield Desk(gateway, place)


def test_half_a_gigabyte_up_and_down_takes_no_more_memory_than_a_few_chunks(measured: Desk, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        os.truncate(file.fileno(), 512 * MIB)
    measured.ask("GET", measured.stored(LARGE, "d/first"))
    measured.ask("PUT", measured.write("d/second"), chunks=[LARGE])
    worker = worker_of(measured.gateway)
    before = peak_rss(worker)
    sent = curl("-fsS", "-T", source, measured.url(measured.write()))
    got = curl("-fsS", "-o", "/dev/null", measured.url(measured.read()))
    source.rename(measured.place.root / "mounted")
    streamed = curl("-fsS", "-o", "/dev/null", measured.url(measured.read("mounted", mounted=True)))
    assert (sent.status, got.status, streamed.status) == (201, 200, 200)
    assert peak_rss(worker) - before <= 16 * MIB


def worker_of(gateway: Gateway) -> int:
    """gunicorn's one worker."""
    (child,) = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
    return int(child)


def peak_rss(pid: int) -> int:
    """The most memory a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


@pytest.fixture
def counted(django_db_setup: None, place: Place, tmp_path: Path) -> Iterator[Desk]:
    """A gateway whose database connections can be told from those of others; PostgreSQL's client reads the name."""
    with Gateway(tmp_path, settings={"PGAPPNAME": tmp_path.name}, **installation()) as gateway:
        yield Desk(gateway, place)


def test_slow_streams_hold_no_database_connection(counted: Desk, tmp_path: Path) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections that others could want")
    path = counted.stored(LARGE)
    with ExitStack() as lines:
        for number in range(settings.DATABASE_POOL_SIZE):
            reader = lines.enter_context(counted.line(receive_buffer=4096))
            reader.begin("GET", path)
            reader.wait_for_some()
            writer = lines.enter_context(counted.line())
            writer.begin("PUT", counted.write(f"d/{number}"), {"Content-Length": str(2 * MIB)})
            writer.send(b"x" * MIB)
        counted.wait_until_uploads_run(settings.DATABASE_POOL_SIZE)
        wait_until(lambda: _connections(tmp_path.name, "active") == 0, what="no query runs", timeout_s=10)
        assert _connections(tmp_path.name, "idle in transaction") == 0
        assert 1 <= _connections(tmp_path.name) <= settings.DATABASE_POOL_SIZE, "there are twice as many streams"
        with counted.line() as other:
            assert other.ask("HEAD", path).status == 200
    running = Upload.objects.filter(suspended_at=None)
    wait_until(lambda: not running.exists(), what="no upload runs any more")


def _connections(name: str, state: str = "%") -> int:
    with connection.cursor() as cursor:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state LIKE %s"
        cursor.execute(asked, [name, state])
        (count,) = cursor.fetchone()
    return int(count)


@pytest.mark.parametrize("unfinished", ["head", "document"])
def test_clients_that_stop_in_the_middle_of_a_request_give_their_threads_back(narrow: Desk, unfinished: str) -> None:
    with ExitStack() as lines:
        for _ in range(8):  # twice the threads
            line = lines.enter_context(narrow.line())
            if unfinished == "head":
                line.send(b"GET /live HTTP/1.1\r\nHost: loc")
            else:
                line.begin("POST", "/admin/login/", {"Content-Length": "100"})
        assert narrow.ask("GET", "/live").status == 200
    assert "Traceback" not in narrow.gateway.log.read_text()
