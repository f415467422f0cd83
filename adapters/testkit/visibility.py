"""Visibility: nothing is at the key before publish, everything after it, and an abort leaves nothing."""
# ruff: noqa: PT012 - the block under test is the writing and the leaving of it

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.base import Adapter, ListsUnfinished, WriteMode
from adapters.errors import AlreadyExists
from adapters.testkit.base import Contract


class SourceFailed(Exception):
    """What a writer's own source raises in these tests."""


class Visibility(Contract):
    def test_nothing_is_visible_before_publish(self, adapter: Adapter, folder: str) -> None:
        data = self.content(self.several_parts)
        with adapter.open_write(f"{folder}object", size=len(data)) as session:
            self.assert_absent(adapter, f"{folder}object")
            session.write(data)
            self.assert_absent(adapter, f"{folder}object")
            assert self.keys(adapter, folder) == []
            session.publish()
        assert self.keys(adapter, folder) == [f"{folder}object"]
        assert self.fetch(adapter, f"{folder}object") == data

    def test_scan_never_lists_an_unfinished_write(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}neighbour", b"")
        with adapter.open_write(f"{folder}object", size=None) as session:
            session.write(self.content(self.several_parts))
            for recursive in (True, False):
                assert self.keys(adapter, folder, recursive=recursive) == [f"{folder}neighbour"]

    def test_unfinished_write_is_found_by_exactly_its_key(self, adapter: Adapter, folder: str) -> None:
        with adapter.open_write(f"{folder}d/p", size=None) as session:
            session.write(self.content(self.several_parts))
            assert len(adapter.unfinished_writes(f"{folder}d/p")) == 1
            for other in ("d/p.other", "d/p2", "d", "p", "d/p/q"):
                assert adapter.unfinished_writes(folder + other) == []
        assert adapter.unfinished_writes(f"{folder}d/p") == []

    def test_unfinished_writes_below_a_folder_are_listed_and_no_others(self, adapter: Adapter, folder: str) -> None:
        if not isinstance(adapter, ListsUnfinished):
            return
        self.store(adapter, f"{folder}d/object", b"whole")
        with adapter.open_write(f"{folder}d/e/p", size=None) as session, adapter.open_write(f"{folder}q", size=None):
            session.write(self.content(self.several_parts))
            [found] = adapter.scan_unfinished(f"{folder}d/")
            assert found.key == f"{folder}d/e/p"
            assert found.modified is None or abs(datetime.now(UTC) - found.modified) < timedelta(hours=1)
            assert [found.token] == adapter.unfinished_writes(f"{folder}d/e/p")
        assert list(adapter.scan_unfinished(folder)) == []
        assert self.fetch(adapter, f"{folder}d/object") == b"whole"

    @pytest.mark.parametrize("by", ["its own token", "the token found"])
    def test_unfinished_write_is_removed_by_its_token(self, adapter: Adapter, folder: str, by: str) -> None:
        session = adapter.open_write(f"{folder}object", size=None)
        session.write(self.content(self.several_parts))
        found = adapter.unfinished_writes(f"{folder}object")
        assert len(found) == 1
        token = session.token if by == "its own token" else found[0]
        adapter.abort_write(token)
        assert adapter.unfinished_writes(f"{folder}object") == []
        adapter.abort_write(token)
        session.abort()
        self.assert_nothing_left(adapter, f"{folder}object")

    def test_publish_leaves_no_unfinished_write(self, adapter: Adapter, folder: str) -> None:
        for mode in WriteMode:
            self.store(adapter, f"{folder}object", self.content(self.several_parts), mode=mode)
            assert adapter.unfinished_writes(f"{folder}object") == []
            assert self.keys(adapter, folder) == [f"{folder}object"]

    def test_abort_leaves_nothing_and_may_be_repeated(self, adapter: Adapter, folder: str) -> None:
        session = adapter.open_write(f"{folder}object", size=None)
        session.write(self.content(self.several_parts))
        session.abort()
        session.abort()
        self.assert_nothing_left(adapter, f"{folder}object")

    def test_leaving_the_block_leaves_nothing(self, adapter: Adapter, folder: str) -> None:
        with adapter.open_write(f"{folder}object", size=None) as session:
            session.write(self.content(self.several_parts))
        self.assert_nothing_left(adapter, f"{folder}object")
        with adapter.open_write(f"{folder}untouched", size=None):
            pass
        self.assert_nothing_left(adapter, f"{folder}untouched")

    def test_failing_in_the_block_leaves_nothing_and_keeps_the_error(self, adapter: Adapter, folder: str) -> None:
        with pytest.raises(SourceFailed), adapter.open_write(f"{folder}object", size=None) as session:
            session.write(self.content(self.several_parts))
            raise SourceFailed
        self.assert_nothing_left(adapter, f"{folder}object")

    def test_abort_after_publish_changes_nothing(self, adapter: Adapter, folder: str) -> None:
        with adapter.open_write(f"{folder}object", size=4) as session:
            session.write(b"data")
            session.publish()
            session.abort()
        assert self.fetch(adapter, f"{folder}object") == b"data"

    def test_old_object_stays_until_the_new_one_is_published(self, adapter: Adapter, folder: str) -> None:
        key = f"{folder}object"
        old = self.store(adapter, key, b"the old one")
        data = self.content(self.several_parts)
        with adapter.open_write(key, size=None, mode=WriteMode.REPLACE) as session:
            session.write(data)
            assert adapter.stat(key) == old
            assert self.fetch(adapter, key) == b"the old one"
            session.publish()
        assert self.fetch(adapter, key) == data

    def test_aborted_replace_leaves_the_old_object(self, adapter: Adapter, folder: str) -> None:
        key = f"{folder}object"
        old = self.store(adapter, key, b"the old one")
        with adapter.open_write(key, size=None, mode=WriteMode.REPLACE) as session:
            session.write(self.content(self.several_parts))
        assert adapter.stat(key) == old
        assert self.fetch(adapter, key) == b"the old one"
        assert adapter.unfinished_writes(key) == []

    def test_replace_of_nothing_creates(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}object", b"data", mode=WriteMode.REPLACE)
        assert self.fetch(adapter, f"{folder}object") == b"data"

    def test_create_refuses_an_existing_object_and_leaves_it(self, adapter: Adapter, folder: str) -> None:
        key = f"{folder}object"
        old = self.store(adapter, key, b"the old one")
        with pytest.raises(AlreadyExists):
            self.store(adapter, key, self.content(self.several_parts))
        assert adapter.stat(key) == old
        assert self.fetch(adapter, key) == b"the old one"
        assert adapter.unfinished_writes(key) == []
