"""Local folders keep the contract on a real file system, and never touch what lies outside their root."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import errors, registry
from adapters.base import LEADS_OUT, NO_KEY, Adapter, ObjectStat, ReportsSpace, Unreachable, WriteMode
from adapters.errors import AccessDenied, AlreadyExists, InvalidKey, NotFound, Offline, VersionChanged, WriteLost
from adapters.local import LocalAdapter
from adapters.rooted import Root
from adapters.testkit import AdapterContract, OtherProcesses, Settings
from tests.adapters.guarantees import Documented

store, fetch, keys = AdapterContract.store, AdapterContract.fetch, AdapterContract.keys


class TestLocal(AdapterContract, OtherProcesses, Documented):
    row = "`local`"

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings("local", {"root": str(tmp_path)}, {})

    @pytest.fixture
    def adapter(self, settings: Settings) -> Adapter:
        return registry.build(settings.scheme, "disk", settings.options, settings.credential)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def local(root: Path) -> LocalAdapter:
    return LocalAdapter("disk", str(root))


@pytest.fixture
def outside(tmp_path: Path, root: Path) -> Path:
    """A folder outside the root, which holds ``secret`` and to which ``link`` in the root leads."""
    outside = tmp_path / "root-outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(outside)
    return outside


def test_files_of_others_are_objects(local: LocalAdapter, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "file").write_bytes(b"data")
    assert fetch(local, "d/file") == b"data"
    assert keys(local, "") == ["d/file"]


def test_unfinished_write_lies_beside_its_target_as_a_partial(local: LocalAdapter, root: Path) -> None:
    with local.open_write("d/object", size=None) as session:
        session.write(b"data")
        digits = session.token.partition(":")[0]
        assert os.listdir(root / "d") == [f".object.{digits}.partial"]
        assert local.unfinished_writes("d/object") == [session.token]
        session.publish()
    assert os.listdir(root / "d") == ["object"]


def test_scan_tells_linked_files_outside_of_the_root(local: LocalAdapter, outside: Path, root: Path) -> None:
    (root / "file").symlink_to(outside / "secret")
    (root / "gone").symlink_to(outside / "gone")
    assert list(local.scan("")) == [Unreachable("file", LEADS_OUT)]
    assert list(local.scan("", after="file")) == []


@pytest.mark.usefixtures("outside")
def test_link_out_of_the_root_is_refused_for_reading(local: LocalAdapter, outside: Path, root: Path) -> None:
    (root / "file").symlink_to(outside / "secret")
    for key in ("link/secret", "file"):
        for call in (local.stat, local.open_read):
            with pytest.raises(InvalidKey, match="leads out of the root"):
                call(key)
    assert not [item for item in local.scan("") if isinstance(item, ObjectStat)]
    with pytest.raises(InvalidKey):
        list(local.scan("link/"))


def test_link_out_of_the_root_is_refused_for_writing_and_nothing_is_made(local: LocalAdapter, outside: Path) -> None:
    for key in ("link/new", "link/folder/new"):
        for mode in WriteMode:
            with pytest.raises(InvalidKey):
                local.open_write(key, size=None, mode=mode)
        with pytest.raises(InvalidKey):
            local.unfinished_writes("link/new")
        with pytest.raises((InvalidKey, WriteLost)):
            local.resume_write(f"{'0' * 32}:{key}")
    (outside / f".secret.{'0' * 32}.partial").touch()
    for call in (lambda: local.delete("link/secret"), lambda: local.abort_write(f"{'0' * 32}:link/secret")):
        with pytest.raises(InvalidKey):
            call()
    assert sorted(os.listdir(outside)) == [f".secret.{'0' * 32}.partial", "secret"]


def test_link_within_the_root_is_followed(local: LocalAdapter, root: Path) -> None:
    store(local, "d/object", b"data")
    (root / "file").symlink_to("d/object")
    (root / "folder").symlink_to("d")
    assert fetch(local, "file") == fetch(local, "folder/object") == b"data"
    assert keys(local, "") == ["d/object", "file"]
    store(local, "folder/new", b"new")
    assert fetch(local, "d/new") == b"new"


def test_link_in_the_place_of_an_object_is_replaced_and_not_written_through(
    local: LocalAdapter, root: Path, outside: Path
) -> None:
    (root / "file").symlink_to(outside / "secret")
    with pytest.raises(AlreadyExists):
        store(local, "file", b"new")
    store(local, "file", b"new", mode=WriteMode.REPLACE)
    assert fetch(local, "file") == b"new"
    assert (outside / "secret").read_bytes() == b"secret"


def test_root_may_itself_be_a_link(tmp_path: Path, root: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    local = LocalAdapter("disk", str(tmp_path / "alias"))
    store(local, "object", b"data")
    assert (root / "object").read_bytes() == b"data"
    assert fetch(local, "object") == b"data"


def test_file_that_is_written_in_place_while_it_is_read_has_changed(local: LocalAdapter, root: Path) -> None:
    for change in (b"X" * 10, b"short"):
        (root / "object").write_bytes(b"0123456789")
        os.utime(root / "object", (1, 1))
        with local.open_read("object") as stream:
            assert stream.read(5) == b"01234"
            (root / "object").write_bytes(change)
            with pytest.raises(VersionChanged):
                stream.read()


def test_replacements_in_quick_succession_have_versions_of_their_own(local: LocalAdapter) -> None:
    versions = {store(local, "object", b"%04d" % turn, mode=WriteMode.REPLACE).version for turn in range(100)}
    assert len(versions) == 100


def test_crash_between_link_and_unlink_leaves_the_object_and_no_write_to_resume(
    local: LocalAdapter, root: Path
) -> None:
    with local.open_write("object", size=None) as session:
        session.write(b"data")
        token = session.suspend()
    os.link(root / f".object.{token[:32]}.partial", root / "object")
    assert local.unfinished_writes("object") == [token]
    with pytest.raises(WriteLost, match="published"):
        local.resume_write(token)
    assert os.listdir(root) == ["object"]
    assert fetch(local, "object") == b"data"


def test_publish_of_a_write_that_was_removed_meanwhile_is_lost(local: LocalAdapter) -> None:
    for mode in WriteMode:
        with local.open_write("object", size=None, mode=mode) as session:
            local.abort_write(session.token)
            with pytest.raises(WriteLost):
                session.publish()
        with pytest.raises(NotFound):
            local.stat("object")


def test_folder_in_the_place_of_an_object_is_refused_for_writing(local: LocalAdapter, root: Path) -> None:
    (root / "d").mkdir()
    for mode in WriteMode:
        with pytest.raises(InvalidKey, match="folder"):
            local.open_write("d", size=None, mode=mode)
    with local.open_write("late", size=0, mode=WriteMode.REPLACE) as session:
        (root / "late").mkdir()
        with pytest.raises(InvalidKey):
            session.publish()
    assert sorted(os.listdir(root)) == ["d", "late"]


def test_key_below_an_object_is_missing_for_reading_and_refused_for_writing(local: LocalAdapter) -> None:
    store(local, "object", b"data")
    for call in (local.stat, local.open_read):
        with pytest.raises(NotFound):
            call("object/below")
    for key in ("object/below", "object/far/below"):
        with pytest.raises(InvalidKey):
            local.open_write(key, size=None)
        local.delete(key)
        assert local.unfinished_writes(key) == []


def test_what_is_neither_file_nor_folder_is_no_object_and_holds_nobody_up(local: LocalAdapter, root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(root, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{folder}/socket")  # Its own path may be too long for a socket.
        os.close(folder)
        for call in (local.stat, local.open_read):
            for key in ("pipe", "socket"):
                with pytest.raises(NotFound):
                    call(key)
    assert keys(local, "") == []


def test_scan_tells_what_no_key_can_name_and_leaves_out_what_is_no_object(local: LocalAdapter, root: Path) -> None:
    for name in (b"\xff\xfe", b"line\nbreak", b"x" * 230, b"." + b"x." + b"0" * 32 + b".partial"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).touch()
    for name, target in (("dangling", "nowhere"), ("round", "round"), ("a\tlink", "nowhere"), ("a\tround", "a\tround")):
        (root / name).symlink_to(target)
    os.mkfifo(root / "a\tpipe")
    Path(os.fsdecode(os.fsencode(root) + b"/folder\xff")).mkdir()
    Path(os.fsdecode(os.fsencode(root) + b"/folder\xff/object")).touch()
    store(local, "object", b"")
    store(local, "\\xff", b"named so")
    unreachable = [
        Unreachable("\\xff\\xfe", NO_KEY),
        Unreachable("folder\\xff", NO_KEY),
        Unreachable("line\\x0abreak", NO_KEY),
        Unreachable("x" * 230, NO_KEY),
    ]
    for recursive in (True, False):
        found = list(local.scan("", recursive=recursive))
        assert [item for item in found if isinstance(item, Unreachable)] == unreachable
        assert [item.key for item in found if not isinstance(item, Unreachable)] == ["\\xff", "object"]
        assert [item.key for item in found] == sorted(item.key for item in found)
        for at, item in enumerate(found):
            assert list(local.scan("", after=item.key, recursive=recursive)) == found[at + 1 :]
    assert list(local.scan("folder")) == unreachable[1:2]


def test_root_that_is_gone_is_offline_and_never_an_object_not_found(local: LocalAdapter, root: Path) -> None:
    store(local, "object", b"data")
    session = local.open_write("other", size=None)
    session.abort()
    (root / "object").unlink()
    root.rmdir()
    for call in (
        lambda: local.stat("object"),
        lambda: local.open_read("object"),
        lambda: local.open_write("object", size=None),
        lambda: local.open_write("folder/object", size=None),
        lambda: local.resume_write(session.token),
        lambda: local.abort_write(session.token),
        lambda: local.unfinished_writes("object"),
        lambda: local.delete("object"),
        lambda: list(local.scan()),
        lambda: local.free_bytes(),
    ):
        with pytest.raises(Offline, match="root folder is not there"):
            call()
    (step,) = local.check()
    assert (step.step, step.ok) == ("root", False)
    assert "root folder is not there; make the folder" in step.detail
    assert not root.exists()


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may do everything; as nobody the tests are refused what others are."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folder_that_is_not_ours_is_access_denied(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "object").write_bytes(b"data")
    os.chmod(tmp_path / "closed", 0)
    local = LocalAdapter("disk", str(tmp_path))
    request.getfixturevalue("unprivileged")
    for call in (
        lambda: local.open_read("closed/object"),
        lambda: local.open_write("closed/new", size=None),
        lambda: local.delete("closed/object"),
    ):
        with pytest.raises(AccessDenied):
            call()


def test_full_disk_is_out_of_space_and_leaves_nothing(root: Path) -> None:
    # A limit on the size of files is the one kind of full disk that needs no privilege.
    script = """
