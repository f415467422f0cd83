"""Unpacking: whole archives come out whole, and everything doubtful is refused by name."""

import gzip
import io
import os
import stat
import subprocess
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidKey
from adapters.keys import check_key
from staging import tar_layout
from staging.archive_limits import Limits
from staging.errors import ArchiveInvalid, ArchiveTooLarge
from staging.unpacking import Kind, kind_of, unpack
from tests.servers.process import find_program
from tests.staging.bodies import Body
from tests.staging.packing import END, PACK, entry, header, pack, pax, tar, unpacked, zipped

FILES = {"a.txt": b"alpha", "empty": b"", "sub/Ω/" + "n" * 150: bytes(range(256)) * 30, "sub/b": b"x" * 512}
EVERY = pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)


def is_fine(name: str) -> bool:
    try:
        check_key(f"run/{name}")
        check_key(name)
    except InvalidKey:
        return False
    return "\\" not in name


def fits(names: "dict[str, bytes]") -> bool:
    return not any(name.startswith(f"{other}/") for name in names for other in names)


files_of_any_name = st.dictionaries(
    st.text(min_size=1, max_size=140).filter(is_fine), st.binary(max_size=2000), min_size=1, max_size=6
).filter(fits)


@given(files_of_any_name, st.sampled_from(list(Kind)), st.sampled_from([1, 7, 512, 5000]))
def test_what_was_packed_comes_out(files: dict[str, bytes], kind: Kind, piece: int) -> None:
    assert unpacked(pack(files, kind), kind, Path(tempfile.gettempdir()), piece=piece) == files


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_that_python_writes_is_read(form: int, tmp_path: Path) -> None:
    names = [n for n in FILES if form != tarfile.USTAR_FORMAT or len(n) < 100] + ["d/" * 30 + "x" * 90]
    files = {name: FILES.get(name, b"deep") for name in names}
    assert unpacked(tar(files, form), Kind.TAR, tmp_path) == files


@given(files_of_any_name)
def test_the_archives_that_waybill_makes_are_read(files: dict[str, bytes]) -> None:
    parts = [tar_layout.header(n, len(d), 5) + d + tar_layout.padding(len(d)) for n, d in files.items()]
    assert unpacked(b"".join(parts) + tar_layout.END, Kind.TAR, Path()) == files


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("tar -C in -cf out .", Kind.TAR),
        ("tar -C in --format=v7 -cf out a.txt empty", Kind.TAR),
        ("tar -C in --format=gnu -czf out .", Kind.TAR_GZ),
        ("tar -C in --format=posix -cf out --zstd sub a.txt empty", Kind.TAR_ZST),
        ("bsdtar -C in --format=pax -cf out .", Kind.TAR),
        ("busybox tar -C in -cf out a.txt empty", Kind.TAR),
        ("zip -qr ../out .", Kind.ZIP),
        ("zip -qr0 ../out .", Kind.ZIP),
    ],
)
def test_what_the_programs_of_jobs_write_is_read(command: str, kind: Kind, tmp_path: Path) -> None:
    packages = {"bsdtar": "libarchive-tools"}
    program = command.split()[0]
    find_program(program, package=packages.get(program, program))
    for name, data in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    where = tmp_path / "in" if program == "zip" else tmp_path
    subprocess.run(command.split(), cwd=where, check=True, timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})
    packed = tmp_path / ("out.zip" if program == "zip" else "out")
    expected = FILES if "." in command.split()[-1:] or "sub" in command else {n: FILES[n] for n in ("a.txt", "empty")}
    assert unpacked(packed.read_bytes(), kind, tmp_path) == expected


def test_a_size_in_gnus_binary_and_one_in_an_extended_header_are_read(tmp_path: Path) -> None:
    large = header("large", 2**40, form=tarfile.GNU_FORMAT)
    for start in (large, pax({"size": str(2**40)}) + header("large")):
        with pytest.raises(ArchiveTooLarge, match=str(2**40)):
            unpacked(start, Kind.TAR, tmp_path, Limits(member_bytes=2**39))
    assert unpacked(pax({"size": "3"}) + header("x") + b"abc" + bytes(509) + END, Kind.TAR, tmp_path) == {"x": b"abc"}


