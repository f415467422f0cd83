"""aria2c: one file over sixteen connections, going on, names, and digests that it checks itself."""

from pathlib import Path

import pytest

from tests.wire.desk import Desk, sha256
from tests.zoo.files import DATA, ODD_NAMES, assert_arrived, content
from tests.zoo.programs import Ended, run

KEY = "d/x.bin"
#: More than sixteen pieces of the smallest size that aria2c makes.
LARGE = DATA * 4
SEGMENTED = ("-x16", "-s16", "-k1M")


def aria2c(folder: Path, *arguments: str | Path) -> Ended:
    quiet = ("--no-conf", "-q", "--file-allocation=none", "--auto-file-renaming=false", "--allow-overwrite=false")
    return run("aria2c", *quiet, *arguments, package="aria2", folder=folder)


def test_sixteen_segments_make_one_file(desk: Desk, tmp_path: Path) -> None:
    ended = aria2c(tmp_path, *SEGMENTED, desk.url(desk.stored(LARGE)))
    assert ended.exit == 0, ended
    assert_arrived(desk, KEY, LARGE, tmp_path / "x.bin")


def test_the_file_is_named_as_the_object_is(desk: Desk, tmp_path: Path) -> None:
    for number, name in enumerate((*ODD_NAMES, "empty")):
        data = b"" if name == "empty" else content(number)
        ended = aria2c(tmp_path, desk.url(desk.stored(data, f"d/{name}")))
        assert ended.exit == 0, (name, ended)
        assert_arrived(desk, f"d/{name}", data, tmp_path / name)


@pytest.mark.parametrize("there", [0, 1, 1_234_567, len(DATA) - 1, len(DATA)])
def test_a_partial_download_is_gone_on_with_and_a_complete_one_stays(desk: Desk, tmp_path: Path, there: int) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(DATA[:there])
    ended = aria2c(tmp_path, "-c", desk.url(desk.stored(DATA)))
    assert ended.exit == 0, ended
    assert_arrived(desk, KEY, DATA, target)


def test_a_digest_given_to_it_is_checked(desk: Desk, tmp_path: Path) -> None:
    url = desk.url(desk.stored(LARGE))
    for number, (digest, status) in enumerate(((sha256(LARGE), 0), (sha256(b""), 1))):
        ended = aria2c(tmp_path, *SEGMENTED, "-o", str(number), f"--checksum=sha-256={digest}", url)
        # It asks for the digest and compares before it downloads: a wrong one is exit status 1, not 32.
        assert ended.exit == status, ended
    assert_arrived(desk, KEY, LARGE, tmp_path / "0")


def test_data_that_is_not_there_yet_leaves_no_file(desk: Desk, tmp_path: Path) -> None:
    ended = aria2c(tmp_path, "--header=Prefer: wait=0", desk.url(desk.read()))
    assert (ended.exit, sorted(tmp_path.iterdir())) == (29, [])
