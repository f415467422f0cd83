"""GridFTP keeps the contract on a real Globus server, as far as gfal2 can carry it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.base import Adapter
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings, keys
from tests.adapters.gfal.sessions import Sessions
from tests.adapters.gfal.storages import build, settings_of
from tests.adapters.guarantees import Documented
from tests.servers.gridftp import GridFtp


@pytest.fixture(scope="module")
def settings(gridftp: GridFtp) -> Settings:
    return settings_of(gridftp, max_processes=4)


@pytest.fixture(scope="module")
def adapter(settings: Settings) -> Iterator[Adapter]:
    """One for all: each process of gfal2 logs in, which takes half a second."""
    adapter = build(settings)
    yield adapter
    adapter.close()


@pytest.fixture
def network(gridftp: GridFtp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The same files through a server of the test's own, whose processes suffer what a line would."""
    with GridFtp(tmp_path_factory.mktemp("line"), gridftp.identity, root=gridftp.root) as server:
        adapter = build(settings_of(server, connect_timeout_s=10, stall_timeout_s=5))
        yield Line(adapter, Sessions(server))
        adapter.close()
        server.resume()


class TestGridFtp(AdapterContract, OtherProcesses, Network, Documented):
    row = "`gsiftp` (Globus)"
    bulk_bytes = 32 * 1024 * 1024
    bulk_memory_bytes = 16 * 1024 * 1024
    network_bytes = 20 * 1024 * 1024

    def test_every_legal_key_names_an_object_of_its_own(
        self, adapter: Adapter, folder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the one that ends in a space, which gfal2 would cut off: test_files.py has it refused."""
        kept = tuple(key for key in keys.LEGAL if not key.endswith(" "))
        assert len(kept) == len(keys.LEGAL) - 1
        monkeypatch.setattr(keys, "LEGAL", kept)
        super().test_every_legal_key_names_an_object_of_its_own(adapter, folder)
