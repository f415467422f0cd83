"""A storage that breaks off in the middle of a read: no client takes what came for the file, patient ones get it."""

from pathlib import Path

import httpx
import pytest
import requests

from adapters.errors import Unavailable
from tests.servers.faulty import Faults
from tests.wire.desk import Desk
from tests.zoo.files import DATA, assert_arrived
from tests.zoo.programs import run

KEY = "d/x.bin"
#: Each program with its Debian package, and what has it try once or again and again.
IMPATIENT = {
    "curl": ("curl", ["-q", "-fsS", "-o", "x.bin"]),
    "wget": ("wget", ["-q", "--tries=1", "-O", "x.bin"]),
    "aria2c": ("aria2", ["--no-conf", "-q", "--max-tries=1", "-o", "x.bin"]),
    "rclone": ("rclone", ["copyurl", "--config=/dev/null", "--retries=1", "--low-level-retries=1"]),
}
PATIENT = {
    "curl": ("curl", ["-q", "-fsS", "--retry", "3", "--retry-all-errors", "--retry-delay", "1", "-o", "x.bin"]),
    "wget": ("wget", ["-q", "-O", "x.bin"]),
    "aria2c": ("aria2", ["--no-conf", "-q", "--retry-wait=1", "-o", "x.bin"]),
    "rclone": ("rclone", ["copyurl", "--config=/dev/null"]),
}


@pytest.fixture
def url(faulty_desk: Desk) -> str:
    return faulty_desk.url(faulty_desk.stored(DATA))


def download(name: str, package: str, options: list[str], url: str, folder: Path) -> int:
    """The exit status of the program."""
    target = ["./x.bin"] if name == "rclone" else []
    return run(name, *options, url, *target, package=package, folder=folder).exit


@pytest.mark.parametrize("name", IMPATIENT)
def test_one_try_fails(url: str, faults: Faults, tmp_path: Path, name: str) -> None:
    faults.fail("read", Unavailable, from_byte=2_000_000)
    package, options = IMPATIENT[name]
    assert download(name, package, options, url, tmp_path) != 0


@pytest.mark.parametrize("name", PATIENT)
def test_further_tries_bring_the_file(faulty_desk: Desk, url: str, faults: Faults, tmp_path: Path, name: str) -> None:
    faults.fail("read", Unavailable, from_byte=2_000_000, once=True)
    package, options = PATIENT[name]
    assert download(name, package, options, url, tmp_path) == 0
    assert_arrived(faulty_desk, KEY, DATA, tmp_path / "x.bin")


def test_the_libraries_raise(url: str, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    faults.fail("read", Unavailable, from_byte=2_000_000)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url, timeout=20)
    with requests.get(url, stream=True, timeout=20) as answer, pytest.raises(Exception, match="IncompleteRead"):
        answer.raw.read()
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url, timeout=20, trust_env=False)
