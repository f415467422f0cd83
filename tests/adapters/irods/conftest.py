"""A stand-in for an iRODS server for all tests of a module, in which a test may have a root of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

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
def server(irods: Irods) -> Iterator[Irods]:
    """The stand-in with a root of the test's own, to put faults into, to count on or to kill."""
    irods.begin(f"data-{secrets.token_hex(4)}")
    yield irods
    irods.faults.heal()
    if not irods.processes:
        irods.start()


@pytest.fixture
def zone(server: Irods) -> Iterator[Adapter]:
    """A storage at the test's own root, from which nothing has leaked at the end."""
    adapter = build(settings_of(server, stall_timeout_s=5))
    yield adapter
    adapter.close()
    assert getattr(adapter, "leaks", 0) == 0
