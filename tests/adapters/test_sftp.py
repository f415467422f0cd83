"""SFTP keeps the contract on a real OpenSSH server, and SFTP's own promises: host keys, logins, pool, links, crashes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters import registry
from adapters.base import Adapter
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings
from tests.servers.proxy import CuttingProxy
from tests.servers.sshd import Sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def settings_of(server: Sshd, **changes: object) -> Settings:
    options = {
        "host": server.host,
        "port": server.port,
        "username": server.user,
        "root": str(server.root),
        "host_key": server.host_key,
    }
    return Settings("sftp", options | changes, {"private_key": server.key_file.read_text()})


def build(settings: Settings) -> Adapter:
    return registry.build(settings.scheme, "files", settings.options, settings.credential)


class TestSftp(AdapterContract, OtherProcesses, Network):
    @pytest.fixture
    def settings(self, sshd: Sshd) -> Settings:
        return settings_of(sshd)

    @pytest.fixture
    def adapter(self, settings: Settings) -> Iterator[Adapter]:
        adapter = build(settings)
        yield adapter
        adapter.close()

    @pytest.fixture
    def network(self, sshd: Sshd) -> Iterator[Line]:
        with CuttingProxy(sshd.port) as proxy:
            adapter = build(settings_of(sshd, port=proxy.port, connect_timeout_s=2, stall_timeout_s=2))
            yield Line(adapter, proxy)
            adapter.close()
