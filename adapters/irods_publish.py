"""How an unfinished write becomes the object at its key, and how what a writer left behind is put in order."""

from __future__ import annotations

from contextlib import suppress

from irods.exception import iRODSException

from adapters.base import WriteMode
from adapters.errors import Unavailable
from adapters.irods_catalog import replicas_at, set_aside_key
from adapters.irods_connection import IrodsConnection
from adapters.irods_errors import MISSING, TAKEN
from adapters.irods_objects import rename, unlink
from adapters.tokens import WriteToken


def move_into_place(connection: IrodsConnection, token: WriteToken, *, size: int) -> None:
    """Give the partial, of ``size`` bytes, the object's path. Driver errors pass; ``put_in_order`` has to follow them.

    A CREATE is one rename, which the catalog refuses where the name is taken, in one transaction. iRODS has no rename
    that replaces, and overwriting in place would show half an object and lose the old one with a crash. A REPLACE
    therefore sets the old object aside under a name that follows from the key, renames, and removes it. Until the
    second rename other iRODS clients see nothing at the path, while Waybill finds the old object where it was set
    aside. Of several writers at once one wins, and the others are told Unavailable.
    """
    partial, target = connection.path(token.partial), connection.path(token.key)
    if token.mode is WriteMode.CREATE:
        rename(connection, partial, target, size=size)
        return
    try:
        _replace(connection, token.key, partial, target, size=size)
    except TAKEN as exc:
        raise _another_writer(connection, token.key) from exc


def put_in_order(connection: IrodsConnection, key: str) -> None:
    """After a replacement that did not end: bring back the object that was set aside, or drop it if there is a new one.

    Every step is a rename that is refused where the name is taken, so that a living writer is at most made to fail.
    """
    aside, target = connection.path(set_aside_key(key)), connection.path(key)
    found = replicas_at(connection, aside)
    if not found:
        return
    try:
        rename(connection, aside, target)
    except TAKEN:
        _remove_if(connection, aside, found[0].data_id)
    except MISSING:
        return  # Somebody else has just done so.


def remove(connection: IrodsConnection, path: str) -> None:
    """Remove an object; one that is gone is success."""
    with suppress(*MISSING):
        unlink(connection, path)


def _replace(connection: IrodsConnection, key: str, partial: str, target: str, *, size: int) -> None:
    try:
        rename(connection, partial, target, size=size)
    except TAKEN:
        data_id = _set_aside(connection, key)
        rename(connection, partial, target, size=size)
        # The new object is there. What cannot be removed now is removed by the next writer or by ``abort_write``.
        with suppress(iRODSException):
            _remove_if(connection, connection.path(set_aside_key(key)), data_id)
    else:
        # A writer may have died here after it had set the object aside.
        with suppress(iRODSException):
            put_in_order(connection, key)


def _set_aside(connection: IrodsConnection, key: str) -> str:
    """The id of the object that was set aside; empty where there was none any more."""
    aside, target = connection.path(set_aside_key(key)), connection.path(key)
    try:
        return _move_aside(connection, target, aside)
    except TAKEN:
        if not replicas_at(connection, target):
            raise  # Another writer has set it aside just now, or died there: abort_write brings it back.
    # A writer has published, and could not remove the object before.
    put_in_order(connection, key)
    return _move_aside(connection, target, aside)


def _move_aside(connection: IrodsConnection, target: str, aside: str) -> str:
    try:
        rename(connection, target, aside)
    except MISSING:
        return ""  # It was deleted, or another writer has set it aside.
    found = replicas_at(connection, aside)
    return found[0].data_id if found else ""


def _remove_if(connection: IrodsConnection, path: str, data_id: str) -> None:
    """Remove what lies at the path only if it is that object: by now another may have been set aside there."""
    if any(replica.data_id == data_id for replica in replicas_at(connection, path)):
        remove(connection, path)


def _another_writer(connection: IrodsConnection, key: str) -> Unavailable:
    detail = "another writer is replacing it, or died doing so and is not yet cleaned up behind"
    return Unavailable(detail, storage=connection.storage, key=key)
