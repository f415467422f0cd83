"""requests and httpx, with which Python programs stage their data."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import requests

from tests.wire.desk import Desk
from tests.zoo.files import DATA, ODD_NAMES, assert_arrived, assert_stored, content

KEY = "d/x.bin"
Download = Callable[[str, Path], None]
Upload = Callable[[str, Path], int]


def by_requests(url: str, target: Path) -> None:
    with requests.get(url, stream=True, timeout=20) as answer, target.open("wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_content(256 * 1024):
            file.write(piece)


def by_httpx(url: str, target: Path) -> None:
    with httpx.stream("GET", url, timeout=20, trust_env=False) as answer, target.open("wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_bytes():
            file.write(piece)


def file_by_requests(url: str, source: Path) -> int:
    with source.open("rb") as file:
        return requests.put(url, data=file, timeout=20).status_code


def file_by_httpx(url: str, source: Path) -> int:
    # httpx tells a file's length by its descriptor.
    with source.open("rb") as file:
        return httpx.put(url, content=file, timeout=20, trust_env=False).status_code


def pieces(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while piece := file.read(70_001):
            yield piece


def stream_by_requests(url: str, source: Path) -> int:
    return requests.put(url, data=pieces(source), timeout=20).status_code


def stream_by_httpx(url: str, source: Path) -> int:
    return httpx.put(url, content=pieces(source), timeout=20, trust_env=False).status_code


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize("download", [by_requests, by_httpx])
def test_downloads_of_odd_names_of_nothing_and_of_megabytes(desk: Desk, tmp_path: Path, download: Download) -> None:
    files = {name: content(number) for number, name in enumerate(ODD_NAMES)} | {"empty": b"", "large": DATA}
    for name, data in files.items():
        download(desk.url(desk.stored(data, f"d/{name}")), tmp_path / name)
        assert_arrived(desk, f"d/{name}", data, tmp_path / name)


@pytest.mark.parametrize("upload", [file_by_requests, file_by_httpx])
def test_uploads_of_files(desk: Desk, tmp_path: Path, upload: Upload) -> None:
    files = {name: content(number) for number, name in enumerate(ODD_NAMES)} | {"large": DATA}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert upload(desk.url(desk.write(f"d/{name}")), tmp_path / name) == 201
        assert_stored(desk, f"d/{name}", data)


@pytest.mark.parametrize("upload", [stream_by_requests, stream_by_httpx])
def test_uploads_of_a_generator_are_chunked_and_stored_whole(desk: Desk, tmp_path: Path, upload: Upload) -> None:
    (tmp_path / "x").write_bytes(DATA)
    assert upload(desk.url(desk.write()), tmp_path / "x") == 201
    assert_stored(desk, KEY, DATA)


def test_a_file_that_is_empty_is_refused_where_requests_sends_it_as_a_stream(desk: Desk, tmp_path: Path) -> None:
    # An empty stream may be what a retry had left to send, so it is an object only where the alias says so.
    (tmp_path / "x").write_bytes(b"")
    assert file_by_requests(desk.url(desk.write("d/1")), tmp_path / "x") == 422
    assert file_by_requests(desk.url(desk.write("d/2", allow_empty_stream=True)), tmp_path / "x") == 201
    assert requests.put(desk.url(desk.write("d/3")), data=b"", timeout=20).status_code == 201
    assert file_by_httpx(desk.url(desk.write("d/4")), tmp_path / "x") == 201
    for key in ("d/2", "d/3", "d/4"):
        assert_stored(desk, key, b"")
