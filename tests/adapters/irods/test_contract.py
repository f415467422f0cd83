"""iRODS keeps the contract, on the stand-in or on the real server that is named."""
# ruff: noqa: PT012 - the block under test is the writing and the leaving of it

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.base import Adapter, ReportsSpace
from adapters.errors import TimedOut, Unavailable
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings
from tests.adapters.guarantees import Documented
from tests.adapters.irods.storages import REAL, build
from tests.servers.proxy import CuttingProxy


class TestIrods(AdapterContract, OtherProcesses, Network, Documented):
    row = "`irods` (stand-in)"
    bulk_memory_bytes = 32 * 1024 * 1024

    @pytest.fixture
    def network(self, settings: Settings) -> Iterator[Line]:
        if settings.options["host"] not in ("127.0.0.1", "localhost"):
            pytest.skip("the proxy of these tests stands before a server on loopback")
        with CuttingProxy(int(str(settings.options["port"]))) as proxy:
            options = {**settings.options, "port": proxy.port, "connect_timeout_s": 5, "stall_timeout_s": 5}
            adapter = build(Settings("irods", options, settings.credential))
            yield Line(adapter, proxy)
            adapter.close()

    def test_server_that_stalls_times_out(
        self, adapter: Adapter, folder: str, network: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Unlike the kit's: what is written to stays locked until the server hears that its writer has gone."""
        data = self.content(self.network_bytes)
        self.store(adapter, f"{folder}object", data)
        with pytest.raises(TimedOut), network.adapter.open_read(f"{folder}object") as stream:
            stream.read()
            network.proxy.stall()
            while stream.read():
                pass
        network.proxy.restore()
        self._assert_well_again(network, f"{folder}object", data)
        with pytest.raises(TimedOut), network.adapter.open_write(f"{folder}new", size=len(data)) as session:
            network.proxy.stall()
            session.write(data)
        self.assert_absent(adapter, f"{folder}new")
        assert adapter.unfinished_writes(f"{folder}new") == [session.token]
        with monkeypatch.context() as impatient, pytest.raises(Unavailable, match="LOCKED_DATA_OBJECT_ACCESS"):
            impatient.setattr("adapters.irods_objects.RELEASE_S", 0.2)
            adapter.abort_write(session.token)
        network.proxy.restore()
        adapter.abort_write(session.token)
        self.assert_nothing_left(adapter, f"{folder}new")

    def test_free_space_is_a_number_of_bytes(self, adapter: Adapter) -> None:
        assert isinstance(adapter, ReportsSpace)
        if REAL:
            pytest.skip("whether a resource of the named server tells its free space is not known")
        assert adapter.free_bytes() > 0
