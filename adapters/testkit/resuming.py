"""Resuming: a suspended write goes on where it was, bound by what its first writer declared."""
# ruff: noqa: PT012 - the block under test is the writing and the leaving of it

from __future__ import annotations

import pytest

from adapters.base import Adapter, ReadsUnfinished, WriteMode
from adapters.errors import AlreadyExists, SizeMismatch, WriteLost
from adapters.testkit.base import Contract


class Resuming(Contract):
    def test_suspended_write_goes_on_and_is_published_whole(self, adapter: Adapter, folder: str) -> None:
        data = self.content(2 * self.several_parts)
        cut = self.several_parts
        with adapter.open_write(f"{folder}object", size=len(data)) as session:
            session.write(data[:cut])
            if not adapter.traits.resumes:
                with pytest.raises(WriteLost):
                    session.suspend()
                return
            token = session.suspend()
        self.assert_absent(adapter, f"{folder}object")
        assert self.keys(adapter, folder) == []
        with adapter.resume_write(token) as session:
            assert session.key == f"{folder}object"
            assert cut - self.part_bytes < session.offset <= cut
            session.write(data[session.offset :])
            assert session.offset == len(data)
            session.publish()
        assert self.fetch(adapter, f"{folder}object") == data
        assert adapter.unfinished_writes(f"{folder}object") == []

    def test_write_may_be_suspended_time_and_again(self, adapter: Adapter, folder: str) -> None:
        data = self.content(3 * self.several_parts)
        token = self._suspended(adapter, f"{folder}object", data[:0], size=None)
        for stop in (1, self.part_bytes, self.several_parts, 2 * self.several_parts):
            with adapter.resume_write(token) as session:
                session.write(data[session.offset : stop])
                token = session.suspend()
        with adapter.resume_write(token) as session:
            session.write(data[session.offset :])
            session.publish()
        assert self.fetch(adapter, f"{folder}object") == data

    def test_suspended_write_is_found_and_removed(self, adapter: Adapter, folder: str) -> None:
        token = self._suspended(adapter, f"{folder}object", self.content(self.several_parts), size=None)
        assert len(adapter.unfinished_writes(f"{folder}object")) == 1
        adapter.abort_write(token)
        self.assert_nothing_left(adapter, f"{folder}object")
        with pytest.raises(WriteLost):
            adapter.resume_write(token).abort()

    def test_resumed_write_that_is_aborted_leaves_nothing(self, adapter: Adapter, folder: str) -> None:
        token = self._suspended(adapter, f"{folder}object", self.content(self.several_parts), size=None)
        with adapter.resume_write(token) as session:
            session.write(b"more")
        self.assert_nothing_left(adapter, f"{folder}object")

    def test_published_write_cannot_be_resumed(self, adapter: Adapter, folder: str) -> None:
        with adapter.open_write(f"{folder}object", size=4) as session:
            session.write(b"data")
            session.publish()
        with pytest.raises(WriteLost):
            adapter.resume_write(session.token).abort()
        assert self.fetch(adapter, f"{folder}object") == b"data"

    def test_resumed_create_still_refuses_an_existing_object(self, adapter: Adapter, folder: str) -> None:
        token = self._suspended(adapter, f"{folder}object", b"late", size=4)
        self.store(adapter, f"{folder}object", b"first")
        with pytest.raises(AlreadyExists), adapter.resume_write(token) as session:
            session.write(b"late"[session.offset :])
            session.publish()
        assert self.fetch(adapter, f"{folder}object") == b"first"
        assert adapter.unfinished_writes(f"{folder}object") == []

    def test_resumed_replace_still_replaces(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}object", b"old")
        token = self._suspended(adapter, f"{folder}object", b"new", size=None, mode=WriteMode.REPLACE)
        with adapter.resume_write(token) as session:
            session.write(b"new"[session.offset :])
            session.publish()
        assert self.fetch(adapter, f"{folder}object") == b"new"

    def test_resumed_write_is_held_to_the_declared_size(self, adapter: Adapter, folder: str) -> None:
        data = self.content(self.several_parts)
        for written in (len(data) - 1, len(data) + 1):
            token = self._suspended(adapter, f"{folder}object", data[:-1], size=len(data))
            with pytest.raises(SizeMismatch), adapter.resume_write(token) as session:
                session.write((data + b"!")[session.offset : written])
                session.publish()
            self.assert_nothing_left(adapter, f"{folder}object")

    def test_unfinished_bytes_can_be_read_where_the_storage_says_so(self, adapter: Adapter, folder: str) -> None:
        if not isinstance(adapter, ReadsUnfinished):
            return
        data = self.content(self.several_parts)
        token = self._suspended(adapter, f"{folder}object", data, size=None)
        with adapter.read_unfinished(token) as stream:
            assert b"".join(iter(stream.read, b"")) == data
        self.assert_absent(adapter, f"{folder}object")
        with adapter.resume_write(token) as session:
            session.publish()
        with pytest.raises(WriteLost):
            adapter.read_unfinished(token)
        assert self.fetch(adapter, f"{folder}object") == data

    def _suspended(
        self, adapter: Adapter, key: str, data: bytes, *, size: int | None, mode: WriteMode = WriteMode.CREATE
    ) -> str:
        if not adapter.traits.resumes:
            pytest.skip("this storage cannot resume")
        with adapter.open_write(key, size=size, mode=mode) as session:
            session.write(data)
            return session.suspend()
