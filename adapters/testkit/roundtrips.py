"""Round trips and ranges: the bytes that come back are those that were written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.base import CHUNK_BYTES, Adapter
from adapters.errors import AlreadyExists, NotFound, RangeInvalid
from adapters.testkit.base import Contract


class RoundTrips(Contract):
    @pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
    @pytest.mark.parametrize("edge", [-1, 0, 1])
    @pytest.mark.parametrize("unit", ["nothing", "chunk", "part", "two parts"])
    def test_what_was_written_comes_back(
        self, adapter: Adapter, folder: str, unit: str, edge: int, declared: bool
    ) -> None:
        units = {"nothing": 1, "chunk": CHUNK_BYTES, "part": self.part_bytes, "two parts": 2 * self.part_bytes}
        data = self.content(units[unit] + edge)
        key = f"{folder}object"
        with adapter.open_write(key, size=len(data) if declared else None) as session:
            assert session.key == key
            assert session.offset == 0
            for start in range(0, len(data), CHUNK_BYTES):
                session.write(data[start : start + CHUNK_BYTES])
            assert session.offset == len(data)
            published = session.publish()
        assert (published.key, published.size) == (key, len(data))
        assert self.fetch(adapter, key) == data

    def test_pieces_of_any_size_and_kind_are_joined(self, adapter: Adapter, folder: str) -> None:
        data = self.content(self.several_parts + 100_000)
        left = memoryview(data)
        with adapter.open_write(f"{folder}object", size=None) as session:
            for size in (1, 0, 7, 65_537):
                session.write(left[:size])
                left = left[size:]
            session.write(bytes(left))
            session.publish()
        assert self.fetch(adapter, f"{folder}object") == data

    def test_writer_may_reuse_its_buffer(self, adapter: Adapter, folder: str) -> None:
        buffer = bytearray(b"first ")
        with adapter.open_write(f"{folder}object", size=12) as session:
            session.write(memoryview(buffer))
            buffer[:] = b"second"
            session.write(memoryview(buffer))
            session.publish()
        assert self.fetch(adapter, f"{folder}object") == b"first second"

    def test_stat_tells_size_and_an_aware_time(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}object", b"12345")
        stat = adapter.stat(f"{folder}object")
        assert (stat.key, stat.size) == (f"{folder}object", 5)
        assert stat.version
        assert stat.version_is_strong == adapter.traits.strong_versions
        if stat.modified is not None:
            assert abs(datetime.now(UTC) - stat.modified) < timedelta(minutes=5)

    def test_stream_describes_what_it_reads(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}object", b"12345")
        with adapter.open_read(f"{folder}object", 1, 3) as stream:
            assert (stream.start, stream.stop) == (1, 3)
            assert stream.stat == adapter.stat(f"{folder}object")
        with adapter.open_read(f"{folder}object") as stream:
            assert (stream.start, stream.stop) == (0, 5)

    def test_read_returns_no_more_than_asked_and_then_nothing(self, adapter: Adapter, folder: str) -> None:
        data = self.content(1000)
        self.store(adapter, f"{folder}object", data)
        with adapter.open_read(f"{folder}object") as stream:
            pieces = []
            while piece := stream.read(7):
                assert len(piece) <= 7
                pieces.append(piece)
            assert b"".join(pieces) == data
            assert stream.read() == b""

    def test_range_holds_exactly_its_bytes(self, adapter: Adapter, folder: str) -> None:
        size = CHUNK_BYTES + self.several_parts
        data = self.content(size)
        self.store(adapter, f"{folder}object", data)
        edges = {0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, self.part_bytes, size - 1, size}
        for start, stop in [(0, 1), (0, size), (size - 1, size), (1, size - 1), *((edge, None) for edge in edges)]:
            assert self.fetch(adapter, f"{folder}object", start, stop) == data[start:stop], f"[{start}, {stop})"

    def test_empty_range_is_legal_everywhere(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}object", b"12345")
        self.store(adapter, f"{folder}empty", b"")
        for edge in (0, 3, 5):
            assert self.fetch(adapter, f"{folder}object", edge, edge) == b""
        assert self.fetch(adapter, f"{folder}empty") == b""
        assert self.fetch(adapter, f"{folder}empty", 0, 0) == b""

    @pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (6, None), (6, 6), (0, 6), (5, 6), (-2, None)])
    def test_range_outside_the_object_is_refused(
        self, adapter: Adapter, folder: str, start: int, stop: int | None
    ) -> None:
        self.store(adapter, f"{folder}object", b"12345")
        with pytest.raises(RangeInvalid):
            adapter.open_read(f"{folder}object", start, stop).close()

    def test_missing_object_is_not_found(self, adapter: Adapter, folder: str) -> None:
        self.assert_nothing_left(adapter, f"{folder}missing")
        self.assert_nothing_left(adapter, f"{folder}no/such/folder/missing")
        with pytest.raises(NotFound):
            adapter.open_read(f"{folder}missing", 5, 9).close()

    def test_stream_closes_early_and_twice(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}object", self.content(4 * CHUNK_BYTES))
        stream = adapter.open_read(f"{folder}object")
        stream.read(10)
        stream.close()
        stream.close()

    def test_errors_name_the_storage_and_the_key(self, adapter: Adapter, folder: str) -> None:
        with pytest.raises(NotFound) as missing:
            adapter.stat(f"{folder}missing")
        assert (missing.value.storage, missing.value.key) == (adapter.name, f"{folder}missing")
        self.store(adapter, f"{folder}object", b"1")
        with pytest.raises(AlreadyExists) as exists:
            self.store(adapter, f"{folder}object", b"2")
        assert (exists.value.storage, exists.value.key) == (adapter.name, f"{folder}object")

    def test_check_finds_everything_in_order(self, adapter: Adapter) -> None:
        before = set(self.keys(adapter, ""))
        steps = adapter.check()
        assert steps
        assert [step for step in steps if not step.ok] == []
        assert set(self.keys(adapter, "")) == before
