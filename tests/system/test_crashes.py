"""Clients, workers and whole gateways that die in the middle: nothing partial is visible and nothing is left."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from staging import queue, retiring
from staging.models import Event, Object, Replica, Upload
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers import faulty
from tests.servers.faulty import Faults
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.wire.curl import begin, curl
from tests.wire.desk import REPLACE, Desk

MIB = 1024 * 1024
DATA = os.urandom(MIB) * 4
SHORT_LEASES = {"WAYBILL_UPLOAD_LEASE_S": "5"}


@pytest.fixture
def own_gateway(django_db_setup: None, faulty_place: Place, tmp_path: Path) -> Iterator[Desk]:
    """A gateway that the test may kill; its uploads have short leases."""
    with Gateway(tmp_path, application=faulty.WSGI, settings=SHORT_LEASES, **installation()) as gateway:
        yield Desk(gateway, faulty_place)


def kill_worker(gateway: Gateway) -> None:
    """Kill gunicorn's one worker, and wait for its successor."""
    before = worker_of(gateway)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: worker_of(gateway) not in (0, before) and gateway.is_ready(), what="a new worker serves")


def kill_gateway(gateway: Gateway) -> None:
    gateway.kill()
    gateway.start()


def worker_of(gateway: Gateway) -> int:
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
    return int(children[0]) if children else 0


KILLS = pytest.mark.parametrize("kill", [kill_worker, kill_gateway])


@pytest.mark.parametrize("how", ["known length", "stream"])
def test_a_killed_client_leaves_nothing(desk: Desk, how: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    path = desk.stored(b"old")
    source = ["-T", tmp_path / "x"] if how == "known length" else ["-T", "-"]
    stdin, feed = os.pipe()
    with open(stdin, "rb") as reading, open(feed, "wb") as writing:
        uploading = begin(
            ["-sS", "--limit-rate", "1M", *source, desk.url(desk.write(on_exists=REPLACE))], stdin=reading.fileno()
        )
        writing.write(DATA[:50_000])
        writing.flush()
        desk.wait_until_uploads_run()
        uploading.kill()
        uploading.communicate()
    running = Upload.objects.filter(suspended_at=None)
    wait_until(lambda: not running.exists(), what="the gateway cleans up by itself")
    desk.place.give_up_what_waits()
    assert desk.ask("GET", path).body == b"old"
    desk.assert_nothing_is_left()


@KILLS
@pytest.mark.parametrize("chunked", [False, True], ids=["known length", "stream"])
def test_a_gateway_killed_in_mid_upload_leaves_what_the_janitor_removes(
    own_gateway: Desk, kill: Callable[[Gateway], None], chunked: bool
) -> None:
    desk = own_gateway
    path = desk.stored(b"old")
    write = desk.write(on_exists=REPLACE)
    with desk.line() as line:
        line.begin("PUT", write, {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(DATA))})
        line.send(b"200000\r\n" + DATA[: 2 * MIB] + b"\r\n" if chunked else DATA[: 2 * MIB])
        desk.wait_until_uploads_run()
        wait_until(lambda: len(desk.place.files()) == 2, what="bytes have come to the storage")
        kill(desk.gateway)
    assert desk.ask("GET", path).body == b"old"
    assert desk.place.sweep().removed == 1
    desk.assert_nothing_is_left()
    again = desk.ask("PUT", write, chunks=[DATA]) if chunked else desk.ask("PUT", write, body=DATA)
    assert again.status == (409 if chunked else 201), "what follows a broken stream may be its tail"
    assert desk.content() == (b"old" if chunked else DATA)


@KILLS
def test_an_upload_goes_on_after_the_gateway_was_killed(own_gateway: Desk, kill: Callable[[Gateway], None]) -> None:
    desk = own_gateway
    write = desk.write()
    with desk.line() as line:
        line.begin("PUT", write, {"Content-Length": str(len(DATA))})
        line.send(DATA[: 2 * MIB])
        wait_until(lambda: any(map(desk.place.content, desk.place.files())), what="bytes have come to the storage")
        kill(desk.gateway)
    offset = int(desk.ask("HEAD", write)["Upload-Offset"])
    assert 0 < offset <= 2 * MIB
    span = {"Content-Range": f"bytes {offset}-{len(DATA) - 1}/{len(DATA)}"}
    assert desk.ask("PUT", write, span, body=DATA[offset:]).status == 201
    assert desk.content() == DATA
    desk.assert_nothing_is_left()


