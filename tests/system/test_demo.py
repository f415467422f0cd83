"""`make demo` plays its eight steps on all three kinds of storage, and names what goes wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from staging.api_keys import issue_key
from staging.states import Role
from tests.conftest import Place
from tests.demo import play
from tests.demo.engine import Engine, Failed
from tests.servers.gateway import ROOT, Gateway
from tests.servers.process import ProgramMissing
from tests.system import own_database


@own_database
def test_the_demo_plays_all_steps_on_local_disk_sftp_and_s3(tmp_path: Path) -> None:
    environment = {**os.environ, "DATA_DIR": str(tmp_path / "none"), "TMPDIR": str(tmp_path)}
    del environment["DJANGO_SETTINGS_MODULE"]  # the tests' own
    demo = subprocess.run(
        [sys.executable, "-m", "tests.demo"], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=240
    )
    if skipped := re.search(r"skipped: (.*not installed.*)", demo.stdout):
        raise ProgramMissing(skipped[1])
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.endswith("OK: the workflow ran on local disk, SFTP, S3\n")
    steps = re.findall(r"^  (\d)  (engine|job 1|job 2)", demo.stdout, re.MULTILINE)
    assert [int(step) for step, _ in steps] == [1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 8, 8, 8] * 3
    assert not re.search(r"/a/[A-Za-z0-9_-]{32}", demo.stdout), "a token was printed"
    assert not list(tmp_path.iterdir()), "something was left behind"


def test_a_job_that_fails_is_named_with_what_it_said(
    gateway: Gateway, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job1.sh").write_text("echo 3 computed nothing; echo out of luck >&2; exit 3")
    monkeypatch.setattr(play, "JOBS", tmp_path)
    _, key = issue_key(place.project, Role.ADMIN, label="demo")
    run = play.Play(Engine(gateway.url, key), place.storage.name, place.managed.name, tmp_path)
    with pytest.raises(Failed, match="job 1 ended with status 3: out of luck"):
        run.all_steps()