BAD_NAMES = [
    "/etc/passwd",
    "../x",
    "a/../b",
    "a//b",
    "a/./b",
    "././x",
    "a\\b",
    "a\x01b",
    ".x.0123456789abcdef0123456789abcdef.partial",
    "n" * 213,
    "d/" * 511 + "xx",
]


@EVERY
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_no_key_is_refused(kind: Kind, name: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveInvalid, match="name"):
        unpacked(pack({"fine": b"", name: b""}, kind), kind, tmp_path)


@EVERY
@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "./a"), ("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("a/b", "a/b/c/d")]
)
def test_a_name_that_comes_twice_or_is_a_folder_too_is_refused(
    kind: Kind, names: tuple[str, str], tmp_path: Path
) -> None:
    if kind == Kind.ZIP:
        out = io.BytesIO()
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
        packed = out.getvalue()
    else:
        packed = PACK[kind](b"".join(entry(name, b"x") for name in names) + END)
    with pytest.raises(ArchiveInvalid, match=r"twice|folder"):
        unpacked(packed, kind, tmp_path)


FINE = entry("fine", b"data")
HOSTILE = {
    "symbolic link": (entry("ln", kind=b"2", link="/etc"), "'ln' is a symbolic link"),
    "hard link": (entry("ln", kind=b"1", link="fine"), "'ln' is a hard link"),
    "character device": (entry("dev", kind=b"3"), "'dev' is a device"),
    "block device": (entry("dev", kind=b"4"), "'dev' is a device"),
    "named pipe": (entry("pipe", kind=b"6"), "'pipe' is a named pipe"),
    "old sparse": (entry("s", kind=b"S"), "'s' is a sparse file"),
    "new sparse": (pax({"GNU.sparse.major": "1", "GNU.sparse.name": "x"}) + entry("s"), "sparse"),
    "volume label": (entry("v", kind=b"V"), "'v' is of a kind"),
    "continued": (entry("m", kind=b"M"), "'m' is a part"),
    "unknown kind": (entry("u", kind=b"Z"), "'u' is of a kind"),
    "folder with content": (entry("d", b"x", kind=b"5"), "has content"),
    "folder outside": (entry("../d/", kind=b"5"), "name"),
    "file called like a folder": (entry("d/", b"", kind=b"0"), "name of a folder"),
    "path outside in an extended header": (pax({"path": "../../x"}) + entry("ok", b"x"), "name"),
    "absolute path in a long name": (entry("././@LongLink", b"/abs\0", kind=b"L") + entry("ok"), "name"),
    "empty path in an extended header": (pax({"path": ""}) + entry("ok", b"x"), "name"),
    "no name": (entry("", b"x"), "name"),
    "not utf-8": (entry("\udcff\udcfe", b"x"), "UTF-8"),
    "size that is none": (pax({"size": "-5"}) + entry("ok", b"x"), "size"),
    "global path": (pax({"path": "all"}, b"g") + entry("ok", b"x"), "for all members"),
    "two extended headers": (pax({"path": "a"}) + pax({"path": "b"}) + entry("ok", b"x"), "Two"),
    "extended header of nothing": (pax({"path": "a"}), "belongs to a member"),
    "huge extended header": (header("x", 10**9, kind=b"x"), "64|65536"),
    "broken extended header": (entry("x", b"99 path=a\n", kind=b"x") + entry("ok"), "cannot be read"),
    "wrong checksum": (b"g" + FINE[1:], "checksum"),
    "negative number": (header("x", 0)[:124] + b"\xff" * 12 + header("x", 0)[136:], "number"),
    "content in the padding": (header("p", 3) + b"abcd" + bytes(508), "longer"),
    "zeros between": (bytes(512) + FINE, "zeros stands between"),
    "garbage": (b"garbage" * 300, "no tar"),
}


