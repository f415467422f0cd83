"""Folders of one grid storage as keys, and what its server says of one name as an object."""

from __future__ import annotations

import errno
import stat
from datetime import UTC, datetime

from adapters.base import ObjectStat, Unreachable
from adapters.errors import AlreadyExists, InvalidKey
from adapters.gfal_client import GfalProcess
from adapters.gfal_errors import error_code
from adapters.gfal_library import GfalError, Look
from adapters.walking import Entry, named

#: Names or keys, each with what the server says of it.
Entries = list[tuple[str, Look]]

#: gfal2 cuts URLs off at 2048 characters.
_MAX_URL_CHARACTERS = 2000


def object_stat(key: str, look: Look) -> ObjectStat:
    """GridFTP's and SRM's times are whole seconds, so that a version of them is weak."""
    modified = datetime.fromtimestamp(look.modified_s, UTC)
    return ObjectStat(key, look.size, modified, f"{look.modified_s:x}-{look.size:x}", version_is_strong=False)


def entry_of(listed: tuple[str, Look]) -> Entry:
    """One name in a folder."""
    name, look = listed
    return Entry(name, stat.S_ISDIR(look.mode), look.size, datetime.fromtimestamp(look.modified_s, UTC))


def is_file(look: Look) -> bool:
    return stat.S_ISREG(look.mode)


def look_if_there(process: GfalProcess, key: str) -> Look | None:
    """What lies at a key; None where nothing does. Raises GfalError also where a component of it is no folder."""
    try:
        return process.look(process.endpoint.url(key))
    except GfalError as exc:
        if error_code(exc) != errno.ENOENT:
            raise
        return None


def refuse_unlistable(process: GfalProcess, key: str) -> None:
    """Raises InvalidKey for a key that gfal2 could write and would then not list or not name right."""
    storage = process.endpoint.storage
    if any(component.endswith(" ") for component in key.split("/")):
        detail = "a component ends in a space, which gfal2 cuts off when it lists"
        raise InvalidKey(detail, storage=storage, key=key)
    if len(process.endpoint.url(key)) > _MAX_URL_CHARACTERS:
        raise InvalidKey("its URL is too long for gfal2", storage=storage, key=key)


def refuse_taken(process: GfalProcess, key: str, *, create: bool) -> None:
    """Raises InvalidKey where a folder lies at the key, and on ``create`` AlreadyExists where an object does."""
    there = look_if_there(process, key)
    if there is None:
        return
    if not is_file(there):
        raise InvalidKey("it is a folder, or no regular file", storage=process.endpoint.storage, key=key)
    if create:
        raise AlreadyExists(storage=process.endpoint.storage, key=key)


def make_folder_of(process: GfalProcess, key: str) -> None:
    """Make the folders of the key that are missing. Raises InvalidKey where one of them is an object."""
    folder = key.rpartition("/")[0]
    if not folder:
        return
    there = look_if_there(process, folder)
    if there is None:
        process.ask("make_folders", url=process.endpoint.url(folder))
    elif not stat.S_ISDIR(there.mode):
        raise InvalidKey("a component of it is an object", storage=process.endpoint.storage, key=key)


def list_folder(process: GfalProcess, folder: str) -> Entries:
    """Every name in a folder whose key ends in ``/`` (or is empty: the root)."""
    return list(process.names(process.endpoint.url(folder.rstrip("/"))))


def list_keys(process: GfalProcess, folder: str) -> list[tuple[str, Look | Unreachable]]:
    """The objects of a folder and, with a ``/`` behind them, its folders, in the order of a scan.

    What is neither file nor folder does not count.
    """
    found: list[tuple[str, Look | Unreachable]] = []
    for name, look in list_folder(process, folder):
        key = named(folder, name)
        if isinstance(key, Unreachable):
            if is_file(look) or stat.S_ISDIR(look.mode):
                found.append((key.key, key))
        elif key is None:
            continue
        elif is_file(look):
            found.append((key, look))
        elif stat.S_ISDIR(look.mode):
            found.append((f"{key}/", look))
    # Python orders text by code point, which is the order of its UTF-8 bytes.
    return sorted(found, key=lambda entry: entry[0])