import resource, sys
from adapters.errors import OutOfSpace
from adapters.local import LocalAdapter
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    with LocalAdapter("disk", sys.argv[1]).open_write("object", size=None) as session:
        session.write(b"x" * 10_000)
        session.publish()
except OutOfSpace as full:
    print(session.offset, full)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("4096 storage disk, key 'object': no space left")
    assert os.listdir(root) == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, errors.OutOfSpace),
        (errno.EDQUOT, errors.OutOfSpace),
        (errno.EACCES, errors.AccessDenied),
        (errno.EROFS, errors.AccessDenied),
        (errno.EEXIST, errors.AlreadyExists),
        (errno.ENOENT, errors.NotFound),
        (errno.ENAMETOOLONG, errors.InvalidKey),
        (errno.ENOTDIR, errors.InvalidKey),
        (errno.EISDIR, errors.InvalidKey),
        (errno.ELOOP, errors.InvalidKey),
        (errno.ETIMEDOUT, errors.TimedOut),
        (errno.ENOTCONN, errors.Offline),
        (errno.EIO, errors.Unavailable),
        (errno.ESTALE, errors.Unavailable),
        (errno.EMFILE, errors.Unavailable),
    ],
)
def test_what_the_system_says_is_told_in_the_contracts_words(
    root: Path, number: int, expected: type[errors.AdapterError]
) -> None:
    cause = OSError(number, os.strerror(number))
    with pytest.raises(errors.AdapterError) as told, Root(str(root), storage="disk").translating("key"):
        raise cause
    assert type(told.value) is expected
    assert (told.value.storage, told.value.key) == ("disk", "key")
    assert told.value.__cause__ is cause


