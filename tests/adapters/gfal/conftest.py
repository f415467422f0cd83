"""Real GridFTP servers: one for all tests of a module, and one for a test that counts on it or ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.gridftp import GridFtp


@pytest.fixture(scope="module")
def gridftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridFtp]:
    with GridFtp(tmp_path_factory.mktemp("gridftp")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GridFtp]:
    """A server of the test's own, to count on, to stall or to kill."""
    with GridFtp(tmp_path) as server:
        yield server
