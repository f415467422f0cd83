"""A storage that is down: after some failures jobs are told at once when to come back, and all ends well."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from staging import api_keys
from staging.models import Event
from staging.states import Role
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.servers.sshd import Sshd
from tests.wire.curl import PATIENT, begin, end
from tests.wire.desk import Desk
from tests.wire.line import Answer

DATA = b"data" * 100_000


@pytest.fixture
def touchy(django_db_setup: None, sftp_place: Place, tmp_path: Path) -> Iterator[Desk]:
    """Aliases on the SFTP server, and a gateway that leaves storages alone after a second of failures, briefly."""
    settings = {"WAYBILL_BREAKER_FAILURES": "2", "WAYBILL_BREAKER_SPAN_S": "1", "WAYBILL_BREAKER_MAX_WAIT_S": "1"}
    with Gateway(tmp_path, settings=settings, **installation()) as gateway:
        yield Desk(gateway, sftp_place)


@pytest.fixture
def server(sshd: Sshd) -> Iterator[Sshd]:
    """The SFTP server, which is there again after the test."""
    yield sshd
    if not sshd.processes:
        sshd.start()


def gauge(desk: Desk) -> list[str]:
    lines = desk.ask("GET", "/metrics").body.decode().splitlines()
    return [line for line in lines if line.startswith("waybill_storage_failing")]


def test_jobs_come_through_an_outage_without_a_storm(touchy: Desk, server: Sshd, tmp_path: Path) -> None:
    desk = touchy
    path, new = desk.stored(DATA), desk.write("d/new")
    _, key = api_keys.issue_key(desk.place.project, Role.VIEWER, label="looks")
    about = {"Authorization": f"Bearer {key}"}
    server.kill()
    refused: list[Answer] = []

    def is_refused(method: str, path: str, body: bytes | None) -> bool:
        answer = desk.ask(method, path, body=body)
        assert answer.status in (502, 503)
        assert answer["Waybill-Retryable"] == "true"
        refused[:] = [answer]
        return answer.code == "storage_failing"

    for request in (("GET", path, None), ("PUT", new, b"new")):
        wait_until(lambda request=request: is_refused(*request), what="the storage is left alone")
        assert refused[0].status == 503
        assert 1 <= int(refused[0]["Retry-After"]) <= 2
        assert server.host not in refused[0].body.decode()
    assert gauge(desk) == ['waybill_storage_failing{storage="far"} 1.0']
    told = json.loads(desk.ask("GET", "/api/v1/storages/far", about).body)["health"]
    assert (told["code"], bool(told["failing_since"]), bool(told["next_try_at"])) == ("offline", True, True)
    (tmp_path / "x").write_bytes(DATA)
    upload = begin([*PATIENT, "-T", tmp_path / "x", desk.url(new)])
    server.start()
    sent = end(upload)
    assert (sent.exit, sent.status) == (0, 201), sent
    assert desk.ask("GET", path).body == DATA
    assert gauge(desk) == ['waybill_storage_failing{storage="far"} 0.0']

    def is_told_well() -> bool:
        told = json.loads(desk.ask("GET", "/api/v1/storages/far", about).body)["health"]
        return set(told.values()) == {None, ""}

    # The gateway writes it down behind the answer, which a quick client can overtake.
    wait_until(is_told_well, what="the storage is told to be well")
    kinds = Event.objects.filter(kind__in=("storage.failing", "storage.recovered")).order_by("pk")
    assert list(kinds.values_list("kind", flat=True)) == ["storage.failing", "storage.recovered"]