def test_free_space_is_that_of_the_file_system(local: LocalAdapter, root: Path) -> None:
    assert isinstance(local, ReportsSpace)
    space = os.statvfs(root)
    assert 0 < local.free_bytes() <= space.f_blocks * space.f_frsize


@pytest.mark.parametrize("root", ["", "relative/path", "nul\0", None, 5])
def test_root_that_is_no_absolute_path_is_refused(root: object) -> None:
    with pytest.raises(ValueError, match="root: an absolute path"):
        LocalAdapter.build("disk", {"root": root}, {})


@pytest.mark.parametrize(
    ("root", "uri"),
    [
        ("/srv/data", "file:///srv/data/"),
        ("/srv//my data/./", "file:///srv/my%20data/"),
        ("/", "file:///"),
        ("/srv/é#?", "file:///srv/%C3%A9%23%3F/"),
    ],
)
def test_base_uri_is_normalised(root: str, uri: str) -> None:
    assert LocalAdapter.base_uri({"root": root}) == uri


def test_the_test_of_a_root_that_is_a_mount_point_says_what_that_means(
    local: LocalAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "mounted" not in local.check()[0].detail
    monkeypatch.setattr(os.path, "ismount", lambda _: True)
    first, *rest = local.check()
    assert first.ok
    assert "one folder further in" in first.detail
    assert all(step.ok for step in rest)
