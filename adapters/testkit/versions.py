"""Versions: a read is of one version, and a version is known by its name."""

from __future__ import annotations

import pytest

from adapters.base import Adapter, WriteMode
from adapters.errors import NotFound, Truncated, VersionChanged
from adapters.testkit.base import Contract


class Versions(Contract):
    def test_version_is_the_same_however_it_is_asked_for(self, adapter: Adapter, folder: str) -> None:
        key = f"{folder}object"
        published = self.store(adapter, key, self.content(self.several_parts))
        versions = {published.version, adapter.stat(key).version, self.objects(adapter, folder)[key].version}
        with adapter.open_read(key) as stream:
            versions.add(stream.stat.version)
        assert len(versions) == 1

    def test_version_changes_with_the_content(self, adapter: Adapter, folder: str) -> None:
        key = f"{folder}object"
        first = self.store(adapter, key, b"one")
        contents = [b"longer", b"", b"long"] + ([b"four", b"five"] if adapter.traits.strong_versions else [])
        versions = [first.version]
        for content in contents:
            versions.append(self.store(adapter, key, content, mode=WriteMode.REPLACE).version)
            assert adapter.stat(key).version == versions[-1]
        assert len(set(versions)) == len(versions)

    def test_pinned_read_of_the_version_is_given(self, adapter: Adapter, folder: str) -> None:
        stat = self.store(adapter, f"{folder}object", b"0123456789")
        assert self.fetch(adapter, f"{folder}object", version=stat.version) == b"0123456789"
        assert self.fetch(adapter, f"{folder}object", 2, 5, version=stat.version) == b"234"

    def test_pinned_read_of_another_version_is_refused(self, adapter: Adapter, folder: str) -> None:
        key = f"{folder}object"
        old = self.store(adapter, key, b"old")
        self.store(adapter, key, b"the new one", mode=WriteMode.REPLACE)
        for start, stop in ((0, None), (1, 2), (0, 0)):
            with pytest.raises(VersionChanged):
                adapter.open_read(key, start, stop, version=old.version).close()

    def test_pinned_read_of_a_deleted_object_is_refused(self, adapter: Adapter, folder: str) -> None:
        old = self.store(adapter, f"{folder}object", b"old")
        adapter.delete(f"{folder}object")
        with pytest.raises((NotFound, VersionChanged)):
            adapter.open_read(f"{folder}object", version=old.version).close()

    def test_open_read_never_mixes_two_versions(self, adapter: Adapter, folder: str) -> None:
        key = f"{folder}object"
        old, new = self.content(8 * 1024 * 1024, seed=1), self.content(8 * 1024 * 1024 + 1, seed=2)
        self.store(adapter, key, old)
        with adapter.open_read(key) as stream:
            read = bytearray(stream.read(1000))
            self.store(adapter, key, new, mode=WriteMode.REPLACE)
            try:
                while piece := stream.read():
                    read += piece
            except (VersionChanged, Truncated):
                return
        is_old = read == old  # pytest would take minutes to tell all that differs.
        assert is_old, f"{len(read)} bytes came that are of no single version"
