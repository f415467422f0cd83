"""Real OpenSSH servers: one for all tests of a module, and one for a test that counts on it or kills it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.sftp_endpoint import Engine
from tests.servers.sshd import Sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    """A server of the test's own, to count on or to kill."""
    with Sshd(tmp_path) as server:
        yield server


@pytest.fixture(params=[Engine.PARAMIKO, Engine.OPENSSH])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of those who speak SSH, for a test of what does not depend on them."""
    return request.param
