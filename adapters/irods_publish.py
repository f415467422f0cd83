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


def move_into_place(connection: IrodsConnection, token: WriteToken) -> None:
    """Give the partial the object's path. Driver errors pass; ``put_in_order`` has to follow where one does.

    A CREATE is one rename, which the catalog refuses where the name is taken, in one transaction. iRODS has no rename
    that replaces, and overwriting in place would show half an object and lose the old one with a crash. A REPLACE
    therefore sets the old object aside under a name that follows from the key, renames, and removes it. Until the
    second rename other iRODS clients see nothing at the path, while Waybill finds the old object where it was set
    aside.
    """
    partial, target = connection.path(token.partial), connection.path(token.key)
    if token.mode is WriteMode.CREATE:
        rename(connection, partial, target)
        return
    try:
        rename(connection, partial, target)
        return
    except TAKEN:
        _set_aside(connection, token.key)
    try:
        rename(connection, partial, target)
    except TAKEN as exc:
        raise _another_writer(connection, token.key) from exc
    # The new object is there; what cannot be removed now is removed by the next writer or by ``abort_write``.
    with suppress(iRODSException):
        unlink(connection, connection.path(set_aside_key(token.key)))


def put_in_order(connection: IrodsConnection, key: str) -> None:
    """After a replacement that did not end: bring back the object that was set aside, or drop it if there is a new one.

    Every step is a rename that is refused where the name is taken, so that a living writer is at most made to fail.
    """
    aside, target = connection.path(set_aside_key(key)), connection.path(key)
    if not replicas_at(connection, aside):
        return
    try:
        rename(connection, aside, target)
    except TAKEN:
        remove(connection, aside)
    except MISSING:
        return  # Somebody else has just done so.


def remove(connection: IrodsConnection, path: str) -> None:
    """Remove an object; one that is gone is success."""
    with suppress(*MISSING):
        unlink(connection, path)


def _set_aside(connection: IrodsConnection, key: str) -> None:
    aside, target = connection.path(set_aside_key(key)), connection.path(key)
    try:
        rename(connection, target, aside)
    except MISSING:
        return  # It was deleted meanwhile.
    except TAKEN as exc:
        if not replicas_at(connection, target):
            raise _another_writer(connection, key) from exc
        # A writer has published and died before it could remove the one before.
        remove(connection, aside)
        rename(connection, target, aside)


def _another_writer(connection: IrodsConnection, key: str) -> Unavailable:
    return Unavailable("another writer is replacing it", storage=connection.storage, key=key)
