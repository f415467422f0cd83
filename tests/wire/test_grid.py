"""A GridFTP storage behind a real gateway, and what a machine without gfal2 is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import gfal_library
from staging import storages
from staging.models import Project
from staging.storages import StorageSpec
from tests.conftest import make_place
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.gridftp import GridFtp, Identity
from tests.wire.desk import KEY, REPLACE, Desk, sha256

DATA = b"0123456789abcdef" * 600_000


@pytest.fixture(scope="module")
def gridftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridFtp]:
    identity = Identity.make(tmp_path_factory.mktemp("identity"))
    with GridFtp(tmp_path_factory.mktemp("gridftp"), identity) as server:
        yield server


@pytest.fixture
def grid_place(project: Project, gridftp: GridFtp, tmp_path: Path) -> Iterator[Place]:
    """A storage on the GridFTP server, in a folder of its own."""
    root = gridftp.root / tmp_path.name
    root.mkdir()
    options = {**gridftp.options(), "root": str(root)}
    spec = StorageSpec("grid", "gsiftp", options, gridftp.identity.secrets(), tier=2)
    yield make_place(project, "grid-data", spec, root)
    storages.close_adapters()


@pytest.fixture
def grid_desk(gateway: Gateway, grid_place: Place) -> Desk:
    return Desk(gateway, grid_place)


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
def test_an_object_goes_up_and_comes_down_whole_and_in_ranges(grid_desk: Desk, mounted: bool) -> None:
    answer = grid_desk.ask("PUT", grid_desk.write(mounted=mounted), body=DATA)
    assert answer.status == 201, answer
    path = grid_desk.read(mounted=mounted)
    answer = grid_desk.ask("GET", path)
    assert (answer.status, sha256(answer.body)) == (200, sha256(DATA))
    answer = grid_desk.ask("GET", path, {"Range": "bytes=9000000-9000009"})
    assert (answer.status, answer.body) == (206, DATA[9_000_000:9_000_010])
    again = grid_desk.ask("PUT", grid_desk.write(mounted=mounted), body=b"another")
    assert (again.status, again.code) == (409, "already_exists")


def test_an_object_is_replaced(grid_desk: Desk) -> None:
    grid_desk.stored(DATA)
    answer = grid_desk.ask("PUT", grid_desk.write(on_exists=REPLACE), body=b"the new one")
    assert answer.status == 201, answer
    assert grid_desk.content(KEY) == b"the new one"


def test_a_short_body_leaves_nothing_on_the_server(grid_desk: Desk) -> None:
    with grid_desk.line() as line:
        # So small a body is not parked elsewhere, and this storage cannot resume it.
        line.begin("PUT", grid_desk.write(), {"Content-Length": "1000000"})
        line.send(DATA[:500_000])
        grid_desk.wait_until_uploads_run()
    grid_desk.wait_until_uploads_run(0)
    grid_desk.assert_nothing_is_left()
    assert grid_desk.place.files() == []


def test_a_machine_without_gfal2_is_told_what_to_install_and_the_rest_works(
    place: Place, grid_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gfal_library, "LIBRARY", "libgfal2-not-here.so.2")
    storages.close_adapters()
    steps = storages.test(grid_place.storage)
    assert [step.ok for step in steps] == [False]
    assert "apt-get install libgfal2-2 gfal2-plugin-gridftp" in steps[0].detail
    assert all(step.ok for step in storages.test(place.storage))
