"""rclone with the alias of one object: its http remote, and copyurl."""

from pathlib import Path

from tests.wire.desk import Desk
from tests.zoo.files import DATA, ODD_NAMES, assert_arrived, content
from tests.zoo.rclone import rclone

KEY = "d/x.bin"


def test_copyurl_takes_one_object(desk: Desk, tmp_path: Path) -> None:
    for number, name in enumerate((*ODD_NAMES, "empty")):
        data = b"" if name == "empty" else content(number)
        ended = rclone(tmp_path, "copyurl", desk.url(desk.stored(data, f"d/{name}")), f"./{name}")
        assert ended.exit == 0, (name, ended.errors)
        assert_arrived(desk, f"d/{name}", data, tmp_path / name)


def test_the_http_remote_takes_one_object_by_its_name(desk: Desk, tmp_path: Path) -> None:
    for number, name in enumerate((*ODD_NAMES, "empty")):
        data = b"" if name == "empty" else content(number)
        folder = desk.url(desk.stored(data, f"d/{name}").rsplit("/", 1)[0])
        ended = rclone(tmp_path, "copyto", "--http-url", folder, f":http:{name}", f"./{name}")
        assert ended.exit == 0, (name, ended.errors)
        assert_arrived(desk, f"d/{name}", data, tmp_path / name)


def test_several_streams_make_one_file(desk: Desk, tmp_path: Path) -> None:
    folder = desk.url(desk.stored(DATA).rsplit("/", 1)[0])
    streams = ("--multi-thread-cutoff", "1M", "--multi-thread-streams", "4")
    ended = rclone(tmp_path, "copyto", *streams, "--http-url", folder, ":http:x.bin", "./x.bin")
    assert ended.exit == 0, ended.errors
    assert_arrived(desk, KEY, DATA, tmp_path / "x.bin")


def test_data_that_is_not_there_yet_leaves_no_file(desk: Desk, tmp_path: Path) -> None:
    ended = rclone(tmp_path, "copyurl", "--header", "Prefer: wait=0", desk.url(desk.read()), "./x.bin")
    assert (ended.exit, sorted(tmp_path.glob("x*"))) == (1, [])
