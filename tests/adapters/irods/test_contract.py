"""iRODS keeps the contract, on the stand-in or on the real server that is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.base import Adapter, ReportsSpace
from adapters.errors import AdapterError
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings
from tests.adapters.irods.storages import REAL, build
from tests.servers.proxy import CuttingProxy


class TestIrods(AdapterContract, OtherProcesses, Network):
    bulk_memory_bytes = 32 * 1024 * 1024

    @pytest.fixture
    def network(self, settings: Settings) -> Iterator[Line]:
        if settings.options["host"] not in ("127.0.0.1", "localhost"):
            pytest.skip("the proxy of these tests stands before a server on loopback")
        with CuttingProxy(int(str(settings.options["port"]))) as proxy:
            options = {**settings.options, "port": proxy.port, "connect_timeout_s": 2, "stall_timeout_s": 2}
            adapter = build(Settings("irods", options, settings.credential))
            yield Line(adapter, proxy)
            adapter.close()

    def test_free_space_is_a_number_of_bytes(self, adapter: Adapter) -> None:
        assert isinstance(adapter, ReportsSpace)
        if REAL:
            with pytest.raises(AdapterError, match="how much space"):
                adapter.free_bytes()
        else:
            assert adapter.free_bytes() > 0
