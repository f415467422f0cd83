"""Files that no key can reach: whoever means to get all of a folder is told and never gets less."""

import json
import os
from pathlib import Path

import pytest

from tests.wire.desk import Desk

ODD = {
    "not UTF-8": (b"\xff", "\\xff"),
    "a control character": (b"two\nlines", "two\\x0alines"),
    "too long": (b"x" * 213, "x" * 213),
    "a folder": (b"folder\xff/object", "folder\\xff"),
    "a link that leads out": (b"link", "link"),
}


@pytest.fixture(params=ODD.values(), ids=ODD)
def odd(request: pytest.FixtureRequest, desk: Desk, tmp_path: Path) -> tuple[Path, str]:
    """Where such a file lies beside others, and how it is shown."""
    name, shown = request.param
    path = Path(os.fsdecode(os.fsencode(desk.place.root) + b"/run/1/sub/" + name))
    path.parent.mkdir(parents=True)
    if shown == "link":
        (tmp_path / "elsewhere").write_bytes(b"what the job needs")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_bytes(b"what the job needs")
    (desk.place.root / "run/1/plain").write_bytes(b"plain")
    (desk.place.root / "run/1/sub/\\xff").write_bytes(b"named so")
    return path, f"sub/{shown}"


def test_an_archive_that_would_lack_a_file_is_refused(desk: Desk, odd: tuple[Path, str]) -> None:
    path, shown = odd
    url = desk.folder("run/1/", "read-prefix", mounted=True)
    for _ in range(2):
        answer = desk.ask("GET", f"{url.removesuffix('/')}.tar")
        assert (answer.status, answer.code) == (409, "folder_incomplete")
        assert repr(f"run/1/{shown}") in json.loads(answer.body)["detail"]
    path.unlink()
    if path.parent.name != "sub":
        path.parent.rmdir()
    assert desk.ask("GET", f"{url.removesuffix('/')}.tar").status == 200


def test_a_listing_for_machines_that_would_lack_a_file_is_refused(desk: Desk, odd: tuple[Path, str]) -> None:
    url = desk.folder("run/1/", "read-prefix", mounted=True)
    for query in ("?format=json&recursive=1", "?format=html&recursive=1", "sub/?format=json", "sub/"):
        answer = desk.ask("GET", url + query)
        assert (answer.status, answer.code) == (409, "folder_incomplete"), query
    # All that has a name is there all the same.
    assert desk.ask("GET", url).status == 200
    assert desk.ask("GET", f"{url}plain").body == b"plain"
    assert desk.ask("GET", f"{url}sub/%5Cxff").body == b"named so"
