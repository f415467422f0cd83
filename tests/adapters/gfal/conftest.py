"""Real GridFTP servers: one for all tests of a module, and one for a test that counts on it or ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.gridftp import GridFtp, Identity


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.make(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="session")
def gridftp(identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridFtp]:
    with GridFtp(tmp_path_factory.mktemp("gridftp"), identity) as server:
        yield server


@pytest.fixture
def server(identity: Identity, tmp_path: Path) -> Iterator[GridFtp]:
    """A server of the test's own, to count on, to stall or to kill."""
    with GridFtp(tmp_path, identity) as server:
        yield server
