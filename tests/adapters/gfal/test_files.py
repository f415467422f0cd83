"""Files on a GridFTP server: ranges, checksums, replacing, names that gfal2 cannot carry, and copies."""
# ruff: noqa: PT012 - the block under test is the reading or writing and the leaving of it

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.base import NO_KEY, Adapter, CopiesWithin, Unreachable, WriteMode
from adapters.errors import AdapterError, ChecksumMismatch, InvalidKey, TimedOut, Truncated, VersionChanged
from adapters.testkit import AdapterContract
from adapters.tokens import WriteToken
from tests.adapters.gfal.storages import build, failed_step, inner, settings_of
from tests.servers.gridftp import GridFtp, Identity
from tests.servers.process import wait_until

MIB = 1024 * 1024
store, fetch = AdapterContract.store, AdapterContract.fetch


@pytest.fixture(scope="module")
def adapter(gridftp: GridFtp) -> Iterator[Adapter]:
    adapter = build(settings_of(gridftp))
    yield adapter
    assert adapter.leaks == 0  # type: ignore[attr-defined]
    adapter.close()


def partial_of(server: GridFtp, key: str) -> Path:
    """The file that an unfinished write has on the server's disk, once it is there."""
    wait_until(lambda: any(server.root.glob(f".{key}.*.partial")), what="the partial is there")
    return next(server.root.glob(f".{key}.*.partial"))


def test_ranges_far_into_a_large_object_are_the_right_bytes(adapter: Adapter) -> None:
    data = AdapterContract.content(21 * MIB)
    store(adapter, "far", data)
    for start, stop in ((0, None), (3 * MIB, 3 * MIB + 5), (9 * MIB, 18 * MIB), (21 * MIB - 1, None), (21 * MIB, None)):
        assert fetch(adapter, "far", start, stop) == data[start:stop], (start, stop)
    adapter.delete("far")


def test_object_that_shrinks_as_it_is_read_is_noticed(adapter: Adapter, gridftp: GridFtp) -> None:
    store(adapter, "shrinking", AdapterContract.content(9 * MIB))
    with pytest.raises((VersionChanged, Truncated)), adapter.open_read("shrinking") as stream:
        stream.read()
        (gridftp.root / "shrinking").write_bytes(b"short")
        while stream.read():
            pass
    adapter.delete("shrinking")


def test_piece_of_another_version_is_never_given_out(adapter: Adapter) -> None:
    old, new = AdapterContract.content(9 * MIB, seed=1), AdapterContract.content(9 * MIB + 1, seed=2)
    store(adapter, "replaced", old)
    read = bytearray()
    with pytest.raises(VersionChanged), adapter.open_read("replaced", 1, 9 * MIB) as stream:
        read += stream.read()
        store(adapter, "replaced", new, mode=WriteMode.REPLACE)
        while piece := stream.read():
            read += piece
    assert old[1:].startswith(read)
    adapter.delete("replaced")


def test_object_that_is_removed_as_it_is_read_has_changed(adapter: Adapter) -> None:
    store(adapter, "removed", AdapterContract.content(9 * MIB))
    with pytest.raises(VersionChanged), adapter.open_read("removed") as stream:
        stream.read()
        adapter.delete("removed")
        while stream.read():
            pass


def test_folder_of_many_files_is_listed_whole(adapter: Adapter, gridftp: GridFtp) -> None:
    folder = gridftp.root / "many"
    folder.mkdir()
    for number in range(2500):
        (folder / f"{number:04}").touch()
    (folder / os.fsdecode(b"not-\xff-utf8")).touch()
    found = list(adapter.scan("many/"))
    assert found.pop() == Unreachable("many/not-\\xff-utf8", NO_KEY)
    assert [item.key for item in found] == [f"many/{number:04}" for number in range(2500)]
    shutil.rmtree(folder)


