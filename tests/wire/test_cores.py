"""Processor cores: small requests share one, a large body may use all while it moves."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cores import LARGE_BYTES
from tests.adapters.sftp.ssh_processes import ssh_processes
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.wire.desk import Desk

ALL = len(os.sched_getaffinity(0))
#: More than the buffers of a connection hold.
LARGE = 64 * LARGE_BYTES


@pytest.fixture
def own(django_db_setup: None, place: Place, tmp_path: Path) -> Iterator[Desk]:
    """A gateway in which no driver has started threads of its own, which stay where they began."""
    with Gateway(tmp_path, **installation()) as gateway:
        yield Desk(gateway, place)


@pytest.mark.skipif(ALL == 1, reason="there is one core only")
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_thread_with_a_large_body_may_use_every_core_until_it_ends(own: Desk, direction: str) -> None:
    path = own.stored(b"x" * LARGE) if direction == "down" else own.write()
    wait_until(lambda: _cores(own) == {1}, what="all threads are on one core")
    with own.line() as line:
        if direction == "down":
            line.begin("GET", path)
            line.wait_for_some()
        else:
            line.begin("PUT", path, {"Content-Length": str(LARGE)})
            line.send(b"x" * LARGE_BYTES)
        wait_until(lambda: _cores(own) == {1, ALL}, what="a thread is on all cores")
        if direction == "down":
            line.answer()
        else:
            line.send(b"x" * (LARGE - LARGE_BYTES))
            assert line.answer().status == 201
        wait_until(lambda: _cores(own) == {1}, what="all threads are on one core again")


@pytest.mark.skipif(ALL == 1, reason="there is one core only")
def test_a_small_body_stays_on_the_core_of_its_process(own: Desk) -> None:
    with own.line() as line:
        line.begin("PUT", own.write(), {"Content-Length": "10"})
        own.wait_until_uploads_run()
        assert _cores(own) == {1}
        line.send(b"0123456789")
        assert line.answer().status == 201


@pytest.mark.skipif(ALL == 1, reason="there is one core only")
def test_ssh_that_a_request_starts_may_use_every_core(django_db_setup: None, sftp_place: Place, tmp_path: Path) -> None:
    with Gateway(tmp_path, **installation()) as gateway:
        desk = Desk(gateway, sftp_place)
        with desk.line() as line:
            line.begin("PUT", desk.write(), {"Content-Length": "10"})
            line.send(b"0123456789")
            assert line.answer().status == 201
        assert _cores(desk) == {1}
        (ssh,) = ssh_processes(_worker(desk))
        assert len(os.sched_getaffinity(ssh)) == ALL


def _worker(desk: Desk) -> int:
    """The gateway's one process that answers."""
    return int(Path(f"/proc/{desk.gateway.pid}/task/{desk.gateway.pid}/children").read_text())


def _cores(desk: Desk) -> set[int]:
    """On how many cores the threads of the gateway's one process may run."""
    found = set()
    for task in Path(f"/proc/{_worker(desk)}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # A thread that hashed has ended.
            found.add(len(os.sched_getaffinity(int(task.name))))
    return found
