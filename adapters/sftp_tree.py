"""Folders of one SFTP server as keys: what lies below the root, and nothing that a link leads to outside of it."""

from __future__ import annotations

import stat
from datetime import UTC, datetime

from adapters.base import LEADS_OUT, ObjectStat, Unreachable
from adapters.errors import InvalidKey
from adapters.sftp_connection import SftpConnection
from adapters.sftp_messages import Attributes, Code, Kind, Reply, SftpStatus
from adapters.walking import Entry, named

STATVFS = "statvfs@openssh.com"

#: Names or keys, each with what the server says of it.
Entries = list[tuple[str, Attributes]]

#: How many links of one folder are looked at in one round trip.
_LINKS_AT_ONCE = 100


def object_stat(key: str, found: Attributes) -> ObjectStat:
    """SFTP's times are whole seconds, so that a version of them is weak."""
    modified = datetime.fromtimestamp(found.modified_s, UTC)
    return ObjectStat(key, found.size, modified, f"{found.modified_s:x}-{found.size:x}", version_is_strong=False)


def entry_of(listed: tuple[str, Attributes]) -> Entry:
    """One name in a folder."""
    name, found = listed
    return Entry(name, found.is_folder, found.size, datetime.fromtimestamp(found.modified_s, UTC))


def free_bytes(connection: SftpConnection, path: bytes) -> int | None:
    """The bytes free for us where ``path`` lies; None of a server that does not tell."""
    if STATVFS not in connection.wire.extensions:
        return None
    _, fragment, _, _, available, *_ = connection.wire.reply(connection.wire.extended(STATVFS, path)).numbers(">11Q")
    return fragment * available


def folder_path(connection: SftpConnection, key: str) -> bytes:
    """The folder in which the key's object lies, ending in ``/``."""
    return connection.root + key[: key.rfind("/") + 1].encode()


def ask_real(connection: SftpConnection, path: bytes) -> int:
    return connection.wire.ask(Kind.REALPATH, path)


def refuse_outside(connection: SftpConnection, real: Reply, key: str) -> None:
    """Raises InvalidKey where a path's REALPATH lies outside the root, or the SftpStatus that came instead of one.

    SFTP has no way to open a path without following links, so this asks where it leads and trusts that nobody changes
    a link in between: whoever can do so on the server could read and write there without us.
    """
    if not _is_inside(connection, real.path()):
        raise InvalidKey("a symbolic link leads out of the root", storage=connection.storage, key=key)


def make_folders(connection: SftpConnection, key: str) -> None:
    """Make the folders of the key that are missing; one round trip each, so that none is made behind a link."""
    wire, path = connection.wire, connection.root
    for name in key.split("/")[:-1]:
        path += name.encode()
        made, real, found = wire.gather(
            wire.ask(Kind.MKDIR, path, 0), ask_real(connection, path), wire.ask(Kind.STAT, path)
        )
        try:
            folder = found.attributes()
        except SftpStatus:
            made.ok()  # Why it could not be made says more than that it is missing.
            raise
        refuse_outside(connection, real, key=key)
        if not folder.is_folder:
            raise InvalidKey("a component of it is an object", storage=connection.storage, key=key)
        path += b"/"


def list_folder(connection: SftpConnection, folder: str) -> Entries:
    """Every name in a folder whose key ends in ``/`` (or is empty: the root), as the server has it: links unresolved.

    Raises InvalidKey for a folder outside the root. What is not UTF-8 in a name is there as ``surrogateescape`` has it.
    """
    wire, path = connection.wire, connection.root + folder.encode()
    real, opened = wire.gather(ask_real(connection, path), wire.ask(Kind.OPENDIR, path))
    handle = opened.handle()
    found: Entries = []
    try:
        refuse_outside(connection, real, key=folder)
        while batch := _next_names(connection, handle):
            for name, attributes in batch:
                found.append((name.decode(errors="surrogateescape"), attributes))
    finally:
        wire.forget(wire.ask(Kind.CLOSE, handle))
        wire.send()
    return found


def list_keys(connection: SftpConnection, folder: str) -> list[tuple[str, Attributes | Unreachable]]:
    """The objects of a folder and, with a ``/`` behind them, its folders, in the order of a scan.

    Links to files below the root count as objects, and links to files elsewhere are told as Unreachable; links to
    folders, and those that no key can name, do not count.
    """
    found: list[tuple[str, Attributes | Unreachable]] = []
    links = []
    for name, attributes in list_folder(connection, folder):
        key = named(folder, name)
        if isinstance(key, Unreachable):
            if attributes.is_file or attributes.is_folder:
                found.append((key.key, key))
        elif key is None:
            continue
        elif attributes.is_file:
            found.append((key, attributes))
        elif attributes.is_folder:
            found.append((f"{key}/", attributes))
        elif stat.S_ISLNK(attributes.mode):
            links.append(key)
    for start in range(0, len(links), _LINKS_AT_ONCE):
        found += _resolve(connection, links[start : start + _LINKS_AT_ONCE])
    # Python orders text by code point, which is the order of its UTF-8 bytes.
    return sorted(found, key=lambda entry: entry[0])


def _next_names(connection: SftpConnection, handle: bytes) -> list[tuple[bytes, Attributes]]:
    try:
        return connection.wire.reply(connection.wire.ask(Kind.READDIR, handle)).names()
    except SftpStatus as exc:
        if exc.code == Code.EOF:
            return []
        raise


def _resolve(connection: SftpConnection, keys: list[str]) -> list[tuple[str, Attributes | Unreachable]]:
    wire = connection.wire
    paths = [connection.root + key.encode() for key in keys]
    replies = wire.gather(*(wire.ask(kind, path) for path in paths for kind in (Kind.REALPATH, Kind.STAT)))
    found: list[tuple[str, Attributes | Unreachable]] = []
    for key, real, target in zip(keys, replies[::2], replies[1::2], strict=True):
        try:
            if (attributes := target.attributes()).is_file:
                is_inside = _is_inside(connection, real.path())
                found.append((key, attributes if is_inside else Unreachable(key, LEADS_OUT)))
        except SftpStatus:
            continue  # It leads nowhere.
    return found


def _is_inside(connection: SftpConnection, real: bytes) -> bool:
    return (real.rstrip(b"/") + b"/").startswith(connection.root)
