"""What somebody else does to the files: cut, written into, linked out of the root; and a disk that is full."""
# ruff: noqa: PT012 - the block under test is the transfer and the leaving of it

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.base import LEADS_OUT, NO_KEY, Adapter, ReportsSpace, Unreachable
from adapters.errors import (
    InvalidKey,
    OutOfSpace,
    Truncated,
    VersionChanged,
    WriteLost,
)
from adapters.sftp_wire import LARGEST_TRANSFER_BYTES, SftpWire
from adapters.testkit import AdapterContract
from tests.adapters.sftp.storages import (
    assert_works,
    build,
    settings_of,
)
from tests.servers.sshd import Sshd

_REST = ("folder/two\\x0alines", f"folder/{'x' * 230}")


class TestChanges:
    """What somebody other than Waybill does to a file while it is read."""

    @pytest.fixture
    def adapter(self, server: Sshd) -> Iterator[Adapter]:
        with closing(build(settings_of(server))) as adapter:
            yield adapter

    def test_file_that_is_cut_while_it_is_read_is_truncated(self, adapter: Adapter, server: Sshd) -> None:
        (server.root / "object").write_bytes(bytes(16_000_000))
        with pytest.raises(Truncated), adapter.open_read("object") as stream:
            stream.read()
            os.truncate(server.root / "object", 1_000_000)
            while stream.read():
                pass

    def test_file_that_is_written_while_it_is_read_has_changed(self, adapter: Adapter, server: Sshd) -> None:
        (server.root / "object").write_bytes(bytes(16_000_000))
        os.utime(server.root / "object", (1, 1))
        with pytest.raises(VersionChanged), adapter.open_read("object") as stream:
            stream.read()
            with (server.root / "object").open("r+b") as file:
                file.write(b"changed")
            while stream.read():
                pass


class TestLinks:
    @pytest.fixture
    def outside(self, server: Sshd) -> Path:
        outside = server.folder / "outside"
        outside.mkdir()
        (outside / "secret").write_text("not for you")
        (server.root / "folder").mkdir()
        (server.root / "folder/object").write_text("data")
        (server.root / "link").symlink_to("folder/object")
        (server.root / "folder-link").symlink_to("folder")
        (server.root / "way-out").symlink_to(outside)
        (server.root / "secret-link").symlink_to(outside / "secret")
        (server.root / "dangling").symlink_to("nowhere")
        return outside

    @pytest.fixture
    def adapter(self, server: Sshd, outside: Path) -> Iterator[Adapter]:
        with closing(build(settings_of(server))) as adapter:
            yield adapter

    def test_links_below_the_root_are_followed(self, adapter: Adapter) -> None:
        assert AdapterContract.fetch(adapter, "link") == b"data"
        assert AdapterContract.fetch(adapter, "folder-link/object") == b"data"
        assert adapter.stat("link").size == 4

    def test_links_out_of_the_root_are_refused(self, adapter: Adapter, outside: Path) -> None:
        for key in ("secret-link", "way-out/secret"):
            with pytest.raises(InvalidKey):
                adapter.stat(key)
            with pytest.raises(InvalidKey):
                adapter.open_read(key)
        for key in ("way-out/new", "way-out/deeper/new"):
            with pytest.raises(InvalidKey):
                adapter.open_write(key, size=1)
        with pytest.raises(InvalidKey):
            adapter.delete("way-out/secret")
        with pytest.raises(InvalidKey):
            list(adapter.scan("way-out/"))
        assert [path.name for path in outside.iterdir()] == ["secret"]

    def test_deleting_a_link_leaves_what_it_leads_to(self, adapter: Adapter, outside: Path) -> None:
        for key in ("link", "secret-link"):
            adapter.delete(key)
        assert AdapterContract.fetch(adapter, "folder/object") == b"data"
        assert (outside / "secret").exists()

    def test_scan_lists_linked_files_and_no_linked_folders(self, adapter: Adapter) -> None:
        *found, secret = adapter.scan()
        assert [item.key for item in found] == ["folder/object", "link"]
        assert secret == Unreachable("secret-link", LEADS_OUT)

    def test_scan_tells_what_no_key_can_name(self, adapter: Adapter, server: Sshd) -> None:
        for name in (b"folder/\xff", b"folder/two\nlines", b"folder/" + b"x" * 230, b"odd\xff"):
            (server.root / os.fsdecode(name)).touch()
        (server.root / "folder/link\t").symlink_to("nowhere")
        AdapterContract.store(adapter, "folder/\\xff", b"named so")
        found = list(adapter.scan("folder/"))
        assert [item.key for item in found] == ["folder/\\xff", "folder/\\xff", "folder/object", *_REST]
        told = [Unreachable(key, NO_KEY) for key in ("folder/\\xff", *_REST)]
        assert [item for item in found if isinstance(item, Unreachable)] == told
        assert AdapterContract.fetch(adapter, "folder/\\xff") == b"named so"
        assert Unreachable("odd\\xff", NO_KEY) in list(adapter.scan(recursive=False))


class TestSpace:
    def test_free_space_is_reported(self, sshd: Sshd) -> None:
        with closing(build(settings_of(sshd))) as adapter:
            space = os.statvfs(sshd.root)
            assert isinstance(adapter, ReportsSpace)
            assert abs(adapter.free_bytes() - space.f_bavail * space.f_frsize) < 1024**3

    def test_full_disk_is_out_of_space_and_keeps_nothing(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        own_disk = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=4m none "$0" && exec "$@"', str(root))
        if subprocess.run([*own_disk, "true"], capture_output=True).returncode:
            pytest.skip("a file system of its own for the server needs the right to mount one")
        with Sshd(tmp_path, wrapper=own_disk) as server, closing(build(settings_of(server))) as adapter:
            with pytest.raises(OutOfSpace), adapter.open_write("object", size=8_000_000) as session:
                session.write(bytes(8_000_000))
                session.publish()
            with adapter.open_write("object", size=None) as session:
                with pytest.raises(OutOfSpace):
                    session.write(bytes(16_000_000))
                for finish in (session.suspend, session.publish):
                    with pytest.raises(WriteLost):
                        finish()
            assert adapter.unfinished_writes("object") == []
            assert_works(adapter)


class TestRequests:
    def test_every_request_but_the_last_is_full_and_the_caller_may_use_its_buffer_again(
        self, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[int] = []
        send = SftpWire.write

        def counting(wire: SftpWire, handle: bytes, offset: int, *data: memoryview) -> int:
            sent.append(sum(map(len, data)))
            return send(wire, handle, offset, *data)

        monkeypatch.setattr(SftpWire, "write", counting)
        data = random.Random(1).randbytes(3_000_000)
        with closing(build(settings_of(sshd))) as adapter, adapter.open_write("object", size=len(data)) as session:
            for pieces in (1, 1000, 300_000, 1_500_000, len(data)):
                buffer = bytearray(data[session.offset : pieces])
                session.write(memoryview(buffer))
                buffer[:] = bytes(len(buffer))
            session.publish()
            assert AdapterContract.fetch(adapter, "object") == data
        assert set(sent[:-1]) == {LARGEST_TRANSFER_BYTES}
        assert sum(sent) == len(data)
