"""Objects in memory keep the contract, within their capacity."""

from __future__ import annotations

import pytest

from adapters import registry
from adapters.base import Adapter, ReportsSpace, WriteMode
from adapters.errors import OutOfSpace
from adapters.memory import MemoryAdapter
from adapters.testkit import AdapterContract
from tests.adapters.guarantees import Documented


class TestMemory(AdapterContract, Documented):
    row = "`memory`"

    @pytest.fixture
    def adapter(self) -> Adapter:
        return registry.build("memory", "ram", {}, {})


@pytest.fixture
def small() -> MemoryAdapter:
    return MemoryAdapter("ram", capacity_bytes=10)


def test_full_memory_is_out_of_space_and_keeps_what_it_has(small: MemoryAdapter) -> None:
    AdapterContract.store(small, "first", b"123456")
    with pytest.raises(OutOfSpace) as full, small.open_write("second", size=5) as session:
        session.write(b"12345")
    assert (full.value.storage, full.value.key) == ("ram", "second")
    assert AdapterContract.fetch(small, "first") == b"123456"
    assert small.free_bytes() == 4


def test_space_comes_back_on_delete_abort_and_replace(small: MemoryAdapter) -> None:
    assert isinstance(small, ReportsSpace)
    AdapterContract.store(small, "key", b"12345")
    AdapterContract.store(small, "key", b"1234", mode=WriteMode.REPLACE)
    assert small.free_bytes() == 6
    with small.open_write("other", size=None) as session:
        session.write(b"123456")
        assert small.free_bytes() == 0
    assert small.free_bytes() == 6
    small.delete("key")
    assert small.free_bytes() == 10


def test_capacity_that_is_no_number_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity_bytes"):
        MemoryAdapter.build("ram", {"capacity_bytes": -1}, {})
