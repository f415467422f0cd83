"""Stand-ins for an iRODS server: one for all tests of a module, and one for a test that breaks or counts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.base import Adapter
from adapters.testkit import Settings
from tests.adapters.irods.storages import REAL, build, real_settings, settings_of
from tests.servers.irods import Irods


@pytest.fixture(scope="module")
def irods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Irods]:
    with Irods(tmp_path_factory.mktemp("irods")) as server:
        yield server


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """The real server where one is named, else the stand-in of the module."""
    return real_settings() if REAL else settings_of(request.getfixturevalue("irods"))


@pytest.fixture
def adapter(settings: Settings) -> Iterator[Adapter]:
    adapter = build(settings)
    yield adapter
    adapter.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Irods]:
    """A stand-in of the test's own, to put faults into, to count on or to kill."""
    with Irods(tmp_path) as server:
        yield server


@pytest.fixture
def zone(server: Irods) -> Iterator[Adapter]:
    """A storage on the test's own stand-in, from which nothing has leaked at the end."""
    adapter = build(settings_of(server, stall_timeout_s=5))
    yield adapter
    adapter.close()
    assert getattr(adapter, "leaks", 0) == 0
