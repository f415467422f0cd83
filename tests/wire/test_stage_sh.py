"""stage.sh itself: how it is got, what it says of itself, what it needs, and what it does without."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers.gateway import Gateway
from tests.servers.process import find_program
from tests.wire.curl import curl
from tests.wire.desk import Desk
from tests.wire.stage import GAVE_UP, SCRIPT, TOOL, USAGE, Stage
from tests.wire.stand_in import StandIn, Versions

DATA = os.urandom(1_000_000) * 3

#: The options of curl that the script uses, each with the version that brought it. The script promises 7.61.
OPTIONS = {
    "--suppress-connect-headers": (7, 54),
    "--connect-timeout": (7, 7),
    "--max-redirs": (7, 5),
    "--version": (4, 0),
    **dict.fromkeys(
        ["-q", "-sS", "-g", "-D", "-w", "-I", "-m", "-o", "-r", "-f", "-L", "-Y", "-y", "-C", "-H", "-T"], (7, 9)
    ),
}


def test_the_gateway_serves_it_to_everybody_and_says_when_it_is_the_same(gateway: Gateway, tmp_path: Path) -> None:
    got, head = tmp_path / "stage.sh", tmp_path / "head"
    assert curl("-fsS", "-D", head, "-o", got, f"{gateway.url}/stage.sh").status == 200
    assert got.read_bytes() == SCRIPT.read_bytes()
    headers = dict(line.split(": ", 1) for line in head.read_text().splitlines() if ": " in line)
    assert headers["Content-Type"] == "text/x-shellscript; charset=utf-8"
    assert headers["Waybill-Sha256"] == hashlib.sha256(got.read_bytes()).hexdigest()
    assert curl("-sS", "-H", f"If-None-Match: {headers['ETag']}", f"{gateway.url}/stage.sh").status == 304
    assert curl("-sSI", f"{gateway.url}/stage.sh").status == 200


def test_shellcheck_finds_nothing_in_it() -> None:
    program = find_program("shellcheck", package="shellcheck")
    found = subprocess.run([program, "-s", "sh", str(SCRIPT)], text=True, capture_output=True, timeout=60)
    assert found.stdout == ""
    assert found.returncode == 0


def test_it_is_ascii_so_that_every_locale_can_read_it() -> None:
    assert SCRIPT.read_bytes().isascii()


def test_it_uses_only_options_that_its_oldest_curl_has() -> None:
    asking = re.findall(r"(?:ask|\"\$STAGE_CURL\"|set --) ((?:.*\\\n)*.*)", SCRIPT.read_text())
    used = {word for line in asking for word in re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", line)}
    used -= {"-chf", "-ge"}  # tar's, and test's
    assert used - {"--hard-dereference"} == OPTIONS.keys()
    assert all(version <= (7, 61) for version in OPTIONS.values())


def test_a_copy_that_was_cut_short_is_an_error_and_does_nothing(stage: Stage) -> None:
    lines = SCRIPT.read_text().splitlines(keepends=True)
    copy = stage.folder / "copy.sh"
    begins = lines.index("{\n") + 1
    for count in range(begins, len(lines)):
        copy.write_text("".join(lines[:count]))
        ended = subprocess.run([*stage.shell, str(copy), "help"], capture_output=True, timeout=10)
        assert (ended.returncode, ended.stdout) == (2, b""), count


@pytest.mark.parametrize("word", ["help", "-h", "--help"])
def test_help_names_every_command_setting_and_exit_status(stage: Stage, word: str) -> None:
    ended = stage.run(word)
    assert ended.exit == 0
    text = ended.output.decode()
    script = SCRIPT.read_text()
    assert set(re.findall(r"STAGE_[A-Z_]+", script)) == set(re.findall(r"STAGE_[A-Z_]+", text))
    assert "stage.sh in URL FILE" in text
    assert [int(number) for number in re.findall(r"(?:^|  +)(\d) [a-z]", text, re.MULTILINE)] == [0, 2, 3, 4, 5, 6, 7]


def test_version_is_one_line(stage: Stage) -> None:
    ended = stage.run("version")
    assert (ended.exit, re.fullmatch(rb"stage\.sh \d+\n", ended.output) is not None) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["in"],
        ["in", "http://h/a/t/x"],
        ["out", "x", "http://h/a/t/x", "more"],
        ["fetch", "http://h/a/t/x", "x"],
        ["in", "x", "http://h/a/t/x"],
        ["in", "ftp://h/a/t/x", "x"],
        ["in", "http://h/a/t/x", ""],
        ["in", "http://h/a/t/x", "x/"],
        ["out", ".", "http://h/a/t/x"],
    ],
)
def test_wrong_usage_is_told_and_nothing_is_done(stage: Stage, arguments: list[str]) -> None:
    ended = stage.run(*arguments)
    assert (ended.exit, ended.output) == (USAGE, b"")
    assert ended.words
    assert (stage.files(), stage.left_notes()) == ([], [])


def test_a_setting_that_is_no_number_is_wrong_usage(stage: Stage) -> None:
    ended = stage.run("in", "http://h/a/t/x", "x", STAGE_PATIENCE_S="1h")
    assert (ended.exit, "STAGE_PATIENCE_S" in ended.words) == (USAGE, True)


def test_env_says_that_all_is_there(stage: Stage) -> None:
    ended = stage.run("env")
    assert ended.exit == 0, ended
    assert re.search(rb"^curl +\d+\.\d+\.\d+$", ended.output, re.MULTILINE)
    assert stage.left_notes() == []


@pytest.mark.parametrize(("version", "is_enough"), [("7.60.0", False), ("7.61.0", True), ("10.0.0", True), ("", False)])
def test_env_knows_which_curl_is_too_old(stage: Stage, version: str, is_enough: bool) -> None:
    old = stage.folder / "curl"
    old.write_text(f"#!/bin/sh\necho '{'curl ' if version else ''}{version} (x86_64) libcurl/{version}'\n")
    old.chmod(0o755)
    assert stage.run("env", STAGE_CURL=str(old)).exit == (0 if is_enough else TOOL)


def bare(stage: Stage, *programs: str) -> str:
    """A PATH that has busybox's programs and these of the system, and nothing else."""
    folder = stage.notes.parent / "bare"
    folder.mkdir()
    busybox = find_program("busybox", package="busybox")
    listed = subprocess.run([busybox, "--list"], text=True, capture_output=True, check=True, timeout=10)
    for name in set(listed.stdout.split()) - {"flock", "sha256sum", "tar"}:
        (folder / name).symlink_to(busybox)
    for name in programs:
        if name in ("sha256sum", "tar"):
            (folder / name).symlink_to(busybox)
        else:
            (folder / name).symlink_to(shutil.which(name) or name)
    return str(folder)


