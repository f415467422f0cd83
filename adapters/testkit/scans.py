"""Scans: every key once, in the order of its UTF-8 bytes, folded or not, from anywhere on."""
# ruff: noqa: ARG002 - pytest needs the fixture named

from __future__ import annotations

import pytest

from adapters.base import Adapter, ObjectStat, Prefix
from adapters.testkit.base import Contract

#: Sorted by hand's enemies: "/" lies between "-", "." and "0"; the last two swap places in UTF-16.
NAMES = ("B", "a-b", "a.b", "a/b", "a/c/d", "a/c/e", "a/é", "a0", "aa", "b/c", "z", "é", "日本", "\uff5a", "\U0001f600")


class Scans(Contract):
    @pytest.fixture
    def tree(self, adapter: Adapter, folder: str) -> list[str]:
        return self.plant(adapter, folder)

    def plant(self, adapter: Adapter, folder: str) -> list[str]:
        """Store an object at each of NAMES, the last first; returns their keys in the order of a scan."""
        for name in reversed(NAMES):
            self.store(adapter, folder + name, name.encode())
        return sorted((folder + name for name in NAMES), key=str.encode)

    def test_scan_lists_every_key_once_in_order(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        assert self.keys(adapter, folder) == tree

    def test_scan_tells_what_stat_tells(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        for key, stat in self.objects(adapter, folder).items():
            told = adapter.stat(key)
            assert (stat.key, stat.size, stat.version) == (key, told.size, told.version)

    def test_scan_goes_on_after_any_key(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        for place, key in enumerate(tree):
            assert self.keys(adapter, folder, after=key) == tree[place + 1 :]

    def test_scan_goes_on_after_what_is_no_key(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        for after in ("a", "a/", "a/bb", "a/c", "a/c/", "a/c/d0", "a/z", "c", "zz", "\U0010fffd"):
            expected = [key for key in tree if key.encode() > (folder + after).encode()]
            assert self.keys(adapter, folder, after=folder + after) == expected, after
        assert self.keys(adapter, folder, after="!") == tree
        assert self.keys(adapter, folder, after="~") == []

    def test_prefix_may_be_cut_anywhere(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        for cut in ("a", "a/", "a/c", "a/c/", "a/c/d", "a/c/d/", "a-", "é", "日", "b", "x", "x/y/", ".", "..", "a/.."):
            expected = [key for key in tree if key.startswith(folder + cut)]
            assert self.keys(adapter, folder + cut) == expected, cut
            assert self.keys(adapter, folder.rstrip("/")) == tree

    def test_prefix_and_after_work_together(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        assert self.keys(adapter, f"{folder}a/", after=f"{folder}a/c/d") == [f"{folder}a/c/e", f"{folder}a/é"]
        assert self.keys(adapter, f"{folder}a/", after=f"{folder}A") == self.keys(adapter, f"{folder}a/")
        assert self.keys(adapter, f"{folder}a/", after=f"{folder}b") == []

    def test_folders_are_folded_into_prefixes(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        for prefix, expected in (
            ("", ["B", "a-b", "a.b", "a/", "a0", "aa", "b/", "z", "é", "日本", "\uff5a", "\U0001f600"]),
            ("a/", ["a/b", "a/c/", "a/é"]),
            ("a", ["a-b", "a.b", "a/", "a0", "aa"]),
            ("a/c", ["a/c/"]),
            ("a/c/", ["a/c/d", "a/c/e"]),
            ("a/c/d", ["a/c/d"]),
            ("x", []),
            ("x/", []),
        ):
            found = list(adapter.scan(folder + prefix, recursive=False))
            assert [item.key for item in found] == [folder + name for name in expected], prefix
            for item in found:
                assert isinstance(item, Prefix if item.key.endswith("/") else ObjectStat)

    def test_folded_scan_goes_on_after_any_item(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        items = self.keys(adapter, folder, recursive=False)
        for place, key in enumerate(items):
            assert self.keys(adapter, folder, after=key, recursive=False) == items[place + 1 :], key

    def test_scan_of_the_root_shows_the_folder(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        assert Prefix(folder) in list(adapter.scan(recursive=False))
        assert set(tree) <= set(self.keys(adapter, ""))

    def test_scan_that_is_given_up_leaves_nothing_open(self, adapter: Adapter, folder: str, tree: list[str]) -> None:
        found = iter(adapter.scan(folder))
        assert next(found).key == tree[0]
        del found
        assert self.keys(adapter, folder) == tree
