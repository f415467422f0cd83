"""Unpacking: the files that an archive holds, one after the other, as long as nothing about it is doubtful.

What is refused: names that are no keys or lead out of the folder, links, devices and everything else that is no plain
file, names that come twice, more than the limits allow, and every archive that does not end as its format says it
must. A cut archive is never taken for a shorter one. Whoever takes the files must not make any of them visible before
the last one has come and the iterator has ended.
"""

import hashlib
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from adapters.errors import InvalidKey
from adapters.keys import check_key
from staging import untar, unzip
from staging.archive_limits import Limits
from staging.decompression import GzipSource, ZstdSource
from staging.errors import ArchiveInvalid, ArchiveTooLarge
from staging.packed import PackedFile
from staging.pump import Source


class Kind(StrEnum):
    """The formats that are unpacked, by the ending of the archive's name."""

    TAR = ".tar"
    TAR_GZ = ".tar.gz"
    TAR_ZST = ".tar.zst"
    ZIP = ".zip"


@dataclass(frozen=True, slots=True)
class UnpackedFile:
    """One file: its path, which is a legal key below the prefix, its size in bytes, and its content.

    ``content`` is read to its end, or not at all, before the next file is asked for.
    """

    path: str
    size: int
    content: Source


def kind_of(name: str) -> Kind | None:
    """The format that a file's name tells, or None."""
    return next((kind for kind in (Kind.TAR_GZ, Kind.TAR_ZST, Kind.TAR, Kind.ZIP) if name.endswith(kind)), None)


def unpack(source: Source, kind: Kind, limits: Limits, *, prefix: str = "", folder: Path) -> Iterator[UnpackedFile]:
    """The files of the archive that ``source`` is, in its order; folders are left out.

    Tars stream in constant memory, but for some hundred bytes a member. A zip is first kept in a temporary file
    below ``folder``: what is valid in it stands in the directory at its end, and the records before it may say
    anything else. Raises ArchiveInvalid, ArchiveTooLarge, and what ``source`` does; an archive without any file is
    invalid, since that is what a tar that failed leaves.
    """
    names = _Names(prefix)
    count = content = 0
    with closing(_packed(source, kind, limits, folder)) as files:
        for packed in files:
            path = _path(packed.name)
            if packed.is_folder:
                names.add_folder(path)
                continue
            count, content = count + 1, content + packed.size
            if count > limits.members:
                raise ArchiveTooLarge(f"It holds more than {limits.members} files.")
            if packed.size > limits.member_bytes:
                raise ArchiveTooLarge(f"{path!r} has {packed.size} bytes, {limits.member_bytes} are allowed.")
            if content > limits.content_bytes:
                raise ArchiveTooLarge(f"Its files have more than {limits.content_bytes} bytes.")
            names.add_file(path)
            yield UnpackedFile(path, packed.size, packed.content)
    if not count:
        raise ArchiveInvalid("The archive holds no file.")


def _packed(source: Source, kind: Kind, limits: Limits, folder: Path) -> Generator[PackedFile, None, None]:
    if kind == Kind.ZIP:
        return unzip.files(source, limits, folder)
    if kind == Kind.TAR_GZ:
        source = GzipSource(source, limits)
    elif kind == Kind.TAR_ZST:
        source = ZstdSource(source, limits)
    return untar.files(source)


def _path(name: str) -> str:
    """``tar -C folder -c .`` begins every name with ``./``; nothing else about a name is mended."""
    return name.removeprefix("./").removesuffix("/") if name not in (".", "./") else ""


class _Names:
    """Refuses names that are no keys, that came before, or that are both a file and a folder."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._files: set[bytes] = set()
        self._folders: set[bytes] = set()

    def add_file(self, path: str) -> None:
        self._check(path)
        own = _short(path)
        if own in self._files:
            raise ArchiveInvalid(f"{path!r} comes twice.")
        if own in self._folders:
            raise ArchiveInvalid(f"{path!r} is a file and a folder.")
        self._files.add(own)
        self._add_folders(path.rpartition("/")[0])

    def add_folder(self, path: str) -> None:
        if path:
            self._check(path)
            self._add_folders(path)

    def _add_folders(self, path: str) -> None:
        while path:
            own = _short(path)
            if own in self._files:
                raise ArchiveInvalid(f"{path!r} is a file and a folder.")
            if own in self._folders:
                return
            self._folders.add(own)
            path = path.rpartition("/")[0]

    def _check(self, path: str) -> None:
        try:
            check_key(path)
            check_key(f"{self._prefix}{path}")
        except InvalidKey as exc:
            raise ArchiveInvalid(f"The name {path!r} is not allowed: {exc.detail}.") from exc
        if "\\" in path:
            raise ArchiveInvalid(f"The name {path!r} is not allowed: it holds a backslash.")


def _short(path: str) -> bytes:
    """Names are remembered by their digests, which take less memory."""
    return hashlib.blake2b(path.encode(), digest_size=16).digest()