def test_env_says_what_is_missing(stage: Stage) -> None:
    path = bare(stage)
    ended = stage.run("env", PATH=path, TMPDIR="/nowhere")
    assert ended.exit == TOOL
    words = ended.output.decode()
    for name in ("curl", "digest", "tar", "flock"):
        assert re.search(rf"^{name} +missing", words, re.MULTILINE), words
    assert "/nowhere cannot be written" in words
    for name in ("in", "out"):
        assert (
            stage.run(name, *(["http://h/a/t/x", "x"] if name == "in" else ["x", "http://h/a/t/x"]), PATH=path).exit
            == TOOL
        )


@pytest.mark.parametrize("program", ["sha256sum", "shasum", "openssl"])
def test_any_digest_program_and_busybox_alone_do(desk: Desk, stage: Stage, program: str) -> None:
    # shasum is a script and brings its perl.
    path = bare(stage, "curl", program, *(["perl"] if program == "shasum" else []))
    (stage.folder / "out\\n").write_bytes(DATA)
    sent = stage.run("out", "out\\n", desk.url(desk.write()), PATH=path)
    assert sent.exit == 0, sent
    got = stage.run("in", desk.url(desk.read()), "in\\n", PATH=path)
    assert got.exit == 0, got
    assert (stage.folder / "in\\n").read_bytes() == DATA
    assert stage.files() == ["in\\n", "out\\n"]


def test_without_locks_breaks_are_continued_within_one_run_and_no_part_is_shared(stage: Stage) -> None:
    path = bare(stage, "curl", "sha256sum")
    (stage.folder / "x.part").write_bytes(b"of another run, which may still write to it")
    versions = Versions(DATA)
    versions.cut_after = 2_000_000
    with StandIn(versions) as server:
        ended = stage.run("in", server.url(), "x", PATH=path)
        ranges = [asked.headers.get("Range") for asked in server.asked if asked.method == "GET"]
    assert ended.exit == 0, ended
    assert ranges == [None, "bytes=2000000-"]
    assert (stage.folder / "x").read_bytes() == DATA
    assert stage.files() == ["x", "x.part"]
    with StandIn(lambda _: None) as server:
        assert stage.run("in", server.url(), "y", PATH=path, STAGE_PATIENCE_S="1").exit == GAVE_UP
    assert stage.files() == ["x", "x.part"]


def test_it_is_quiet_when_told_and_speaks_to_standard_error_only(desk: Desk, stage: Stage) -> None:
    url = desk.url(desk.stored(DATA))
    assert stage.run("in", url, "x", STAGE_VERBOSE="0").words == ""
    ended = stage.run("in", url, "y", STAGE_VERBOSE="1")
    assert re.fullmatch(rf"stage\.sh: brought y: {len(DATA)} bytes, sha256 [0-9a-f]{{64}}\n", ended.words)
    assert url.split("/")[4] not in stage.run("in", url, "z", STAGE_VERBOSE="2").words, "a token is a password"
