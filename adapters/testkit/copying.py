"""Copying within a storage, where the storage says that it can."""

from __future__ import annotations

import pytest

from adapters.base import Adapter, CopiesWithin, ReportsSpace, WriteMode
from adapters.errors import AlreadyExists, InvalidKey, NotFound
from adapters.testkit.base import Contract
from adapters.tokens import WriteToken


class Copying(Contract):
    def test_copy_is_an_object_of_its_own(self, adapter: Adapter, folder: str) -> None:
        if not isinstance(adapter, CopiesWithin):
            return
        data = self.content(self.several_parts)
        self.store(adapter, f"{folder}source", data)
        stat = adapter.copy_within(
            f"{folder}source", WriteToken.new(f"{folder}d/target", size=None, mode=WriteMode.CREATE)
        )
        assert stat == adapter.stat(f"{folder}d/target")
        adapter.delete(f"{folder}source")
        assert self.fetch(adapter, f"{folder}d/target") == data

    def test_copy_refuses_what_a_write_refuses(self, adapter: Adapter, folder: str) -> None:
        if not isinstance(adapter, CopiesWithin):
            return
        self.store(adapter, f"{folder}source", b"new")
        self.store(adapter, f"{folder}target", b"old")
        with pytest.raises(AlreadyExists):
            adapter.copy_within(f"{folder}source", WriteToken.new(f"{folder}target", size=None, mode=WriteMode.CREATE))
        with pytest.raises(NotFound):
            adapter.copy_within(
                f"{folder}missing", WriteToken.new(f"{folder}target", size=None, mode=WriteMode.REPLACE)
            )
        with pytest.raises(InvalidKey):
            adapter.copy_within(f"{folder}source", WriteToken.new("../target", size=None, mode=WriteMode.REPLACE))
        assert self.fetch(adapter, f"{folder}target") == b"old"
        adapter.copy_within(f"{folder}source", WriteToken.new(f"{folder}target", size=None, mode=WriteMode.REPLACE))
        assert self.fetch(adapter, f"{folder}target") == b"new"

    def test_free_space_is_a_number_of_bytes(self, adapter: Adapter) -> None:
        if isinstance(adapter, ReportsSpace):
            assert adapter.free_bytes() > 0
