"""Mid-stream failover: when the storage that serves dies, another replica goes on at the same byte."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from staging import catalog
from staging.models import Replica
from tests.place import Place
from tests.servers.process import wait_until
from tests.servers.sshd import Sshd
from tests.wire.curl import begin, end
from tests.wire.desk import KEY, Desk, sha256

DATA = os.urandom(1024 * 1024) * 48


@pytest.fixture
def server(sshd: Sshd) -> Iterator[Sshd]:
    """The SFTP server, which is there again after the test."""
    yield sshd
    if not sshd.processes:
        sshd.start()


def copied(far: Place, near: Place) -> None:
    """A second replica of the one object, on the local storage, which is read after that on SFTP."""
    found = catalog.current(far.managed, KEY)
    assert found is not None
    (first,) = found.replicas.all()
    (near.root / "copy").write_bytes((far.root / first.key).read_bytes())
    near.storage.tier = far.storage.tier
    near.storage.save()
    Replica.objects.create(object=found, storage=near.storage, key="copy", size=found.size)


def test_the_client_of_a_storage_that_is_killed_sees_nothing(
    sftp_desk: Desk, place: Place, server: Sshd, tmp_path: Path
) -> None:
    path = sftp_desk.stored(DATA)
    copied(sftp_desk.place, place)
    with sftp_desk.line(receive_buffer=65536) as line:
        line.begin("GET", path)
        line.wait_for_some()
        server.kill()
        answer = line.answer()
    assert (answer.status, sha256(answer.body)) == (200, sha256(DATA))
    assert "replica.failed" in sftp_desk.gateway.log.read_text(), "it was the killed one that served at first"


def test_curl_ends_well_with_the_right_bytes(sftp_desk: Desk, place: Place, server: Sshd, tmp_path: Path) -> None:
    path = sftp_desk.stored(DATA)
    copied(sftp_desk.place, place)
    target = tmp_path / "x"
    running = begin(["-fsS", "--limit-rate", "20M", "-r", "1000-", "-o", target, sftp_desk.url(path)])
    wait_until(lambda: target.exists() and target.stat().st_size > 1_000_000, what="some bytes have come")
    assert running.poll() is None
    server.kill()
    ended = end(running)
    assert (ended.exit, ended.status) == (0, 206)
    assert target.read_bytes() == DATA[1000:]
