"""WebDAV keeps the contract on Apache, and on other servers as far as these keep what they promise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.base import Adapter, ReportsSpace
from adapters.errors import AdapterError
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings
from adapters.webdav_write import COLLECTED_BYTES
from tests.adapters.webdav.storages import build, settings_of
from tests.servers.apache import PASSWORD, USER, Apache
from tests.servers.proxy import CuttingProxy


@pytest.fixture(scope="module")
def apache() -> Iterator[Apache]:
    with Apache(password=True) as server:
        yield server


@pytest.fixture(scope="module")
def apache_settings(apache: Apache) -> Settings:
    return settings_of(apache.url, username=USER, credential={"password": PASSWORD})


@pytest.fixture(scope="module")
def apache_adapter(apache_settings: Settings) -> Iterator[Adapter]:
    adapter = build(apache_settings)
    assert [step for step in adapter.check() if not step.ok] == []
    assert adapter.traits.atomic_replace
    yield adapter
    adapter.close()


class TestApache(AdapterContract, OtherProcesses, Network):
    part_bytes = COLLECTED_BYTES
    bulk_memory_bytes = 16 * 1024 * 1024

    @pytest.fixture
    def settings(self, apache_settings: Settings) -> Settings:
        return apache_settings

    @pytest.fixture
    def adapter(self, apache_adapter: Adapter) -> Adapter:
        return apache_adapter

    @pytest.fixture
    def network(self, apache: Apache, settings: Settings) -> Iterator[Line]:
        with CuttingProxy(apache.port) as proxy:
            options = {"url": f"http://127.0.0.1:{proxy.port}/", "connect_timeout_s": 2, "stall_timeout_s": 2}
            adapter = build(Settings("webdav", {**settings.options, **options}, settings.credential))
            yield Line(adapter, proxy)
            adapter.close()

    def test_free_space_is_a_number_of_bytes(self, adapter: Adapter) -> None:
        """Apache has no quotas."""
        assert isinstance(adapter, ReportsSpace)
        with pytest.raises(AdapterError, match="space"):
            adapter.free_bytes()
