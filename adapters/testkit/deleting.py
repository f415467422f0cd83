"""Deleting: what is deleted is gone, and what was not there is no trouble."""

from __future__ import annotations

from adapters.base import Adapter
from adapters.testkit.base import Contract


class Deleting(Contract):
    def test_deleted_object_is_gone(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}d/object", b"data")
        adapter.delete(f"{folder}d/object")
        self.assert_nothing_left(adapter, f"{folder}d/object")
        assert self.keys(adapter, folder) == []

    def test_deleting_what_is_missing_is_success(self, adapter: Adapter, folder: str) -> None:
        adapter.delete(f"{folder}missing")
        adapter.delete(f"{folder}no/such/folder")
        self.store(adapter, f"{folder}object", b"data")
        adapter.delete(f"{folder}object")
        adapter.delete(f"{folder}object")

    def test_deleted_key_can_be_created_again(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}d/object", b"first")
        adapter.delete(f"{folder}d/object")
        self.store(adapter, f"{folder}d/object", b"second")
        assert self.fetch(adapter, f"{folder}d/object") == b"second"
