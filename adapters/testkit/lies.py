"""Lies: a source that is shorter or longer than it said, or breaks, is never published."""
# ruff: noqa: PT012 - the block under test is the writing and the leaving of it

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.base import Adapter, WriteMode
from adapters.errors import SizeMismatch
from adapters.testkit.base import Contract
from adapters.testkit.visibility import SourceFailed


class Lies(Contract):
    @pytest.fixture(params=[WriteMode.CREATE, WriteMode.REPLACE])
    def mode(self, request: pytest.FixtureRequest) -> WriteMode:
        return WriteMode(request.param)

    def test_short_body_is_never_published(self, adapter: Adapter, folder: str, mode: WriteMode) -> None:
        for declared, written in ((1, 0), (10, 9), (self.several_parts, self.several_parts - 1)):
            self._lie(adapter, f"{folder}object", mode, declared=declared, written=written)

    def test_long_body_is_never_published(self, adapter: Adapter, folder: str, mode: WriteMode) -> None:
        for declared, written in ((0, 1), (10, 11), (self.part_bytes, self.several_parts)):
            self._lie(adapter, f"{folder}object", mode, declared=declared, written=written)

    def test_failing_source_is_never_published(self, adapter: Adapter, folder: str, mode: WriteMode) -> None:
        key = f"{folder}object"
        before = self._before(adapter, key, mode)

        def source() -> Iterator[bytes]:
            yield self.content(self.several_parts)
            raise SourceFailed

        with (
            pytest.raises(SourceFailed),
            adapter.open_write(key, size=self.several_parts + 1, mode=mode) as session,
        ):
            for piece in source():
                session.write(piece)
            session.publish()
        self._assert_as_before(adapter, key, before)

    def _lie(self, adapter: Adapter, key: str, mode: WriteMode, *, declared: int, written: int) -> None:
        before = self._before(adapter, key, mode)
        with pytest.raises(SizeMismatch), adapter.open_write(key, size=declared, mode=mode) as session:
            session.write(self.content(written))
            session.publish()
        self._assert_as_before(adapter, key, before)

    def _before(self, adapter: Adapter, key: str, mode: WriteMode) -> bytes | None:
        if mode is WriteMode.CREATE:
            return None
        self.store(adapter, key, b"the old one", mode=mode)
        return b"the old one"

    def _assert_as_before(self, adapter: Adapter, key: str, before: bytes | None) -> None:
        if before is None:
            self.assert_nothing_left(adapter, key)
        else:
            assert self.fetch(adapter, key) == before
            assert adapter.unfinished_writes(key) == []