@KILLS
@pytest.mark.parametrize("step", ["publish", "published"])
def test_an_upload_whose_gateway_was_killed_at_its_end_is_completed_when_its_client_asks(
    own_gateway: Desk, faults: Faults, kill: Callable[[Gateway], None], step: str
) -> None:
    desk = own_gateway
    write = desk.write()
    offset = 1 * MIB
    with desk.line() as line:
        line.begin("PUT", write, {"Content-Length": str(len(DATA))})
        line.send(DATA[:offset])
        line.socket.shutdown(1)
        assert line.answer().status == 400
    faults.hold(step)
    with desk.line() as line:
        span = {"Content-Range": f"bytes {offset}-{len(DATA) - 1}/{len(DATA)}"}
        line.begin("PUT", write, {"Content-Length": str(len(DATA) - offset), **span})
        line.send(DATA[offset:])
        faults.wait_until_held(step)
        kill(desk.gateway)
    faults.heal()
    head = desk.ask("HEAD", write)
    assert (head["Upload-Complete"], head["Upload-Offset"]) == ("?1", str(len(DATA)))
    assert desk.content() == DATA
    desk.assert_nothing_is_left()


@KILLS
@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
def test_a_gateway_killed_between_publish_and_registration_loses_nothing(
    own_gateway: Desk, faults: Faults, kill: Callable[[Gateway], None], mounted: bool
) -> None:
    desk = own_gateway
    write = desk.write(mounted=mounted)
    faults.hold("published")
    with desk.line() as line:
        line.begin("PUT", write, {"Content-Length": str(len(DATA))})
        line.send(DATA)
        faults.wait_until_held("published")
        kill(desk.gateway)
    faults.heal()
    assert not Object.objects.exists()
    assert desk.place.sweep().adopted == 1
    desk.assert_nothing_is_left()
    replay = desk.ask("PUT", write, body=DATA)
    assert (replay.status, replay["Waybill-Replayed"]) == (200, "true")
    assert Event.objects.filter(kind="object.created").count() == 1
    assert desk.ask("GET", desk.read(mounted=mounted)).body == DATA


def test_a_retry_after_such_a_crash_and_before_the_janitor_makes_one_object(own_gateway: Desk, faults: Faults) -> None:
    desk = own_gateway
    write = desk.write()
    faults.hold("published")
    with desk.line() as line:
        line.begin("PUT", write, {"Content-Length": str(len(DATA))})
        line.send(DATA)
        faults.wait_until_held("published")
        kill_gateway(desk.gateway)
    faults.heal()
    assert desk.ask("PUT", write, body=DATA).status == 201
    assert desk.place.sweep().removed == 1
    desk.assert_nothing_is_left()
    assert (desk.versions(), desk.events()) == (1, 1)


def test_a_full_disk_is_507_and_leaves_nothing(own_gateway: Desk, tmp_path: Path) -> None:
    desk, file, large = own_gateway, tmp_path / "x", DATA * 10
    file.write_bytes(large)
    # A file that may not grow any more fails as a full disk does; the limit leaves room for SQLite's own files.
    _, most = resource.prlimit(worker_of(desk.gateway), resource.RLIMIT_FSIZE)
    resource.prlimit(worker_of(desk.gateway), resource.RLIMIT_FSIZE, (30 * MIB, most))
    for stream in (False, True):
        ended = curl("-sS", "-T", "-" if stream else file, desk.url(desk.write()), stdin=large if stream else b"")
        assert (ended.exit, ended.status) == (0, 507)
        desk.assert_nothing_is_left()
    assert desk.ask("PUT", desk.write(), body=DATA[:MIB]).status == 201


def test_a_real_worker_settles_what_a_killed_gateway_left_and_removes_what_was_deleted(
    place: Place, tmp_path: Path
) -> None:
    with Gateway(tmp_path, settings=SHORT_LEASES, **installation()) as gateway:
        desk = Desk(gateway, place)
        desk.stored(DATA, "d/deleted")
        with desk.line() as line:
            line.begin("PUT", desk.write(), {"Content-Length": str(len(DATA))})
            line.send(DATA[:MIB])
            desk.wait_until_uploads_run()
            gateway.kill()
        gateway.start_worker()
        wait_until(Path(settings.DATA_DIR, "broker").is_dir, what="the embedded broker is there")
        retiring.delete(Object.objects.get())
        wait_until(lambda: Upload.objects.get().lease_expires_at < timezone.now(), what="the lease has run out")
        queue._send("workers.tasks.sweep_leftovers", "maintenance")
        wait_until(lambda: place.files() == [], what="the worker has removed all bytes")
        wait_until(lambda: not Upload.objects.exists() and not Replica.objects.exists(), what="the rows are gone")
    place.assert_nothing_is_left()
