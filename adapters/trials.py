"""What the checks of several kinds of storage try alike."""

from __future__ import annotations

from adapters.base import Adapter, WriteMode
from adapters.errors import AdapterError, AlreadyExists


def store(adapter: Adapter, key: str, data: bytes, mode: WriteMode = WriteMode.CREATE) -> None:
    """Write an object whole."""
    with adapter.open_write(key, size=len(data), mode=mode) as session:
        session.write(data)
        session.publish()


def refuse_overwriting(adapter: Adapter, late: str) -> None:
    """A CREATE that comes too late meets the name when it is renamed and not before: the server itself must refuse.

    ``late`` is the token of a suspended CREATE of a key that has been taken since.
    """
    try:
        with adapter.resume_write(late) as session:
            session.publish()
    except AlreadyExists:
        return
    raise AdapterError("the server renames onto an existing name instead of refusing it", storage=adapter.name)
