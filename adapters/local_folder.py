"""What lies in one local folder: as keys, and as everything that is there."""

from __future__ import annotations

import os
import stat as modes
from contextlib import suppress
from datetime import UTC, datetime

from adapters.base import Unreachable
from adapters.errors import NotFound
from adapters.local_streams import file_name
from adapters.rooted import Root
from adapters.walking import Entry, named


def names_in(root: Root, fd: int, folder: str) -> list[str | Unreachable]:
    """The keys of a folder's entries, with a ``/`` behind those of its folders, in the order of a scan.

    Of what no key can name, files and folders are told and all else is left out; so are unfinished writes.
    """
    found: list[str | Unreachable] = []
    with root.translating(folder), os.scandir(fd) as entries:
        for entry in entries:
            key = named(folder, _text(entry))
            if isinstance(key, str):
                found.append(f"{key}/" if entry.is_dir(follow_symlinks=False) else key)
            elif key is not None and _is_file_or_folder(entry):
                found.append(key)
    # Python orders text by code point, which is the order of its UTF-8 bytes.
    return sorted(found, key=lambda one: one.key if isinstance(one, Unreachable) else one)


def all_in(root: Root, folder: str) -> list[Entry]:
    """Every name in a folder; none where it is missing."""
    try:
        fd = root.open_folder(folder)
    except NotFound:
        return []
    found = []
    try:
        with root.translating(folder), os.scandir(fd) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    about = entry.stat(follow_symlinks=False)
                    touched = datetime.fromtimestamp(about.st_mtime, UTC)
                    found.append(Entry(_text(entry), modes.S_ISDIR(about.st_mode), about.st_size, touched))
    finally:
        os.close(fd)
    return found


def is_file(fd: int, key: str) -> bool:
    """Whether a folder's entry is a file, or a link that leads to one, wherever it is."""
    with suppress(OSError):  # It leads nowhere, to itself, or through what we may not enter.
        return modes.S_ISREG(os.stat(file_name(key), dir_fd=fd).st_mode)
    return False


def _text(entry: os.DirEntry[str]) -> str:
    return os.fsencode(entry.name).decode(errors="surrogateescape")


def _is_file_or_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) or entry.is_file()
    except OSError:  # A link that leads to itself, or through what we may not enter.
        return False
