"""Copies within a local folder, and publishing on file systems whose server loses answers or that need not be safe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters import local_copy, registry
from adapters.base import WriteMode
from adapters.errors import AlreadyExists, VersionChanged
from adapters.local import LocalAdapter
from adapters.testkit import AdapterContract
from adapters.tokens import WriteToken

store, fetch = AdapterContract.store, AdapterContract.fetch
GIB = 1024**3


@pytest.fixture
def local(tmp_path: Path) -> LocalAdapter:
    return LocalAdapter("disk", str(tmp_path))


def test_a_copy_of_a_file_with_holes_has_them_too_and_takes_little_of_the_disk(
    local: LocalAdapter, tmp_path: Path
) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.write(b"head")
        file.seek(3 * GIB)
        file.write(b"in the middle")
        file.truncate(5 * GIB)
    stat = local.copy_within("sparse", WriteToken.new("d/copy", size=None, mode=WriteMode.CREATE))
    assert stat.size == 5 * GIB
    assert os.stat(tmp_path / "d" / "copy").st_blocks * 512 < 10_000_000
    assert fetch(local, "d/copy", 0, 6) == b"head\0\0"
    assert fetch(local, "d/copy", 3 * GIB - 1, 3 * GIB + 14) == b"\0in the middle\0"
    assert fetch(local, "d/copy", 5 * GIB - 1) == b"\0"


@pytest.mark.parametrize("cannot", ["copy_file_range", "lseek"])
def test_a_file_system_that_can_do_less_gets_the_bytes_all_the_same(
    local: LocalAdapter, monkeypatch: pytest.MonkeyPatch, cannot: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    data = os.urandom(3_000_001)
    store(local, "source", data)
    monkeypatch.setattr(local_copy.os, cannot, refuse)
    local.copy_within("source", WriteToken.new("copy", size=None, mode=WriteMode.CREATE))
    assert fetch(local, "copy") == data


def test_a_file_system_that_copies_nothing_and_calls_it_done_leaves_no_zeros(
    local: LocalAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(3_000_001)
    store(local, "source", data)
    monkeypatch.setattr(local_copy.os, "copy_file_range", lambda *_: 0)
    local.copy_within("source", WriteToken.new("copy", size=None, mode=WriteMode.CREATE))
    assert fetch(local, "copy") == data


def test_a_source_that_changes_while_it_is_copied_makes_no_object(
    local: LocalAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(local, "source", b"x" * 1_000_000)

    def change(source: int, target: int, start: int, stop: int) -> None:
        (tmp_path / "source").write_bytes(b"shorter")

    monkeypatch.setattr(local_copy, "_copy", change)
    with pytest.raises(VersionChanged):
        local.copy_within("source", WriteToken.new("copy", size=None, mode=WriteMode.CREATE))
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize(("mode", "step"), [(WriteMode.CREATE, "link"), (WriteMode.REPLACE, "replace")])
def test_a_server_whose_answer_was_lost_has_published(
    local: LocalAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: WriteMode, step: str
) -> None:
    # An NFS client whose answer was lost asks again, and is told that the name is taken, or that the old one is gone.
    real: Callable[..., None] = getattr(os, step)

    def twice(*names: object, **folders: object) -> None:
        real(*names, **folders)
        real(*names, **folders)

    monkeypatch.setattr(os, step, twice)
    stat = store(local, "object", b"data", mode=mode)
    assert stat == local.stat("object")
    assert fetch(local, "object") == b"data"
    assert os.listdir(tmp_path) == ["object"]


def test_a_name_that_another_has_taken_is_no_lost_answer(local: LocalAdapter, tmp_path: Path) -> None:
    with local.open_write("object", size=4) as session:
        session.write(b"mine")
        (tmp_path / "object").write_bytes(b"theirs")
        with pytest.raises(AlreadyExists):
            session.publish()
    assert fetch(local, "object") == b"theirs"


@pytest.mark.parametrize("sync", [True, False])
def test_what_is_published_is_synced_unless_the_storage_is_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    adapter = registry.build("local", "disk", {"root": str(tmp_path), "sync": sync}, {})
    store(adapter, "new/folder/object", b"data")
    # The file, its name in its folder, and the two folders in theirs.
    assert len(synced) == (4 if sync else 0)
