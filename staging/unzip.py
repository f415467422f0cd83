"""Reading zips, strictly: kept in a temporary file first, since what counts is the directory at the end.

A zip that is read as it streams is ambiguous: sizes may come behind the content, records may be left over from files
that were removed, and two readers can see two archives. Here the directory counts, it must be the last thing in the
file, and each record before it must be where and what it says, and overlap no other.
"""

import contextlib
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

from adapters.base import CHUNK_BYTES
from staging.archive_limits import Limits
from staging.errors import ArchiveInvalid, ArchiveTooLarge
from staging.packed import Bounded, PackedFile
from staging.pump import Source

#: The record that ends a zip, without its comment; the count, size and offset of the directory stand in it.
_END = struct.Struct("<4s4H2LH")
#: What stands before a file's name and content at least.
_RECORD_BYTES = 30
_LOCATOR = struct.Struct("<4sLQL")
_LARGE_END = struct.Struct("<4sQ2H2L4Q")
#: What the directory may take of the memory for each file that is allowed, and in all.
_ENTRY_BYTES, _MAX_DIRECTORY_BYTES = 2048, 64 * 1024 * 1024
_UTF8, _ENCRYPTED, _UNIX = 0x800, 0x2041, 3
_UNICODE_PATH = 0x7075
#: What Python's module raises for a zip that is not as it should be.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error)


def files(source: Source, limits: Limits, folder: Path) -> Generator[PackedFile, None, None]:
    """The plain files and folders, in the directory's order. Raises ArchiveInvalid and ArchiveTooLarge."""
    with tempfile.TemporaryFile(dir=folder) as file:
        size = _keep(source, file, limits)
        start = _check_directory(file, size, limits)
        try:
            with zipfile.ZipFile(file) as archive:
                _check_places(archive.infolist(), start)
                for entry in archive.infolist():
                    yield from _file(archive, entry, limits)
        except _DAMAGE as exc:
            raise _damaged(exc) from exc


def _keep(source: Source, file: IO[bytes], limits: Limits) -> int:
    size = 0
    while chunk := source.read(CHUNK_BYTES):
        size += len(chunk)
        if size > limits.zip_bytes:
            raise ArchiveTooLarge(f"The zip has more than {limits.zip_bytes} bytes; a tar may have more.")
        file.write(chunk)
    return size


def _check_directory(file: IO[bytes], size: int, limits: Limits) -> int:
    """Where the directory begins, once its size is known to be bearable and its end to be that of the file."""
    tail_start = max(0, size - _END.size - 0xFFFF)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[7] == len(tail):
            break
        at = tail.rfind(b"PK\x05\x06", 0, at)
    else:
        raise ArchiveInvalid("This is no zip, or it is incomplete, or something follows its end.")
    _, disk, first_disk, _, count, directory_bytes, start, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if 0xFFFF in (count, disk) or 0xFFFFFFFF in (directory_bytes, start):
        count, directory_bytes, start, end = _large_end(file, end)
    elif disk or first_disk:
        raise ArchiveInvalid("The zip is a part of several.")
    if count > 2 * limits.members:
        raise ArchiveTooLarge(f"It holds more than {limits.members} files.")
    if directory_bytes > min(_MAX_DIRECTORY_BYTES, _ENTRY_BYTES * (limits.members + 1)):
        raise ArchiveTooLarge("The directory of the zip is too large.")
    if start + directory_bytes != end:
        raise ArchiveInvalid("The directory of the zip is not where it says.")
    return int(start)


def _large_end(file: IO[bytes], end: int) -> tuple[int, int, int, int]:
    """Zip64: the count, size and offset of the directory, and where the record that tells them begins."""
    if end < _LOCATOR.size + _LARGE_END.size:
        raise ArchiveInvalid("The end of the zip cannot be read.")
    file.seek(end - _LOCATOR.size)
    mark, _, at, disks = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if mark != b"PK\x06\x07" or disks > 1 or at + _LARGE_END.size != end - _LOCATOR.size:
        raise ArchiveInvalid("The end of the zip cannot be read.")
    file.seek(at)
    found = _LARGE_END.unpack(file.read(_LARGE_END.size))
    if found[0] != b"PK\x06\x06" or found[4] or found[5]:
        raise ArchiveInvalid("The end of the zip cannot be read.")
    return found[7], found[8], found[9], at


def _check_places(entries: list[zipfile.ZipInfo], start: int) -> None:
    """Records lie one behind the other from the first byte on, so that none is told twice."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end or (end == 0 and entry.header_offset):
            raise ArchiveInvalid(f"The record of {entry.orig_filename!r} is not where it belongs.")
        end = entry.header_offset + _RECORD_BYTES + entry.compress_size
    if end > start:
        raise ArchiveInvalid("A record reaches into the directory of the zip.")


def _file(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits) -> Iterator[PackedFile]:
    name = _name(entry)
    kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == _UNIX else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveInvalid(f"{name!r} is a {'symbolic link' if kind == stat.S_IFLNK else 'device or the like'}.")
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveInvalid(f"{name!r} is encrypted.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveInvalid(f"{name!r} is compressed in a way that is not known; deflate is.")
    is_folder = name.endswith("/")
    if (is_folder != (kind == stat.S_IFDIR) and kind) or (is_folder and entry.file_size):
        raise ArchiveInvalid(f"{name!r} is a file and a folder.")
    limits.check_ratio(entry.compress_size, entry.file_size)
    with archive.open(entry) as packed:
        whole = _Content(packed)
        content = Bounded(whole, entry.file_size, name)
        yield PackedFile(name, entry.file_size, content, is_folder)
        content.skip()
        if whole.read(1):  # The checksum is compared here too.
            raise ArchiveInvalid(f"{name!r} is longer than the directory says.")


class _Content:
    """One file's content; what is wrong with it is told in our words, whoever reads."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed

    def read(self, max_bytes: int, /) -> bytes:
        try:
            return self._packed.read(max_bytes)
        except _DAMAGE as exc:
            raise _damaged(exc) from exc


def _damaged(exc: Exception) -> ArchiveInvalid:
    return ArchiveInvalid(f"The zip is damaged: {exc}.")


def _name(entry: zipfile.ZipInfo) -> str:
    """UTF-8 where that is said by a flag or an extra field, or where Unix wrote what is valid UTF-8; else refused."""
    name = entry.orig_filename
    if entry.flag_bits & _UTF8 or name.isascii():
        return name
    extra = entry.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        value, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and value[:1] == b"\x01" and len(value) > 5:
            (crc,) = struct.unpack_from("<L", value, 1)
            if crc == zlib.crc32(name.encode("cp437")):
                return value[5:].decode(errors="surrogateescape")
    raw = name.encode("cp437")
    if entry.create_system == _UNIX:
        with contextlib.suppress(UnicodeDecodeError):
            return raw.decode()
    raise ArchiveInvalid(f"It is not told in which encoding the name {name!r} is.")
