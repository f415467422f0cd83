"""Concurrency: one of two creates wins, and no reader sees a replacement half done."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from adapters.base import Adapter, WriteMode
from adapters.errors import AlreadyExists, Truncated, VersionChanged
from adapters.testkit.base import Contract


class Concurrency(Contract):
    def test_second_of_two_open_creates_is_refused(self, adapter: Adapter, folder: str) -> None:
        if not adapter.traits.atomic_create:
            pytest.skip("this storage cannot create atomically")
        key = f"{folder}object"
        with adapter.open_write(key, size=3) as first, adapter.open_write(key, size=3) as second:
            first.write(b"one")
            second.write(b"two")
            first.publish()
            with pytest.raises(AlreadyExists):
                second.publish()
        assert self.fetch(adapter, key) == b"one"
        assert adapter.unfinished_writes(key) == []

    def test_one_of_two_creates_at_once_wins(self, adapter: Adapter, folder: str) -> None:
        if not adapter.traits.atomic_create:
            pytest.skip("this storage cannot create atomically")
        for attempt in range(5):
            key = f"{folder}object-{attempt}"
            start = threading.Barrier(2, timeout=30)

            def create(content: bytes, key: str = key, start: threading.Barrier = start) -> bytes | None:
                try:
                    with adapter.open_write(key, size=len(content)) as session:
                        session.write(content)
                        start.wait()
                        session.publish()
                except AlreadyExists:
                    return None
                return content

            with ThreadPoolExecutor(2) as threads:
                results = list(threads.map(create, (b"one", b"the other")))
            winners = [content for content in results if content is not None]
            assert len(winners) == 1
            assert self.fetch(adapter, key) == winners[0]
            assert adapter.unfinished_writes(key) == []

    def test_replacement_is_never_seen_torn(self, adapter: Adapter, folder: str) -> None:
        if not adapter.traits.atomic_replace:
            pytest.skip("this storage cannot replace atomically")
        key = f"{folder}object"
        contents = [bytes([letter]) * (256 * 1024 + letter) for letter in b"abcdefghij"]
        self.store(adapter, key, contents[0])
        done = threading.Event()

        def read() -> int:
            reads = 0
            while reads == 0 or not done.is_set():
                with suppress(VersionChanged, Truncated):  # Said aloud and nothing mixed: the reader asks again.
                    assert self.fetch(adapter, key) in contents
                reads += 1
            return reads

        with ThreadPoolExecutor(2) as threads:
            readers = [threads.submit(read) for _ in range(2)]
            try:
                for content in contents:
                    self.store(adapter, key, content, mode=WriteMode.REPLACE)
            finally:
                done.set()
            assert all(reader.result(timeout=60) for reader in readers)

    def test_many_objects_are_written_and_read_at_once(self, adapter: Adapter, folder: str) -> None:
        def round_trip(number: int) -> bool:
            data = self.content(100_000 + number, seed=number)
            self.store(adapter, f"{folder}{number}", data)
            return self.fetch(adapter, f"{folder}{number}") == data

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(round_trip, range(24)))
