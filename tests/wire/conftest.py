"""A desk at a gateway that has next to nothing to spare, and stage.sh."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.process import find_program
from tests.wire.desk import Desk
from tests.wire.stage import Stage


@pytest.fixture(scope="session")
def narrow_process(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two streams, one drain, and a client may stall for five seconds."""
    narrow = {"WAYBILL_THREADS": "4", "WAYBILL_MAX_STREAMS": "2", "WAYBILL_CLIENT_STALL_S": "5"}
    with Gateway(tmp_path_factory.mktemp("narrow"), settings=narrow, **installation()) as gateway:
        yield gateway


@pytest.fixture
def narrow(narrow_process: Gateway, place: Place) -> Desk:
    """Aliases in the local place, and the narrow gateway."""
    return Desk(narrow_process, place)


@pytest.fixture(params=["dash", "busybox"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    """stage.sh in an empty folder, under each shell that it is made for."""
    if request.param == "busybox" and connection.vendor == "postgresql":
        pytest.skip("the shell has nothing to do with the database; done in the run on SQLite")
    program = find_program(request.param, package=request.param)
    folder, notes = tmp_path / "job", tmp_path / "notes"
    folder.mkdir()
    notes.mkdir()
    return Stage([program, "sh"] if request.param == "busybox" else [program], folder, notes)
