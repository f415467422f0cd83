"""What is asked of an iRODS server about data objects and collections, one request each; the driver's errors pass."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from irods import keywords
from irods.exception import CAT_NAME_EXISTS_AS_COLLECTION, CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME
from irods.message import (
    CollectionRequest,
    DataObjChksumRequest,
    DataObjChksumResponse,
    FileOpenRequest,
    FileSeekResponse,
    ObjCopyRequest,
    OpenedDataObjRequest,
    StringStringMap,
)

from adapters.irods_connection import IrodsConnection
from adapters.irods_errors import LOCKED, understanding

#: How much is asked for or sent in one request; each costs a round trip.
REQUEST_BYTES = 4 * 1024 * 1024
#: How long a server may take to notice that a writer has gone.
RELEASE_S = 5.0
_LOOK_AGAIN_S = 0.05

_RENAME_OBJECT, _COPY_TARGET, _COPY_SOURCE = 11, 9, 10
#: Since this release an undeclared size has a number of its own.
_KNOWS_NO_SIZE = (4, 3, 1)

T = TypeVar("T")


def open_to_read(connection: IrodsConnection, path: str, number: str) -> int:
    """A descriptor of the replica with this number."""
    return _open(connection, path, os.O_RDONLY, {keywords.REPL_NUM_KW: number})


def open_to_write(connection: IrodsConnection, path: str, *, create: bool) -> int:
    """A descriptor of an object whose bytes are kept, or of a new one on the storage's resource."""
    if not create:
        return _open(connection, path, os.O_WRONLY, {})
    return _open(connection, path, os.O_WRONLY | os.O_CREAT, _resource(connection))


def seek(connection: IrodsConnection, descriptor: int, offset: int, *, whence: int = os.SEEK_SET) -> int:
    """The new offset in bytes."""
    answer = connection.ask("DATA_OBJ_LSEEK_AN", _opened(descriptor, offset=offset, whence=whence))
    with understanding():
        return int(answer.get_main_message(FileSeekResponse).offset)


def read_into(connection: IrodsConnection, descriptor: int, room: memoryview) -> int:
    """How many bytes came, as many as there is room for or fewer; 0 at the end."""
    return len(connection.ask("DATA_OBJ_READ_AN", _opened(descriptor, length=len(room)), into=room).bs)


def write(connection: IrodsConnection, descriptor: int, data: memoryview) -> int:
    """How many bytes the server took."""
    return int(connection.ask("DATA_OBJ_WRITE_AN", _opened(descriptor, length=len(data)), data=data).int_info)


def close(connection: IrodsConnection, descriptor: int, *, written_bytes: int = 0) -> None:
    """A resource that replicates copies what was written before it answers; ``written_bytes`` is for that time."""
    connection.ask("DATA_OBJ_CLOSE_AN", _opened(descriptor), work_bytes=written_bytes)


def unlink(connection: IrodsConnection, path: str) -> None:
    """Remove an object for good, not into the trash."""
    connection.ask("DATA_OBJ_UNLINK_AN", _object(path, size=-1, keyed={keywords.FORCE_FLAG_KW: ""}))


def rename(connection: IrodsConnection, source: str, target: str, *, size: int = 0) -> None:
    """Give an object another path in one step; one that is taken is refused by the server, and both stay.

    ``size`` is for the time that a resource takes which has to copy for it.
    """
    pair = ObjCopyRequest(
        srcDataObjInp_PI=_object(source, kind=_RENAME_OBJECT), destDataObjInp_PI=_object(target, kind=_RENAME_OBJECT)
    )
    connection.ask("DATA_OBJ_RENAME_AN", pair, work_bytes=size)


def copy(connection: IrodsConnection, source: str, number: str, target: str, *, size: int) -> None:
    """Have the server copy the replica with this number to a new object; ``size`` is for the time it may take."""
    pair = ObjCopyRequest(
        srcDataObjInp_PI=_object(source, kind=_COPY_SOURCE, keyed={keywords.REPL_NUM_KW: number}),
        destDataObjInp_PI=_object(target, kind=_COPY_TARGET, keyed=_resource(connection)),
    )
    connection.ask("DATA_OBJ_COPY_AN", pair, work_bytes=size)


def compute_checksum(connection: IrodsConnection, path: str, *, size: int) -> str:
    """Have the server read the object and note its checksum, in its form; ``size`` is for the time it takes."""
    request = DataObjChksumRequest(path, **{keywords.FORCE_CHKSUM_KW: ""})
    answer = connection.ask("DATA_OBJ_CHKSUM_AN", request, work_bytes=size)
    with understanding():
        return (answer.get_main_message(DataObjChksumResponse).myStr or "").strip()


def once_released(deed: Callable[[], T]) -> T:
    """The deed's result, once the server has noticed that a writer has gone.

    It keeps an object locked until then. Raises what the deed raises, after ``RELEASE_S`` also that it is locked.
    """
    until = time.monotonic() + RELEASE_S
    while True:
        try:
            return deed()
        except LOCKED:
            if time.monotonic() > until:
                raise
        time.sleep(_LOOK_AGAIN_S)


def make_collection(connection: IrodsConnection, path: str) -> None:
    """Make a collection and those above it; one that is there is success."""
    request = CollectionRequest(
        collName=path, flags=0, oprType=0, KeyValPair_PI=StringStringMap({keywords.RECURSIVE_OPR__KW: ""})
    )
    try:
        connection.ask("COLL_CREATE_AN", request)
    except (CAT_NAME_EXISTS_AS_COLLECTION, CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME):
        return  # Somebody else was quicker.


def _open(connection: IrodsConnection, path: str, flags: int, keyed: Mapping[str, str]) -> int:
    size = -1 if connection.release >= _KNOWS_NO_SIZE else 0
    return int(connection.ask("DATA_OBJ_OPEN_AN", _object(path, flags=flags, size=size, keyed=keyed)).int_info)


def _resource(connection: IrodsConnection) -> dict[str, str]:
    resource = connection.endpoint.resource
    return {keywords.DEST_RESC_NAME_KW: resource} if resource else {}


def _object(
    path: str, *, flags: int = 0, size: int = 0, kind: int = 0, keyed: Mapping[str, str] = {}
) -> FileOpenRequest:
    return FileOpenRequest(
        objPath=path,
        createMode=0,
        openFlags=flags,
        offset=0,
        dataSize=size,
        numThreads=0,
        oprType=kind,
        KeyValPair_PI=StringStringMap(dict(keyed)),
    )


def _opened(descriptor: int, *, length: int = 0, offset: int = 0, whence: int = 0) -> OpenedDataObjRequest:
    return OpenedDataObjRequest(
        l1descInx=descriptor,
        len=length,
        whence=whence,
        oprType=0,
        offset=offset,
        bytesWritten=0,
        KeyValPair_PI=StringStringMap(),
    )
