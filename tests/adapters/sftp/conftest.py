"""Real OpenSSH servers: one for all tests of a module, and one for a test that counts on it or kills it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.base import Adapter
from adapters.sftp_endpoint import Engine
from tests.adapters.sftp.storages import build, settings_of
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


@pytest.fixture(scope="module", params=[Engine.PARAMIKO, Engine.OPENSSH])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of those who speak SSH, for a test of what does not depend on them."""
    return request.param


@pytest.fixture
def ssh_adapter(sshd: Sshd) -> Iterator[Adapter]:
    """A storage whose engine is openssh."""
    with closing(build(settings_of(sshd, Engine.OPENSSH))) as adapter:
        yield adapter
