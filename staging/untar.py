"""Reading tars from a stream, strictly: POSIX ustar and pax, and GNU's long names.

Python's own reader takes a header that it cannot read for the end of the archive, and a missing end for one. Here
every header's checksum must be right, two blocks of zeros must end the archive, and only zeros may follow.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from staging.errors import ArchiveInvalid
from staging.packed import Bounded, PackedFile
from staging.pump import Source
from staging.tar_layout import BLOCK_BYTES, padding_bytes

#: The most bytes that extended headers and long names may have.
_MAX_EXTENSION_BYTES = 64 * 1024
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"S": "a sparse file",
    b"M": "a part of a file that begins on another volume",
}
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_DECIMAL = re.compile(rb"[0-9]{1,20}")


@dataclass(slots=True)
class _Extension:
    """What comes before a member's header to amend it."""

    name: bytes | None = None
    size: int | None = None
    is_open: bool = False
    seen: set[bytes] = field(default_factory=set)


def files(source: Source) -> Generator[PackedFile, None, None]:
    """The plain files and folders, in order. Raises ArchiveInvalid naming what is wrong, or whose member is refused."""
    extension = _Extension()
    while any(block := _block(source)):
        kind, size = block[156:157], _number(block[124:136])
        _check_sum(block)
        if kind in (b"x", b"g", b"L", b"K"):
            _extend(extension, kind, _extension_data(source, size))
            continue
        name = _text(extension.name if extension.name is not None else _own_name(block))
        size = size if extension.size is None else extension.size
        if kind in _REFUSED or kind not in (b"0", b"\0", b"7", b"5"):
            raise ArchiveInvalid(f"{name!r} is {_REFUSED.get(kind, 'of a kind that is not known')}.")
        extension = _Extension()
        is_folder = kind == b"5" or (kind == b"\0" and name.endswith("/"))
        if is_folder and size:
            raise ArchiveInvalid(f"The folder {name!r} has content.")
        if name.endswith("/") and not is_folder:
            raise ArchiveInvalid(f"The file {name!r} has the name of a folder.")
        content = Bounded(source, size, name)
        yield PackedFile(name, size, content, is_folder)
        content.skip()
        if any(_exactly(source, padding_bytes(size), name)):
            raise ArchiveInvalid(f"{name!r} is longer than its header says.")
    if extension.is_open:
        raise ArchiveInvalid("The archive ends behind a header that belongs to a member.")
    _end(source)


def _end(source: Source) -> None:
    if any(_block(source)):
        raise ArchiveInvalid("A block of zeros stands between the members.")
    while chunk := source.read(64 * 1024):
        if chunk.strip(b"\0"):
            raise ArchiveInvalid("Something follows the end of the archive.")


def _block(source: Source) -> bytes:
    return _exactly(source, BLOCK_BYTES, "")


def _exactly(source: Source, count: int, name: str) -> bytes:
    parts = []
    while count:
        chunk = source.read(count)
        if not chunk:
            where = f"within {name!r}" if name else "before the two blocks of zeros that end one"
            raise ArchiveInvalid(f"The archive is incomplete: it ends {where}.")
        parts.append(chunk)
        count -= len(chunk)
    return b"".join(parts)


def _check_sum(block: bytes) -> None:
    if _number(block[148:156]) != sum(block[:148]) + 8 * ord(" ") + sum(block[156:]):
        raise ArchiveInvalid("This is no tar, or it is damaged: the checksum of a header is wrong.")


def _number(raw: bytes) -> int:
    """Octal, or for large ones GNU's binary."""
    if raw[0] == 0x80:
        value = int.from_bytes(raw[1:], "big")
        if value < 2**63:
            return value
    elif found := _OCTAL.fullmatch(raw):
        return int(found[1] or b"0", 8)
    raise ArchiveInvalid("This is no tar, or it is damaged: a number in a header cannot be read.")


def _own_name(block: bytes) -> bytes:
    name, prefix = block[:100].split(b"\0")[0], block[345:500].split(b"\0")[0]
    # GNU's older format keeps other things where POSIX has the prefix.
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise ArchiveInvalid(f"The name {raw!r} is not UTF-8.") from exc


def _extension_data(source: Source, size: int) -> bytes:
    if size > _MAX_EXTENSION_BYTES:
        raise ArchiveInvalid(f"An extended header has {size} bytes, {_MAX_EXTENSION_BYTES} are allowed.")
    data = _exactly(source, size, "an extended header")
    _exactly(source, padding_bytes(size), "an extended header")
    return data


def _extend(extension: _Extension, kind: bytes, data: bytes) -> None:
    if kind in extension.seen:
        raise ArchiveInvalid("Two extended headers of a kind stand before one member.")
    if kind == b"g":
        for keyword, _ in _records(data):
            if keyword in (b"path", b"size", b"linkpath", b"hdrcharset") or keyword.startswith(b"GNU.sparse."):
                raise ArchiveInvalid(f"A header sets {_text(keyword)!r} for all members.")
        return
    extension.is_open = True
    extension.seen.add(kind)
    if kind == b"L":
        extension.name = extension.name if extension.name is not None else data.split(b"\0")[0]
    elif kind == b"x":
        for keyword, value in _records(data):
            if keyword.startswith((b"GNU.sparse.", b"SCHILY.realsize")):
                raise ArchiveInvalid("It holds a sparse file; make the archive without --sparse.")
            if keyword == b"path":
                extension.name = value
            elif keyword == b"size":
                if not _DECIMAL.fullmatch(value) or int(value) >= 2**63:
                    raise ArchiveInvalid("The size in an extended header cannot be read.")
                extension.size = int(value)


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keywords and values of a pax header."""
    while data:
        length, space, _ = data.partition(b" ")
        if not space or not _DECIMAL.fullmatch(length) or not len(length) + 3 <= int(length) <= len(data):
            break
        record, data = data[len(length) + 1 : int(length)], data[int(length) :]
        keyword, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n"):
            break
        yield keyword, value[:-1]
    else:
        return
    raise ArchiveInvalid("An extended header cannot be read.")