@pytest.mark.parametrize("checksum", ["md5", "sha256", "none"])
def test_checksum_may_be_another_one_or_none(gridftp: GridFtp, checksum: str) -> None:
    with closing(build(settings_of(gridftp, checksum=checksum))) as adapter:
        store(adapter, "summed", b"data")
        assert fetch(adapter, "summed") == b"data"
        adapter.delete("summed")
        assert adapter.traits.checksums == {"md5": ("md5",), "sha256": ("sha-256",), "none": ()}[checksum]


def test_bytes_that_changed_on_their_way_are_never_published(adapter: Adapter, gridftp: GridFtp) -> None:
    with pytest.raises(ChecksumMismatch, match="adler32"), adapter.open_write("damaged", size=2 * MIB) as session:
        session.write(AdapterContract.content(2 * MIB))
        partial = partial_of(gridftp, "damaged")
        wait_until(lambda: partial.stat().st_size >= 1000, what="the first bytes are on the disk")
        with partial.open("r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        session.publish()
    AdapterContract().assert_nothing_left(adapter, "damaged")


def test_server_without_checksums_is_explained(identity: Identity, tmp_path: Path) -> None:
    with (
        GridFtp(tmp_path, identity, extra=("-disable-command-list", "CKSM")) as server,
        closing(build(settings_of(server))) as adapter,
    ):
        with pytest.raises(AdapterError, match="computes no adler32") as refused:
            store(adapter, "object", b"data")
        assert not refused.value.transient
        failed = failed_step(adapter)
        assert failed.step == "write"
        assert "checksum" in failed.detail
        assert list(server.root.iterdir()) == []


def test_name_that_ends_in_a_space_is_refused(adapter: Adapter) -> None:
    for key in ("trailing ", "folder /object"):
        with pytest.raises(InvalidKey, match="space"):
            adapter.open_write(key, size=1)
    store(adapter, " leading", b"data")
    assert AdapterContract.keys(adapter, " ") == [" leading"]
    adapter.delete(" leading")


def test_key_whose_url_is_too_long_is_refused(adapter: Adapter) -> None:
    with pytest.raises(InvalidKey, match="URL"):
        adapter.open_write("/".join(["日" * 66] * 5), size=1)


def test_replacing_is_refused_where_a_rename_does_not_overwrite(gridftp: GridFtp) -> None:
    with closing(build(settings_of(gridftp, rename_overwrites=False))) as adapter:
        assert (adapter.traits.atomic_create, adapter.traits.atomic_replace) == (True, False)
        with pytest.raises(AdapterError, match="rename_overwrites") as refused:
            adapter.open_write("object", size=1, mode=WriteMode.REPLACE)
        assert not refused.value.transient


def test_default_says_that_a_create_is_not_atomic(adapter: Adapter) -> None:
    assert (adapter.traits.atomic_create, adapter.traits.atomic_replace) == (False, True)
    assert not adapter.traits.resumes


def test_server_copies_a_large_object_by_itself(adapter: Adapter) -> None:
    assert isinstance(adapter, CopiesWithin)
    data = AdapterContract.content(20 * MIB)
    store(adapter, "source", data)
    process = inner(adapter)._pool.take()
    inner(adapter)._pool.give_back(process)
    before = _moved(process.pid)
    adapter.copy_within("source", WriteToken.new("copy", size=None, mode=WriteMode.CREATE))
    assert _moved(process.pid) - before < MIB, "the bytes passed through us"
    assert fetch(adapter, "copy") == data
    adapter.delete("source")
    adapter.delete("copy")


def test_copy_on_a_server_that_stalls_times_out_and_leaves_nothing(server: GridFtp) -> None:
    with closing(build(settings_of(server, stall_timeout_s=5, connect_timeout_s=10))) as adapter:
        assert isinstance(adapter, CopiesWithin)
        store(adapter, "source", b"data")
        server.stall()
        with pytest.raises(TimedOut):
            adapter.copy_within("source", WriteToken.new("copy", size=None, mode=WriteMode.CREATE))
        server.resume()
        AdapterContract().assert_nothing_left(adapter, "copy")


def _moved(pid: int) -> int:
    """How many bytes a process has read and written so far."""
    counters = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(counters["rchar"]) + int(counters["wchar"])
