"""Other processes: a write goes on where another process left it, and memory stays bounded. For lasting storages."""
# ruff: noqa: ARG002 - pytest needs the fixture named

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

import adapters
from adapters import registry
from adapters.base import Adapter
from adapters.testkit.base import Contract


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``registry.build`` needs to build the same storage in another process."""

    scheme: str
    options: Mapping[str, object]
    credential: Mapping[str, object]


class OtherProcesses(Contract):
    """A subclass gives the ``settings`` fixture besides ``adapter``."""

    bulk_bytes: int = 128 * 1024 * 1024
    bulk_memory_bytes: int = 32 * 1024 * 1024

    @pytest.fixture
    def resumes(self, adapter: Adapter) -> None:
        if not adapter.traits.resumes:
            pytest.skip("this storage cannot resume")

    def test_write_goes_on_where_another_process_suspended_it(
        self, adapter: Adapter, folder: str, settings: Settings, resumes: None
    ) -> None:
        data = self.content(2 * self.several_parts)
        told = elsewhere(settings, "suspend", key=f"{folder}object", size=len(data), bytes=self.several_parts)
        self.assert_absent(adapter, f"{folder}object")
        with adapter.resume_write(str(told["token"])) as session:
            assert self.several_parts - self.part_bytes < session.offset <= self.several_parts
            session.write(data[session.offset :])
            session.publish()
        assert self.fetch(adapter, f"{folder}object") == data

    def test_write_of_a_process_that_died_is_found_and_resumed(
        self, adapter: Adapter, folder: str, settings: Settings, resumes: None
    ) -> None:
        data = self.content(self.outliving_bytes)
        elsewhere(settings, "die", key=f"{folder}object", size=len(data), bytes=self.several_parts)
        self.assert_absent(adapter, f"{folder}object")
        assert self.keys(adapter, folder) == []
        found = adapter.unfinished_writes(f"{folder}object")
        assert len(found) == 1
        with adapter.resume_write(found[0]) as session:
            assert session.offset <= self.several_parts
            session.write(data[session.offset :])
            session.publish()
        assert self.fetch(adapter, f"{folder}object") == data

    def test_write_of_a_process_that_died_is_removed(self, adapter: Adapter, folder: str, settings: Settings) -> None:
        elsewhere(settings, "die", key=f"{folder}object", size=None, bytes=self.several_parts)
        found = adapter.unfinished_writes(f"{folder}object")
        assert len(found) == 1
        adapter.abort_write(found[0])
        self.assert_nothing_left(adapter, f"{folder}object")

    def test_what_is_under_way_is_finished_after_the_adapter_was_closed(
        self, adapter: Adapter, folder: str, settings: Settings
    ) -> None:
        data, written = self.content(4_000_000), self.content(self.several_parts, seed=1)
        self.store(adapter, f"{folder}old", data)
        rotated = registry.build(settings.scheme, "rotated", settings.options, settings.credential)
        with rotated.open_read(f"{folder}old") as stream, rotated.open_write(f"{folder}new", size=None) as session:
            begun = stream.read(1000)
            session.write(written[: len(written) // 2])
            rotated.close()
            assert begun + b"".join(iter(stream.read, b"")) == data
            session.write(written[len(written) // 2 :])
            session.publish()
        rotated.close()
        assert self.fetch(adapter, f"{folder}new") == written

    def test_large_object_passes_through_little_memory(self, adapter: Adapter, folder: str, settings: Settings) -> None:
        for declared in (self.bulk_bytes, None):
            key = f"{folder}{declared}"
            told = elsewhere(settings, "bulk", key=key, size=declared, bytes=self.bulk_bytes)
            assert told["read_bytes"] == self.bulk_bytes
            assert told["read_digest"] == told["written_digest"]
            grown = int(str(told["grown_bytes"]))
            assert grown <= self.bulk_memory_bytes, f"memory grew by {grown} bytes"
            assert adapter.stat(key).size == self.bulk_bytes
            adapter.delete(key)


def elsewhere(
    settings: Settings, deed: str, *, key: str, size: int | None, bytes: int, under: Sequence[str] = ()
) -> dict[str, object]:
    """Have another process build the storage and do a deed of ``adapters.testkit.deeds``; returns what it prints.

    ``under`` is a program, with its arguments, that runs it.
    """
    order = json.dumps({**asdict(settings), "deed": deed, "key": key, "size": size, "bytes": bytes})
    done = subprocess.run(
        [*under, sys.executable, "-m", "adapters.testkit.deeds"],
        input=order,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(adapters.__path__[0]).parent), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told
