"""Waiting for data: who waits is woken by the publish, wherever it happens, and never holds what others need."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from staging import aliases, failures
from staging.listening import APPLICATION_NAME
from staging.states import AliasMode
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers import faulty
from tests.servers.faulty import Faults
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.staging.bodies import put
from tests.wire.desk import KEY, Desk, sha256
from tests.wire.line import Line

DATA = b"what was waited for"
LONG = {"Prefer": "wait=30"}
#: Six may wait, three may be refused at length, three threads are left; little else is there to be had.
FEW = {
    "WAYBILL_THREADS": "16",
    "WAYBILL_MAX_STREAMS": "4",
    "WAYBILL_MAX_WAITERS": "6",
    "WAYBILL_WAIT_S": "1",
    "WAYBILL_MAX_WAIT_S": "40",
    "WAYBILL_DATABASE_POOL_SIZE": "2",
}


@pytest.fixture(scope="module")
def few_process(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("few"), settings=FEW, **installation()) as gateway:
        yield gateway


@pytest.fixture
def few(few_process: Gateway, place: Place) -> Desk:
    """Aliases in the local place, and a gateway with few seats."""
    return Desk(few_process, place)


def waiters(desk: Desk) -> int:
    found = re.search(r"^waybill_waiters (\S+)$", metrics(desk), re.MULTILINE)
    assert found
    return int(float(found[1]))


def metrics(desk: Desk) -> str:
    return desk.ask("GET", "/metrics").body.decode()


@contextmanager
def waiting(desk: Desk, *paths: str, method: str = "GET", **headers: str) -> Iterator[list[Line]]:
    """A reader that waits for each path, once all do."""
    with ExitStack() as lines:
        readers = [lines.enter_context(desk.line(timeout_s=40)) for _ in paths]
        for reader, path in zip(readers, paths, strict=True):
            reader.begin(method, path, {**LONG, **headers})
        wait_until(lambda: waiters(desk) == len(paths), what=f"{len(paths)} wait")
        yield readers
    wait_until(lambda: waiters(desk) == 0, what="nobody waits", timeout_s=5)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_publish_wakes_who_waits_within_a_second(desk: Desk, method: str) -> None:
    with waiting(desk, desk.read(), method=method) as [reader]:
        assert desk.ask("PUT", desk.write(), body=DATA).status == 201
        published = time.monotonic()
        answer = reader.answer(method)
        assert time.monotonic() - published < 1
        assert (answer.status, answer["Content-Length"]) == (200, str(len(DATA)))
        assert answer["Preference-Applied"] == "wait=30"
        assert answer.body == (DATA if method == "GET" else b"")


def test_parts_and_digests_are_waited_for_too(desk: Desk) -> None:
    with waiting(desk, desk.read(), Range="bytes=5-7") as [part], desk.line() as companion:
        companion.begin("GET", f"{desk.read()}.sha256?wait=30")
        wait_until(lambda: waiters(desk) == 2, what="both wait")
        desk.ask("PUT", desk.write(), body=DATA)
        answer = part.answer()
        assert (answer.status, answer.body) == (206, DATA[5:8])
        assert companion.answer().body.decode() == f"{sha256(DATA)}  x.bin\n"


def test_a_publish_through_another_gateway_wakes_who_waits_here(desk: Desk, few: Desk) -> None:
    for here, there in ((desk, few), (few, desk)):
        key = f"d/{here.port}"
        with waiting(here, here.read(key)) as [reader]:
            assert there.ask("PUT", there.write(key), body=DATA).status == 201
            published = time.monotonic()
            assert reader.answer().body == DATA
            assert time.monotonic() - published < 1


def test_what_the_janitor_adopts_wakes_who_waits(
    faulty_desk: Desk, faulty_place: Place, faults: Faults, tmp_path: Path
) -> None:
    settings = {"WAYBILL_UPLOAD_LEASE_S": "5"}
    with Gateway(tmp_path, application=faulty.WSGI, settings=settings, **installation()) as doomed:
        faults.hold("published")
        with Desk(doomed, faulty_place).line() as writer, waiting(faulty_desk, faulty_desk.read()) as [reader]:
            writer.begin("PUT", faulty_desk.write(), {"Content-Length": str(len(DATA))})
            writer.send(DATA)
            faults.wait_until_held("published")
            doomed.kill()
            faults.heal()
            assert faulty_place.sweep().adopted == 1
            adopted = time.monotonic()
            assert reader.answer().body == DATA
            assert time.monotonic() - adopted < 1


def test_more_readers_than_streams_wake_at_once_and_none_is_sent_away(few: Desk) -> None:
    with waiting(few, *[few.read() for _ in range(6)]) as readers:
        few.ask("PUT", few.write(), body=DATA * 1000)
        assert [reader.answer().body for reader in readers] == [DATA * 1000] * 6


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_when_the_time_is_over_the_reader_is_told_to_come_back(few: Desk, method: str) -> None:
    path = few.read()
    for asked, least_s in ((path, 1.0), (f"{path}?wait=2", 2.0), (f"{path}?wait=0", 0.0)):
        began = time.monotonic()
        answer = few.ask(method, asked)
        assert least_s <= time.monotonic() - began < least_s + 0.9
        assert (answer.status, answer.code, answer["Waybill-Retryable"]) == (503, "data_pending", "true")
        assert 1 <= int(answer["Retry-After"]) <= 300
        assert "preference-applied" not in answer.headers
    began = time.monotonic()
    at_once = few.ask(method, path, {"Prefer": "wait=0"})
    assert (at_once.status, at_once["Preference-Applied"]) == (503, "wait=0")
    assert time.monotonic() - began < 0.9


def test_a_wait_that_is_no_number_is_refused_whether_or_not_the_data_is_there(desk: Desk) -> None:
    for path in (desk.read("d/none"), desk.stored(DATA)):
        refused = desk.ask("GET", f"{path}?wait=long")
        assert (refused.status, refused.code) == (400, "invalid_request")
    assert desk.ask("GET", desk.read(), {"Prefer": "wait=long"}).body == DATA
    assert desk.ask("HEAD", desk.write("d/other") + "?wait=long").status == 200


def test_past_the_bound_readers_are_sent_away_at_once_and_everything_else_goes_on(few: Desk) -> None:
    stored = few.stored(b"other", "d/other")
    with waiting(few, *[few.read() for _ in range(6)]):
        began = time.monotonic()
        crowded = few.ask("GET", few.read(), LONG)
        assert (crowded.status, crowded.code) == (503, "data_pending")
        assert 1 <= int(crowded["Retry-After"]) <= 300
        assert few.ask("GET", stored).body == b"other"
        assert few.ask("PUT", few.write("d/more"), body=b"more").status == 201
        assert few.ask("GET", "/ready").status == 200
        assert time.monotonic() - began < 5
        assert 'waybill_waits_total{outcome="refused"}' in metrics(few)


def test_a_client_that_hangs_up_gives_its_seat_back(few: Desk) -> None:
    with waiting(few, *[few.read() for _ in range(6)]) as readers:
        for reader in readers:
            reader.socket.close()
        wait_until(lambda: waiters(few) == 0, what="nobody waits any more", timeout_s=5)
        with waiting(few, few.read()) as [other]:
            few.ask("PUT", few.write(), body=DATA)
            assert other.answer().body == DATA


def test_an_alias_that_is_revoked_or_expires_while_it_waits_is_refused(few: Desk) -> None:
    short, long = few.place.alias(KEY, lifetime_s=3), few.place.alias(KEY)
    paths = [few.gateway.alias_path(aliases.token_of(alias), "x.bin") for alias in (short, long)]
    with waiting(few, *paths, few.read()) as [expiring, revoked, other]:
        began = time.monotonic()
        aliases.revoke(long)
        answer = revoked.answer()
        assert (answer.status, answer.code) == (410, "alias_revoked")
        assert time.monotonic() - began < 1
        answer = expiring.answer()
        assert (answer.status, answer.code) == (410, "alias_expired")
        assert timezone.now() - short.expires_at < timedelta(seconds=1)
        few.ask("PUT", few.write(), body=DATA)
        assert other.answer().status == 200


def test_a_failed_producer_ends_the_wait_at_once(few: Desk) -> None:
    producer = few.place.alias(KEY, AliasMode.WRITE)
    with waiting(few, few.read(), few.read()) as readers:
        began = time.monotonic()
        failures.fail(producer, "exit status 137")
        for reader in readers:
            answer = reader.answer()
            assert (answer.status, answer.code, answer["Waybill-Retryable"]) == (424, "producer_failed", "false")
            assert b"exit status 137" in answer.body
        assert time.monotonic() - began < 1
    later = few.ask("HEAD", few.read(), LONG)
    assert (later.status, later.code) == (424, "producer_failed")


def test_a_file_that_others_put_into_a_mounted_bucket_is_found(few: Desk) -> None:
    few.write(mounted=True)
    with waiting(few, few.read(mounted=True), few.read(mounted=True)) as readers:
        (few.place.root / "d").mkdir()
        (few.place.root / KEY).write_bytes(DATA)
        began = time.monotonic()
        assert [reader.answer().body for reader in readers] == [DATA, DATA]
        assert time.monotonic() - began < 5


def listeners() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
            [APPLICATION_NAME],
        )
        return [pid for (pid,) in cursor.fetchall()]


def test_a_listener_that_loses_its_connection_misses_nothing(few: Desk) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections that a server could end")
    with waiting(few, few.read(), few.read("d/other")) as [reader, other]:
        wait_until(lambda: bool(listeners()), what="somebody listens")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [listeners()])
        put(few.place, DATA)  # in this process, so that only the database could tell
        assert reader.answer().body == DATA
        wait_until(lambda: bool(listeners()), what="somebody listens again")
        put(few.place, DATA, key="d/other")
        assert other.answer().body == DATA


@pytest.mark.parametrize("ask", [signal.SIGTERM, signal.SIGINT])
def test_a_gateway_that_stops_sends_away_who_waits_and_stops_soon(
    django_db_setup: None, place: Place, tmp_path: Path, ask: signal.Signals
) -> None:
    with Gateway(tmp_path, **installation()) as gateway, ExitStack() as lines:
        desk = Desk(gateway, place)
        readers = [lines.enter_context(desk.line()) for _ in range(20)]
        for reader in readers:
            reader.begin("GET", desk.read(), LONG)
        wait_until(lambda: waiters(desk) == 20, what="all wait")
        began = time.monotonic()
        os.kill(gateway.pid, ask)
        if ask == signal.SIGTERM:
            for reader in readers:
                answer = reader.answer()
                assert (answer.status, answer.code) == (503, "data_pending")
                assert 1 <= int(answer["Retry-After"]) <= 3
        gateway.processes[0].popen.wait(10)
        assert time.monotonic() - began < 6


def test_who_waits_holds_no_database_connection(few: Desk) -> None:
    with waiting(few, *[few.read() for _ in range(6)]):  # three times as many as the pool has
        assert few.ask("PUT", few.write("d/other"), body=b"x").status == 201
        assert few.ask("GET", few.read("d/other")).body == b"x"
