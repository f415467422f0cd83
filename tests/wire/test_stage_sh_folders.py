"""``stage.sh`` and folders: one archive each way, by the contract's ``.tar`` of a prefix alias."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.servers.ports import is_listening
from tests.servers.process import find_program, wait_until
from tests.servers.proxy import CuttingProxy
from tests.wire.desk import Desk
from tests.wire.stage import LOCAL, Stage
from tests.wire.stand_in import Asked, Resumable, Said, StandIn, Versions

FILES = {"a": b"1" * 300_000, "sub/ü b": b"22", "sub/deep/.c": b"", "-d": b"4"}


@pytest.fixture(params=["tar", "busybox"], autouse=True)
def tar(request: pytest.FixtureRequest, stage: Stage, tmp_path: Path) -> str:
    """Which tar the script finds: the system's, or busybox's."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tar").symlink_to(find_program(request.param, package=request.param))
    stage.settings["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return str(request.param)


def archive(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    """The regular files of an archive by their names; any other member but folders fails."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if not member.isdir():
                content = tar.extractfile(member)
                assert member.isreg(), member
                assert content is not None
                found[os.path.normpath(member.name)] = content.read()
    return found


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plant(folder: Path) -> None:
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("name", ["dir", "dir/", "two words//", "-x"])
def test_a_prefix_becomes_a_new_folder_and_a_break_in_its_archive_is_continued(stage: Stage, name: str) -> None:
    versions = Versions(archive(FILES))
    versions.cut_after = 200_000
    with StandIn(versions) as server:
        ended = stage.run("in", server.url("/a/token/run1/"), name)
        assert {asked.path for asked in server.asked} == {"/a/token/run1.tar"}
        assert [asked.headers.get("Range") for asked in server.asked if asked.method == "GET"][1] == "bytes=200000-"
    assert ended.exit == 0, ended
    assert tree(stage.folder / name) == FILES
    assert os.listdir(stage.folder) == [name.rstrip("/")]
    assert stage.left_notes() == []


def test_an_empty_folder_is_filled_and_a_full_one_is_left_alone(stage: Stage) -> None:
    (stage.folder / "empty").mkdir()
    plant(stage.folder / "full")
    with StandIn(Versions(archive({"a": b"other"}))) as server:
        assert stage.run("in", server.url("/a/token/run1/"), "empty").exit == 0
        assert tree(stage.folder / "empty") == {"a": b"other"}
        asked = len(server.asked)
        ended = stage.run("in", server.url("/a/token/run1/"), "full")
        assert (ended.exit, len(server.asked)) == (LOCAL, asked), ended
    assert tree(stage.folder / "full") == FILES


def test_what_is_no_archive_makes_no_folder(stage: Stage) -> None:
    with StandIn(Versions(os.urandom(50_000))) as server:
        assert stage.run("in", server.url("/a/token/run1/"), "dir").exit == LOCAL
    assert "dir" not in os.listdir(stage.folder)
    assert stage.left_notes() == []


def test_a_member_that_points_outside_leaves_nothing_there(stage: Stage) -> None:
    with StandIn(Versions(archive({"../evil": b"!", "ok": b"1"}))) as server:
        stage.run("in", server.url("/a/token/run1/"), "dir")
    assert not [path for path in stage.folder.parent.rglob("evil") if "dir" not in path.parts]


def test_a_folder_is_sent_as_one_archive_of_plain_files_and_a_break_is_continued(stage: Stage, tar: str) -> None:
    plant(stage.folder / "-my dir")
    (stage.folder / "-my dir" / "link").symlink_to("a")
    if tar == "tar":  # Busybox's packs hard links as links, whatever it is told.
        os.link(stage.folder / "-my dir" / "a", stage.folder / "-my dir" / "twin")
    gateway = Resumable(400_000)
    with StandIn(gateway) as server:
        ended = stage.run("out", "-my dir", server.url("/a/token/run1/"))
        assert {asked.path for asked in server.asked} == {"/a/token/run1.tar"}
    assert ended.exit == 0, ended
    assert gateway.published is not None
    assert members(gateway.published) == {
        **FILES,
        **dict.fromkeys(["link", "twin"][: 2 if tar == "tar" else 1], FILES["a"]),
    }
    assert gateway.received == len(gateway.published)
    assert stage.left_notes() == []


def test_a_folder_with_a_file_that_cannot_be_packed_is_not_sent(stage: Stage) -> None:
    plant(stage.folder / "dir")
    (stage.folder / "dir" / "dangling").symlink_to("nothing")
    with StandIn(Resumable()) as server:
        assert stage.run("out", "dir", server.url("/a/token/run1/")).exit == LOCAL
        assert server.asked == []


def test_a_file_sent_to_a_prefix_keeps_its_name(stage: Stage) -> None:
    paths = []
    gateway = Resumable()

    def noting(asked: Asked) -> Said | None:
        paths.append(asked.path)
        return gateway(asked)

    (stage.folder / "sub").mkdir()
    (stage.folder / "sub" / "ü b?").write_bytes(b"x")
    with StandIn(noting) as server:
        assert stage.run("out", "sub/ü b?", server.url("/a/token/run1/")).exit == 0
    assert paths == ["/a/token/run1/%c3%bc%20%62%3f"]


def test_a_folder_goes_out_and_comes_back_through_a_real_gateway(desk: Desk, stage: Stage) -> None:
    plant(stage.folder / "from")
    up, down = (desk.url(desk.folder("run/7/", mode)) for mode in ("write-prefix", "read-prefix"))
    sent = stage.run("out", "from", up)
    assert sent.exit == 0, sent.words
    with CuttingProxy(desk.port) as proxy:
        through = down.replace(f":{desk.port}/", f":{proxy.port}/")
        proxy.cut_after(150_000)
        running = stage.begin("in", through, "to")
        wait_until(lambda: not is_listening(proxy.port), what="the line is cut")
        proxy.restore()
        came = stage.end(running)
    assert came.exit == 0, came.words
    assert tree(stage.folder / "to") == FILES
    assert stage.run("out", "from", up).exit == 0, "again is a replay"
    desk.assert_nothing_is_left()
