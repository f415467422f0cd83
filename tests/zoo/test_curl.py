"""curl in the ways a job's script uses it besides the plain one: by name, going on, old HTTP, many at once."""

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.wire.curl import curl
from tests.wire.desk import Desk, sha256
from tests.zoo.files import DATA, ODD_NAMES, assert_arrived, assert_stored, content

KEY = "d/x.bin"


def test_remote_name_is_the_last_part_of_the_url_as_it_stands_there(desk: Desk, tmp_path: Path) -> None:
    for number, name in enumerate(ODD_NAMES):
        url = desk.url(desk.stored(content(number), f"d/{name}"))
        ended = curl("-fsS", "--output-dir", tmp_path, "-O", url)
        assert (ended.exit, ended.status) == (0, 200), (name, ended.errors)
        assert_arrived(desk, f"d/{name}", content(number), tmp_path / quote(name, safe=""))


def test_header_name_is_taken_from_the_url_too(desk: Desk, tmp_path: Path) -> None:
    # curl reads no filename*=, the only form in which Content-Disposition can say these names, and so takes the URL's.
    for number, name in enumerate(ODD_NAMES):
        url = desk.url(desk.stored(content(number), f"d/{name}"))
        ended = curl("-fsS", "--output-dir", tmp_path, "-OJ", url)
        assert (ended.exit, ended.status) == (0, 200), (name, ended.errors)
        assert_arrived(desk, f"d/{name}", content(number), tmp_path / quote(name, safe=""))


def test_an_odd_name_is_right_where_output_names_it(desk: Desk, tmp_path: Path) -> None:
    for number, name in enumerate(ODD_NAMES):
        ended = curl("-fsS", "-o", tmp_path / name, desk.url(desk.stored(content(number), f"d/{name}")))
        assert (ended.exit, ended.status) == (0, 200), (name, ended.errors)
        assert_arrived(desk, f"d/{name}", content(number), tmp_path / name)


@pytest.mark.parametrize("there", [0, 1, 1_234_567, len(DATA) - 1])
def test_a_partial_download_is_gone_on_with(desk: Desk, tmp_path: Path, there: int) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(DATA[:there])
    ended = curl("-fsS", "-C", "-", "-o", target, desk.url(desk.stored(DATA)))
    assert (ended.exit, ended.status) == (0, 206 if there else 200)
    assert_arrived(desk, KEY, DATA, target)


def test_a_complete_download_stays_as_it_is(desk: Desk, tmp_path: Path) -> None:
    for data in (DATA, b""):
        target = tmp_path / "x.bin"
        target.write_bytes(data)
        ended = curl("-fsS", "-C", "-", "-o", target, desk.url(desk.stored(data, f"d/{len(data)}")))
        assert ended.exit == 0, ended
        assert_arrived(desk, f"d/{len(data)}", data, target)


@pytest.mark.parametrize("version", ["-0", "--http1.1", "--http2"])
def test_every_version_of_http_that_curl_speaks_in_the_clear(desk: Desk, tmp_path: Path, version: str) -> None:
    sent, came = tmp_path / "sent", tmp_path / "came"
    for data, key in ((DATA, "d/x"), (b"", "d/empty")):
        sent.write_bytes(data)
        ended = curl("-fsS", version, "-T", sent, desk.url(desk.write(key)))
        assert (ended.exit, ended.status) == (0, 201), ended.errors
        assert_stored(desk, key, data)
        ended = curl("-fsS", version, "--compressed", "-o", came, desk.url(desk.read(key)))
        assert (ended.exit, ended.status) == (0, 200), ended.errors
        assert_arrived(desk, key, data, came)


def test_a_stream_needs_http_1_1(desk: Desk) -> None:
    ended = curl("-fsS", "-0", "-T", "-", desk.url(desk.write()), stdin=DATA)
    assert ended.exit == 25  # curl refuses by itself: HTTP/1.0 has no chunks
    ended = curl("-fsS", "-T", "-", desk.url(desk.write()), stdin=DATA)
    assert (ended.exit, ended.status) == (0, 201)
    assert_stored(desk, KEY, DATA)


def test_many_transfers_at_once_do_not_mix(desk: Desk, tmp_path: Path) -> None:
    uploads: list[str | Path] = []
    for number, name in enumerate(ODD_NAMES):
        (tmp_path / f"in_{number}").write_bytes(content(number))
        uploads += ["-T", tmp_path / f"in_{number}", desk.url(desk.write(f"d/{name}"))]
    ended = curl("-fsS", "--no-progress-meter", "-Z", "--parallel-immediate", *uploads)
    assert (ended.exit, ended.status) == (0, 201), ended.errors
    downloads: list[str | Path] = []
    for number, name in enumerate(ODD_NAMES):
        assert_stored(desk, f"d/{name}", content(number))
        downloads += ["-o", tmp_path / f"out_{number}", desk.url(desk.read(f"d/{name}"))]
    ended = curl("-fsS", "--no-progress-meter", "-Z", "--parallel-immediate", *downloads)
    assert ended.exit == 0, ended.errors
    for number, name in enumerate(ODD_NAMES):
        assert_arrived(desk, f"d/{name}", content(number), tmp_path / f"out_{number}")


@pytest.mark.parametrize("how", ["-T", "--data-binary"])
def test_uploads_of_odd_names_and_of_nothing(desk: Desk, tmp_path: Path, how: str) -> None:
    for number, name in enumerate((*ODD_NAMES, "empty")):
        data = b"" if name == "empty" else content(number)
        (tmp_path / "out").write_bytes(data)
        value = tmp_path / "out" if how == "-T" else f"@{tmp_path / 'out'}"
        ended = curl("-fsS", how, value, desk.url(desk.write(f"d/{name}")))
        assert (ended.exit, ended.status) == (0, 201), (name, ended.errors)
        assert_stored(desk, f"d/{name}", data)


def test_a_url_that_ends_in_a_slash_takes_the_name_of_the_file(desk: Desk, tmp_path: Path) -> None:
    for number, name in enumerate(ODD_NAMES):
        (tmp_path / name).write_bytes(content(number))
        folder = desk.url(desk.write(f"d/{name}").rsplit("/", 1)[0] + "/")
        # -T globs braces and brackets in the file's name, as -g forbids.
        ended = curl("-fsS", "-g", "-T", tmp_path / name, folder)
        assert (ended.exit, ended.status) == (0, 201), (name, ended.errors)
        assert_stored(desk, f"d/{name}", content(number))


def test_without_fail_the_refusal_becomes_the_file(desk: Desk, tmp_path: Path) -> None:
    pending = desk.url(desk.read("d/never written"))
    ended = curl("-sS", "-H", "Prefer: wait=0", "-o", tmp_path / "x", pending)
    assert (ended.exit, ended.status) == (0, 503)
    assert b'"data_pending"' in (tmp_path / "x").read_bytes()
    ended = curl("-fsS", "-H", "Prefer: wait=0", "-o", tmp_path / "y", pending)
    assert (ended.exit, ended.status, (tmp_path / "y").exists()) == (22, 503, False)


def test_going_on_with_a_file_of_other_content_is_seen_by_its_digest_alone(desk: Desk, tmp_path: Path) -> None:
    target, url = tmp_path / "x.bin", desk.url(desk.stored(DATA))
    target.write_bytes(b"x" * 1000)
    assert curl("-fsS", "-C", "-", "-o", target, url).exit == 0
    assert sha256(target.read_bytes()) != sha256(DATA)
    assert curl("-fsS", f"{url}.sha256").output == f"{sha256(DATA)}  x.bin\n".encode()
