"""`make up`: what it prints works as printed, Ctrl-C leaves nothing running, and what is wrong is one sentence."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.gateway import ROOT
from tests.servers.ports import free_port
from tests.servers.process import Process, wait_until
from tests.system import own_database

pytestmark = own_database

#: make is told not to look whether packages have to be installed: the tests run in what it would make.
MAKE_UP = ["make", "-s", "-o", "install", "up"]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """An environment with nothing of the test run's own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port())}


def running(data_dir: str) -> list[int]:
    """The processes that were started with this DATA_DIR."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if f"DATA_DIR={data_dir}".encode() in environment and state != "Z":
            found.append(int(process.name))
    return found


def start(settings: dict[str, str], log: Path) -> Process:
    process = Process.start("up", ["env", "-C", str(ROOT), *MAKE_UP], log=log, env=settings)
    process.wait_ready(lambda: "Ctrl-C stops everything" in log.read_text(), what="ready")
    return process


def test_what_it_prints_works_an_interrupt_leaves_nothing_and_a_second_start_keeps_all(
    settings: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "first.log"
    process = start(settings, log)
    try:
        printed = log.read_text()
        assert re.search(r"user 'admin', password '\S+' \(shown this once\)", printed)
        quickstart = tmp_path / "data" / "quickstart.env"
        assert quickstart.stat().st_mode & 0o777 == 0o600
        lines = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
        assert len(lines) == 3
        pasted = subprocess.run(["bash", "-c", "\n".join(lines)], cwd=tmp_path, text=True, capture_output=True)
        assert pasted.stdout.endswith("hello, world\n"), pasted
        assert len(running(settings["DATA_DIR"])) > 3
    finally:
        process.popen.send_signal(signal.SIGINT)  # to make alone, as a supervisor does
        process.popen.wait(30)
    assert not running(settings["DATA_DIR"])
    for noise in ("Traceback", "Warning", "superuser", "ERROR", "Error"):
        assert noise not in log.read_text()

    left = quickstart.read_text()
    process = start(settings, tmp_path / "second.log")
    os.killpg(process.pid, signal.SIGINT)  # to all, as a terminal does
    process.popen.wait(30)
    assert not running(settings["DATA_DIR"])
    assert quickstart.read_text() == left
    assert "password" not in (tmp_path / "second.log").read_text()


def test_when_one_process_ends_all_end_and_it_says_so(settings: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    process = start(settings, log)
    scheduler = re.search(r"scheduler started \(pid=(\d+)\)", log.read_text())
    assert scheduler
    os.kill(int(scheduler[1]), signal.SIGKILL)
    assert process.popen.wait(30) != 0
    assert "One of the processes ended by itself" in log.read_text()
    wait_until(lambda: not running(settings["DATA_DIR"]), what="all processes are gone")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "no port", "PORT='no port' is not usable, expected a whole number from 1 to 65535"),
        ("HOST", "192.0.2.1", "of 192.0.2.1 cannot be used (Cannot assign requested address). Set HOST and PORT."),
        ("DATA_DIR", "/proc", "DATA_DIR='/proc' is not usable, expected a folder that can be made or written"),
        ("DATABASE_URL", "nonsense", "DATABASE_URL='(not shown)' is not usable, expected postgres://"),
        ("DATABASE_URL", "postgres://u:hidden@127.0.0.1:1/x", "The database of DATABASE_URL does not let us in"),
        ("DATABASE_URL", "sqlite:////nonexistent/x.sqlite3", "The catalog cannot be set up: unable to open database"),
        ("BROKER_URL", "redis://:hidden@127.0.0.1:1/0", "The broker of BROKER_URL does not answer"),
        ("BROKER_URL", "nothing://", "The broker of BROKER_URL does not answer: 'No such transport: nothing'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(settings: dict[str, str], name: str, value: str, sentence: str) -> None:
    answer = subprocess.run(MAKE_UP, cwd=ROOT, env=settings | {name: value}, text=True, capture_output=True, timeout=60)
    assert answer.returncode != 0
    assert sentence in answer.stderr
    assert "hidden" not in answer.stdout + answer.stderr
    assert len([line for line in answer.stderr.splitlines() if not line.startswith("make: ***")]) == 1, answer.stderr


def test_a_taken_port_is_named(settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(settings["PORT"]))):
        answer = subprocess.run(MAKE_UP, cwd=ROOT, env=settings, text=True, capture_output=True, timeout=60)
    assert answer.returncode != 0
    assert f"Port {settings['PORT']} of 127.0.0.1 cannot be used (Address already in use)" in answer.stderr


def test_a_catalog_in_a_folder_that_others_may_enter_is_read_by_its_owner_alone(
    settings: dict[str, str], tmp_path: Path
) -> None:
    folder = Path(settings["DATA_DIR"])
    folder.mkdir(mode=0o755)
    subprocess.run([sys.executable, ROOT / "manage.py", "migrate", "-v0"], env=settings, check=True)
    readable = [path.name for path in folder.iterdir() if path.is_file() and path.stat().st_mode & 0o077]
    assert readable == []
