"""rclone's http remote on a prefix alias: it lists the HTML, asks HEAD of every file, and leaves out what refuses that.

What a listing must be for that stands in docs/clients.md.
"""

import json
import urllib.request
from pathlib import Path

import pytest

from staging.api_keys import issue_key
from staging.states import Role
from tests.wire.desk import Desk, sha256
from tests.zoo.files import DATA, ODD_NAMES, content, stored_digest
from tests.zoo.rclone import rclone

PREFIX = "run1/"
#: rclone asks for a name with a colon in the top folder as ``./with:colon.txt``; that has a test of its own.
NAMES = tuple(name for name in ODD_NAMES if ":" not in name)
FOLDERS = ("", "sub/", "sub/deep er/", "sub/so:lo/", "100%25/", "what?/")


@pytest.fixture
def tree(desk: Desk, tmp_path: Path) -> Path:
    """A local folder, and below the prefix the same files in the gateway."""
    root = tmp_path / "tree"
    files = {f"{folder}{name}": content(number) for folder in FOLDERS for number, name in enumerate(NAMES)}
    for key, data in {**files, "empty": b"", "sub/large": DATA}.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)
        desk.stored(data, PREFIX + key)
    desk.stored(b"beside", "run10/beside")
    desk.stored(b"above", "above")
    return root


def prefix_url(desk: Desk, prefix: str = PREFIX) -> str:
    """The URL of a read alias of all below the prefix, as the API gives it."""
    _, key = issue_key(desk.place.project, Role.ADMIN, label="rclone")
    wanted = {"bucket": desk.place.managed.name, "key": prefix, "mode": "read-prefix"}
    request = urllib.request.Request(
        f"{desk.gateway.url}/api/v1/aliases",
        data=json.dumps(wanted).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(json.load(answer)["url"])


def below(root: Path) -> list[str]:
    """What ``rclone lsf -R`` should list, sorted."""
    return sorted(f"{path.relative_to(root)}{'/' if path.is_dir() else ''}" for path in root.rglob("*"))


def assert_same(desk: Desk, root: Path, copied: Path) -> None:
    """Every file has come and has the digest of what was stored, and there is nothing more."""
    assert below(copied) == below(root)
    for path in root.rglob("*"):
        if path.is_file():
            name = str(path.relative_to(root))
            assert (
                sha256((copied / name).read_bytes()) == stored_digest(desk, PREFIX + name) == sha256(path.read_bytes())
            )


def test_the_listing_names_every_file_and_folder(desk: Desk, tree: Path, tmp_path: Path) -> None:
    # -vv has it say which file it leaves out, and why.
    ended = rclone(tmp_path, "lsf", "-vv", "-R", "--http-url", prefix_url(desk), ":http:")
    assert ended.exit == 0, ended.errors
    assert sorted(ended.output.splitlines()) == below(tree), ended.errors


@pytest.mark.parametrize("how", [[], ["--http-no-head"]], ids=["with HEAD", "without HEAD"])
def test_a_copy_is_the_same_tree(desk: Desk, tree: Path, tmp_path: Path, how: list[str]) -> None:
    ended = rclone(tmp_path, "copy", *how, "--http-url", prefix_url(desk), ":http:", "./copied")
    assert ended.exit == 0, ended.errors
    assert_same(desk, tree, tmp_path / "copied")


def test_a_copy_of_one_folder(desk: Desk, tree: Path, tmp_path: Path) -> None:
    ended = rclone(tmp_path, "copy", "--http-url", prefix_url(desk), ":http:sub/deep er", "./copied/sub/deep er")
    assert ended.exit == 0, ended.errors
    for number, name in enumerate(NAMES):
        assert (tmp_path / "copied" / "sub" / "deep er" / name).read_bytes() == content(number)


def test_check_reads_every_byte_and_sees_one_that_differs(desk: Desk, tree: Path, tmp_path: Path) -> None:
    url = prefix_url(desk)
    ended = rclone(tmp_path, "check", "--download", tree, "--http-url", url, ":http:")
    assert ended.exit == 0, ended.errors
    (tree / "sub" / "large").write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    ended = rclone(tmp_path, "check", "--download", tree, "--http-url", url, ":http:")
    assert (ended.exit, "1 differences found" in ended.errors) == (1, True), ended.errors


def test_a_name_with_a_colon_comes_from_the_top_folder_too(desk: Desk, tmp_path: Path) -> None:
    desk.stored(DATA, f"{PREFIX}with:colon.txt")
    ended = rclone(tmp_path, "copy", "--http-url", prefix_url(desk), ":http:", "./copied")
    assert ended.exit == 0, ended.errors
    assert (tmp_path / "copied" / "with:colon.txt").read_bytes() == DATA


def test_a_folder_that_rclone_cannot_read_is_no_empty_folder(desk: Desk, tmp_path: Path) -> None:
    # rclone asks for the listing of a folder of this name as ./so:lo/ and then believes none of its links.
    desk.stored(DATA, f"{PREFIX}so:lo/x.bin")
    ended = rclone(tmp_path, "copy", "--http-url", prefix_url(desk), ":http:", "./copied")
    assert ended.exit != 0
    assert "so:lo" in ended.errors
