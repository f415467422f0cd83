"""wget: names, going on, waiting for data, and uploads."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.wire.desk import Desk, sha256
from tests.zoo.files import DATA, ODD_NAMES, assert_arrived, assert_stored, content
from tests.zoo.programs import Ended, run

KEY = "d/x.bin"
NO_WAIT = "--header=Prefer: wait=0"


def wget(folder: Path, *arguments: str | Path) -> Ended:
    return run("wget", "-nv", "--timeout=20", *arguments, package="wget", folder=folder)


@pytest.mark.parametrize("how", [[], ["--content-disposition"]], ids=["from the URL", "from the header"])
def test_the_file_is_named_as_the_object_is(desk: Desk, tmp_path: Path, how: list[str]) -> None:
    for number, name in enumerate((*ODD_NAMES, "empty")):
        data = b"" if name == "empty" else content(number)
        url = desk.url(desk.stored(data, f"d/{name}"))
        ended = wget(tmp_path, *how, "--restrict-file-names=nocontrol", url)
        assert ended.exit == 0, (name, ended.errors)
        # wget decodes a name twice: 100%25.dat is saved as 100%.dat.
        assert_arrived(desk, f"d/{name}", data, tmp_path / unquote(name))


def test_output_document_names_it(desk: Desk, tmp_path: Path) -> None:
    for number, name in enumerate(ODD_NAMES):
        ended = wget(tmp_path, "-O", tmp_path / name, desk.url(desk.stored(content(number), f"d/{name}")))
        assert ended.exit == 0, (name, ended.errors)
        assert_arrived(desk, f"d/{name}", content(number), tmp_path / name)


@pytest.mark.parametrize("there", [0, 1, 1_234_567, len(DATA) - 1, len(DATA)])
def test_a_partial_download_is_gone_on_with_and_a_complete_one_stays(desk: Desk, tmp_path: Path, there: int) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(DATA[:there])
    ended = wget(tmp_path, "-c", desk.url(desk.stored(DATA)))
    assert ended.exit == 0, ended.errors
    assert_arrived(desk, KEY, DATA, target)


def test_data_that_is_not_there_yet_is_exit_8_and_leaves_no_file(desk: Desk, tmp_path: Path) -> None:
    ended = wget(tmp_path, NO_WAIT, "-O", "x", desk.url(desk.read()))
    # With -O the file is made before the first request: an empty file is what a script finds that looks at no status.
    assert (ended.exit, (tmp_path / "x").read_bytes()) == (8, b"")
    ended = wget(tmp_path, NO_WAIT, desk.url(desk.read()))
    assert (ended.exit, (tmp_path / "x.bin").exists()) == (8, False)


def test_uploads_of_a_file_by_put_and_by_post(desk: Desk, tmp_path: Path) -> None:
    ways = [["--method=PUT", "--body-file=out"], ["--post-file=out"]]
    for number, name in enumerate((*ODD_NAMES, "empty")):
        data = b"" if name == "empty" else content(number)
        (tmp_path / "out").write_bytes(data)
        ended = wget(tmp_path, *ways[number % 2], "-O", "-", desk.url(desk.write(f"d/{name}")))
        assert (ended.exit, sha256(data) in ended.output) == (0, True), (name, ended)
        assert_stored(desk, f"d/{name}", data)


def test_a_refused_upload_is_exit_8(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(DATA)
    ended = wget(tmp_path, "--method=PUT", "--body-file=out", "-O", "-", desk.url(desk.write(sha256=sha256(b""))))
    assert ended.exit == 8, ended
    assert desk.current() is None
