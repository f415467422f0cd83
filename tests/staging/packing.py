"""Archives for the tests of unpacking: good ones, made by Python, and single headers to make bad ones of."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zstandard

from staging.archive_limits import Limits
from staging.unpacking import Kind, unpack
from tests.staging.bodies import Body

#: What ends a tar.
END = bytes(1024)
PACK = {
    Kind.TAR: lambda data: data,
    Kind.TAR_GZ: lambda data: gzip.compress(data, 1),
    Kind.TAR_ZST: lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}


def header(name: str, size: int = 0, kind: bytes = b"0", link: str = "", *, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """One member's header as Python writes it."""
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member.tobuf(form, "utf-8", "surrogateescape")


def entry(name: str, data: bytes = b"", **more: Any) -> bytes:
    """One whole member."""
    return header(name, len(data), **more) + data + bytes(-len(data) % 512)


def pax(records: Mapping[str, str], kind: bytes = b"x") -> bytes:
    """An extended header."""
    return tarfile.TarInfo._create_pax_generic_header(dict(records), kind, "utf-8")  # type: ignore[attr-defined]


def tar(files: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A whole tar of plain files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def zipped(files: Mapping[str, bytes], *, mode: int = stat.S_IFREG, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A whole zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type, info.create_system = mode << 16, method, 3
            archive.writestr(info, data)
    return out.getvalue()


def pack(files: Mapping[str, bytes], kind: Kind) -> bytes:
    """A whole archive of a kind."""
    return zipped(files) if kind == Kind.ZIP else PACK[kind](tar(files))


def unpacked(data: bytes, kind: Kind, folder: Path, limits: Limits = Limits(), piece: int = 700) -> dict[str, bytes]:  # noqa: B008
    """All that comes out, and that each file is as long as announced."""
    found = {}
    for file in unpack(Body(data, piece=piece), kind, limits, prefix="run/", folder=folder):
        content = b"".join(iter(lambda: file.content.read(1000), b""))  # noqa: B023
        assert len(content) == file.size
        found[file.path] = content
    return found
