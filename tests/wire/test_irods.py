"""One gateway and an iRODS storage: what jobs upload and download through aliases lies there, whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from staging import storages
from staging.models import Project
from staging.storages import StorageSpec
from tests.conftest import make_place
from tests.servers.gateway import Gateway
from tests.servers.irods import PASSWORD, Irods
from tests.servers.process import wait_until
from tests.wire.desk import KEY, REPLACE, Desk, sha256
from tests.wire.test_resuming import CUT, DATA, broken, rest


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Irods]:
    """A stand-in that speaks TLS and nothing else."""
    with Irods(tmp_path_factory.mktemp("irods"), tls_policy="CS_NEG_REQUIRE") as server:
        yield server


@pytest.fixture
def irods(server: Irods, tmp_path: Path) -> Irods:
    server.begin(tmp_path.name)
    return server


@pytest.fixture
def desk(irods: Irods, gateway: Gateway, project: Project) -> Iterator[Desk]:
    options = irods.options(connect_timeout_s=10, stall_timeout_s=10)
    spec = StorageSpec("zone", "irods", options, {"password": PASSWORD}, tier=2)
    yield Desk(gateway, make_place(project, "zone-data", spec, irods.folder / "no-files-here"))
    storages.close_adapters()


def test_a_job_uploads_and_the_next_one_downloads(desk: Desk, irods: Irods) -> None:
    answer = desk.ask("PUT", desk.write(), body=DATA)
    assert answer.status == 201, answer
    path = desk.read()
    got = desk.ask("GET", path)
    assert (got.status, sha256(got.body)) == (200, sha256(DATA))
    part = desk.ask("GET", path, {"Range": "bytes=1000000-4199999"})
    assert (part.status, part.body) == (206, DATA[1_000_000:4_200_000])
    assert int(desk.ask("HEAD", path)["Content-Length"]) == len(DATA)
    assert len(irods.paths()) == 1
    assert not [name for name in irods.paths() if name.endswith(".partial")]


def test_a_mounted_object_is_replaced_in_place(desk: Desk, irods: Irods) -> None:
    for data in (b"first", b"the second"):
        answer = desk.ask("PUT", desk.write(mounted=True, on_exists=REPLACE), body=data)
        assert answer.status == 201, answer
        got = desk.ask("GET", desk.read(mounted=True))
        assert (got.status, got.body) == (200, data)
        assert got["ETag"].startswith('W/"')
        assert irods.paths() == [KEY]


def test_a_wrong_digest_leaves_nothing(desk: Desk, irods: Irods) -> None:
    headers = {"Repr-Digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"}
    assert desk.ask("PUT", desk.write(), headers, body=b"not empty").status == 422
    wait_until(lambda: irods.paths() == [], what="nothing is left")


@pytest.mark.parametrize("mounted", [False, True])
def test_an_upload_that_broke_off_goes_on(desk: Desk, irods: Irods, mounted: bool) -> None:
    path = desk.write(mounted=mounted)
    offset = broken(desk, path)
    assert 0 < offset <= CUT
    answer = rest(desk, path, offset)
    assert answer.status == 201, answer
    got = desk.ask("GET", desk.read(mounted=mounted))
    assert (got.status, sha256(got.body)) == (200, sha256(DATA))
    assert len(irods.paths()) == 1


def test_an_upload_to_a_server_that_is_gone_is_told_and_can_be_sent_again(desk: Desk, irods: Irods) -> None:
    path = desk.write()
    irods.kill()
    refused = desk.ask("PUT", path, body=DATA)
    assert (refused.status, refused.code) == (502, "storage_offline"), refused
    irods.start()
    assert desk.ask("PUT", path, body=DATA).status == 201
    assert desk.content() == DATA
