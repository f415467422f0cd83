"""What all groups of the kit stand on: a folder for each test, and writing and reading whole objects."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator

import pytest

from adapters.base import CHUNK_BYTES, Adapter, ObjectStat, Prefix, WriteMode
from adapters.errors import NotFound


class Contract:
    """The base of every group. A subclass gives the ``adapter`` fixture."""

    #: The least a storage takes at once in the middle of an object: 1, or its part size.
    part_bytes: int = 1

    @pytest.fixture
    def folder(self, adapter: Adapter) -> Iterator[str]:
        """A prefix, ending in ``/``, that no other test uses; emptied after the test, which leaked no exception."""
        folder = f"kit-{secrets.token_hex(6)}/"
        yield folder
        self.assert_no_leaks(adapter)
        for key in self.keys(adapter, folder):
            adapter.delete(key)

    @property
    def several_parts(self) -> int:
        """A size in bytes that a storage which writes in parts has to split."""
        return 2 * self.part_bytes + 1

    @property
    def outliving_bytes(self) -> int:
        """A declared size, above ``several_parts``, at which the storage keeps what a process that died has sent."""
        return 2 * self.several_parts

    @staticmethod
    def content(size: int, seed: int = 0) -> bytes:
        """``size`` bytes, the same for the same seed, no two stretches of which are alike."""
        return random.Random(seed).randbytes(size)  # noqa: S311 - content, not a secret

    @staticmethod
    def store(adapter: Adapter, key: str, data: bytes, *, mode: WriteMode = WriteMode.CREATE) -> ObjectStat:
        with adapter.open_write(key, size=len(data), mode=mode) as session:
            for start in range(0, len(data), CHUNK_BYTES):
                session.write(data[start : start + CHUNK_BYTES])
            return session.publish()

    @staticmethod
    def fetch(
        adapter: Adapter, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None
    ) -> bytes:
        with adapter.open_read(key, start, stop, version=version) as stream:
            return b"".join(iter(stream.read, b""))

    @staticmethod
    def keys(adapter: Adapter, prefix: str, *, after: str = "", recursive: bool = True) -> list[str]:
        return [item.key for item in adapter.scan(prefix, after=after, recursive=recursive)]

    def assert_absent(self, adapter: Adapter, key: str) -> None:
        """Nothing lies at the key, by every way of asking."""
        with pytest.raises(NotFound):
            adapter.stat(key)
        with pytest.raises(NotFound):
            adapter.open_read(key).close()
        assert key not in self.keys(adapter, key)

    def assert_nothing_left(self, adapter: Adapter, key: str) -> None:
        self.assert_absent(adapter, key)
        assert adapter.unfinished_writes(key) == []

    @staticmethod
    def assert_no_leaks(adapter: Adapter) -> None:
        assert getattr(adapter, "leaks", 0) == 0, "the adapter let through what is no AdapterError"

    @staticmethod
    def objects(adapter: Adapter, prefix: str) -> dict[str, ObjectStat]:
        found = list(adapter.scan(prefix))
        assert not [item for item in found if isinstance(item, Prefix)], "a scan that descends gave a Prefix"
        return {item.key: item for item in found if isinstance(item, ObjectStat)}