@pytest.mark.parametrize("kind", list(PACK), ids=lambda kind: kind.value)
@pytest.mark.parametrize(("hostile", "told"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_tar_is_refused_and_says_why(kind: Kind, hostile: bytes, told: str, tmp_path: Path) -> None:
    assert unpacked(PACK[kind](FINE + END), kind, tmp_path) == {"fine": b"data"}
    with pytest.raises(ArchiveInvalid, match=told):
        unpacked(PACK[kind](FINE + hostile + END), kind, tmp_path)


@EVERY
def test_an_archive_that_is_cut_anywhere_is_never_a_shorter_one(kind: Kind, tmp_path: Path) -> None:
    whole = pack(FILES, kind)
    if kind == Kind.TAR:
        whole = whole[: -(-len(whole.rstrip(b"\0")) // 512) * 512 + 1024]
    for cut in {*range(0, len(whole), 97), *range(0, len(whole), 512), len(whole) - 1, len(whole) - 512}:
        if 0 <= cut < len(whole):
            with pytest.raises(ArchiveInvalid):
                unpacked(whole[:cut], kind, tmp_path)
    assert unpacked(whole, kind, tmp_path) == FILES


@EVERY
@pytest.mark.parametrize("garbage", [b"x", bytes(511) + b"x", b"PK\x05\x06" + bytes(18)])
def test_what_follows_the_end_is_refused(kind: Kind, garbage: bytes, tmp_path: Path) -> None:
    with pytest.raises(ArchiveInvalid):
        unpacked(pack(FILES, kind) + garbage, kind, tmp_path)


@pytest.mark.parametrize("kind", [Kind.TAR_GZ, Kind.TAR_ZST, Kind.ZIP])
def test_a_flipped_bit_is_found(kind: Kind, tmp_path: Path) -> None:
    whole = pack({"a": bytes(range(256)) * 8}, kind)
    for place in range(20, len(whole) - 1, 37):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        try:
            assert unpacked(bytes(damaged), kind, tmp_path) == {"a": bytes(range(256)) * 8}
        except ArchiveInvalid:
            continue


@pytest.mark.parametrize("kind", [Kind.TAR_GZ, Kind.TAR_ZST])
def test_several_compressed_streams_are_one(kind: Kind, tmp_path: Path) -> None:
    data = tar(FILES)
    streams = [PACK[kind](data[place : place + 700]) for place in range(0, len(data), 700)]
    assert unpacked(b"".join(streams), kind, tmp_path) == FILES
    with pytest.raises(ArchiveInvalid, match="incomplete"):
        unpacked(b"".join(streams)[:-1], kind, tmp_path)
    with pytest.raises(ArchiveInvalid, match="incomplete"):
        unpacked(b"".join(streams[:3]), kind, tmp_path)


def test_skippable_frames_are_skipped(tmp_path: Path) -> None:
    skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00note"
    assert unpacked(skipped + pack(FILES, Kind.TAR_ZST) + skipped, Kind.TAR_ZST, tmp_path) == FILES


@EVERY
def test_limits_hold(kind: Kind, tmp_path: Path) -> None:
    whole = pack(FILES, kind)
    total = sum(map(len, FILES.values()))
    assert unpacked(whole, kind, tmp_path, Limits(members=4, member_bytes=7680, content_bytes=total)) == FILES
    for limits in (Limits(members=3), Limits(member_bytes=7679), Limits(content_bytes=total - 1)):
        with pytest.raises(ArchiveTooLarge):
            unpacked(whole, kind, tmp_path, limits)
    if kind == Kind.ZIP:
        with pytest.raises(ArchiveTooLarge):
            unpacked(whole, kind, tmp_path, Limits(zip_bytes=len(whole) - 1))


class Counted(Body):
    """Counts what was asked of it."""

    taken = 0

    def read(self, max_bytes: int) -> bytes:
        chunk = super().read(max_bytes)
        self.taken += len(chunk)
        return chunk


def bomb(kind: Kind) -> bytes:
    """What says it holds 3 GiB of zeros and is small."""
    if kind == Kind.ZIP:
        return zipped({"zeros": bytes(60_000_000)})
    start = header("zeros", 3 * 2**30)
    if kind == Kind.TAR_GZ:
        member = gzip.compress(bytes(10_000_000))
        return gzip.compress(start) + 300 * member
    frame = zstandard.ZstdCompressor().compress(bytes(10_000_000))
    return zstandard.ZstdCompressor().compress(start) + 300 * frame


@pytest.mark.parametrize("kind", [Kind.TAR_GZ, Kind.TAR_ZST, Kind.ZIP])
def test_a_bomb_is_stopped_early(kind: Kind, tmp_path: Path) -> None:
    packed = bomb(kind)
    body = Counted(packed)
    files = unpack(body, kind, Limits(), folder=tmp_path)
    with pytest.raises(ArchiveTooLarge, match="times its size"):
        sum(len(chunk) for file in files for chunk in iter(lambda: file.content.read(65536), b""))  # noqa: B023
    assert kind == Kind.ZIP or body.taken < len(packed) / 10


@EVERY
def test_an_archive_of_nothing_is_refused(kind: Kind, tmp_path: Path) -> None:
    for nothing in (pack({}, kind), b""):
        with pytest.raises(ArchiveInvalid):
            unpacked(nothing, kind, tmp_path)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (zipped({"ln": b"/etc"}, mode=stat.S_IFLNK), "'ln' is a symbolic link"),
        (zipped({"dev": b""}, mode=stat.S_IFCHR), "'dev' is a device"),
        (zipped({"x": b"y" * 99}, method=zipfile.ZIP_BZIP2), "way that is not known"),
        (b"#!/bin/sh\n" + zipped({"x": b"y"}), "not where"),
        (
            zipped({"x": b"y"}).replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"),
            "encrypted",
        ),
        (zipped({"x": b"y"}, method=0).replace(b"xy", b"xz"), "CRC"),
        (
            zipped({"\xe9": b"y"}).replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00").replace(b"\xc3\xa9", b"\xe9\xe9"),
            "encoding",
        ),
        (zipped({"x/": b"y"}, mode=stat.S_IFDIR), "folder"),
        (zipped({"x": b"y"}, mode=stat.S_IFDIR), "folder"),
        (zipped({"aa": b"y"}).replace(b"aa", b"ab", 1), "damaged"),
        (zipped({"aZb": b"y"}).replace(b"aZb", b"a\0b"), "name"),
    ],
)
def test_a_hostile_zip_is_refused_and_says_why(data: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveInvalid, match=told):
        unpacked(data, Kind.ZIP, tmp_path)


def test_two_entries_of_one_record_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"x" * 1000)
        twin = zipfile.ZipInfo("b")
        twin.header_offset, twin.file_size, twin.compress_size, twin.CRC = 0, 1000, 1000, 0
        archive.filelist.append(twin)
    with pytest.raises(ArchiveInvalid, match="not where it belongs"):
        unpacked(out.getvalue(), Kind.ZIP, tmp_path)


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    for data in (zipped(FILES), b"no zip"):
        try:
            unpacked(data, Kind.ZIP, tmp_path)
        except ArchiveInvalid:
            assert data == b"no zip"
        assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_read_are_passed_over(tmp_path: Path) -> None:
    for kind in Kind:
        found = unpack(Body(pack(FILES, kind)), kind, Limits(), folder=tmp_path)
        assert [file.path for file in found] == list(FILES)


def test_the_name_tells_the_kind() -> None:
    assert [kind_of(n) for n in ("a.tar", "b.tar.gz", "c.tar.zst", "d.zip", "e.gz", "tar")] == [
        *map(Kind, (".tar", ".tar.gz", ".tar.zst", ".zip")),
        None,
        None,
    ]
