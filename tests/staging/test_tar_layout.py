"""The layout of a tar: what stands around the members is as long as announced, and every reader understands it."""

import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import InvalidKey
from adapters.keys import check_key
from staging import tar_layout
from tests.servers.process import find_program

#: The programs that jobs have, and the Debian packages that hold them.
PROGRAMS = {"tar": "tar", "bsdtar": "libarchive-tools", "busybox": "busybox"}
MTIME = 1_764_000_000
NAMES = {
    "plain": "a.txt",
    "spaced": "with space/and 'quotes' \"x\"",
    "just fits": "n" * 100,
    "split": "folder/" * 12 + "name-" * 15,
    "widest split": "p" * 155 + "/" + "n" * 100,
    "cannot be split": "n" * 101,
    "deep": "/".join(["d" * 60] * 16),
    "not ascii": "Mäuse/Ωmega/日本.bin",
    "not ascii and long": "ü" * 100 + "/" + "ö" * 100,
    "cut after a slash": "é" + "x" * 98 + "/" + "y" * 100,
    "like a header": "././x"[4:] + "PaxHeader",
    "dash": "-rf",
}


def is_legal(name: str) -> bool:
    try:
        check_key(name)
    except InvalidKey:
        return False
    return True


legal_names = st.text(min_size=1, max_size=300).filter(is_legal)
member_sets = st.dictionaries(legal_names, st.binary(max_size=1500), max_size=8)


def tar(files: Mapping[str, bytes]) -> bytes:
    parts = [
        tar_layout.header(name, len(data), MTIME) + data + tar_layout.padding(len(data)) for name, data in files.items()
    ]
    return b"".join(parts) + tar_layout.END


def read_back(archive: bytes) -> dict[str, bytes]:
    """With Python's reader, which must find nothing but plain files with the fixed facts."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", errorlevel=2) as reader:
        for member in reader:
            assert (member.type, member.mode, member.mtime) == (tarfile.REGTYPE, 0o644, MTIME)
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            content = reader.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    return found


@given(member_sets)
def test_python_reads_what_was_laid_out(files: dict[str, bytes]) -> None:
    assert read_back(tar(files)) == files


@given(legal_names, st.one_of(st.integers(0, 3000), st.integers(8**11 - 2, 8**11 + 2), st.integers(0, 2**63 - 1)))
@settings(max_examples=500)
def test_the_length_is_known_without_the_bytes(name: str, size: int) -> None:
    header = tar_layout.header(name, size, MTIME)
    assert len(header) == tar_layout.header_bytes(name, size)
    assert len(header) % 512 == 0
    assert tar_layout.member_bytes(name, size) == len(header) + size + len(tar_layout.padding(size))
    member = tarfile.TarInfo.frombuf(header[-512:], "utf-8", "strict")
    assert member.size == (size if size < 8**11 else 0)


def test_a_plain_header_is_the_one_that_posix_describes() -> None:
    header = tar_layout.header("a/b.txt", 1234, MTIME)
    assert header == (
        b"a/b.txt".ljust(100, b"\0")
        + b"0000644\x000000000\x000000000\x0000000002322\x0015111100400\x00"
        + b"010424\0 0".ljust(109, b"\0")
        + b"ustar\x0000".ljust(72, b"\0")
        + b"0000000\x000000000\x00".ljust(183, b"\0")
    )


@pytest.mark.parametrize("mtime", [-5, 0, 8**11 - 1, 8**12])
def test_a_time_that_does_not_fit_is_the_nearest_that_does(mtime: int) -> None:
    header = tar_layout.header("a", 0, mtime)
    assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").mtime == min(max(mtime, 0), 8**11 - 1)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_tars_that_jobs_have_extract_every_kind_of_name(program: str, tmp_path: Path) -> None:
    files = {name: f"{kind}\n".encode() * 200 for kind, name in NAMES.items()}
    if program == "busybox":  # It knows no extended headers.
        files = {
            name: data for name, data in files.items() if name.isascii() and tar_layout.header_bytes(name, 1) == 512
        }
        assert len(files) >= 5
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar(files))
    out = tmp_path / "out"
    out.mkdir()
    command = [
        find_program(program, package=PROGRAMS[program]),
        *(["tar"] if program == "busybox" else []),
        "-xf",
        str(archive),
        "-C",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"}, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert found == files
    assert {int(path.stat().st_mtime) for path in out.rglob("*") if path.is_file()} == {MTIME}


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 9 * 2**30 + 1])
def test_a_member_of_eight_gibibytes_and_more_is_skipped_over_rightly(program: str, size: int, tmp_path: Path) -> None:
    archive = tmp_path / "large.tar"
    with archive.open("wb") as file:
        file.write(tar_layout.header("large", size, MTIME))
        file.seek(tar_layout.member_bytes("large", size))
        file.write(tar({"behind": b"it"}))
    done = subprocess.run(
        [find_program(program, package=PROGRAMS[program]), "-tvf", archive],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    first, second = done.stdout.splitlines()
    assert str(size) in first.split()
    assert first.endswith(" large")
    assert second.endswith(" behind")
    with tarfile.open(archive) as reader:
        assert [(member.name, member.size) for member in reader] == [("large", size), ("behind", 2)]
