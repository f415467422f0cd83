"""What the iRODS catalog knows: replicas of objects, collections and what lies in them, free space."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from irods.models import Collection, DataObject, Resource

from adapters.base import Checksum, ObjectStat, Unreachable
from adapters.errors import AdapterError, InvalidKey, Offline, Unavailable
from adapters.irods_connection import IrodsConnection, quoted
from adapters.irods_errors import ProtocolBroken
from adapters.keys import check_key, partial_key
from adapters.walking import Entry, named

#: The states of a replica: what was written whole, and what is not to be read.
GOOD, STALE = "1", "0"

#: What a resource said of its free space longer ago than this is not believed.
_SPACE_IS_TRUE_FOR_S = 24 * 3600
_CHECKSUM = "sha2:"
#: The end of the year 9999.
_LAST_SECOND = 253_402_300_799
_NEVER_IN_XML = re.compile("[\ufffe\uffff]")

_COLUMNS = (
    Collection.name,
    DataObject.name,
    DataObject.id,
    DataObject.replica_number,
    DataObject.replica_status,
    DataObject.size,
    DataObject.modify_time,
    DataObject.checksum,
)


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of a data object; ``data_id`` is the object's for as long as it exists, wherever it is moved."""

    path: str
    data_id: str
    number: str
    status: str
    size: int
    modified_s: int
    checksum: str

    @property
    def is_good(self) -> bool:
        return self.status == GOOD


def check_name(key: str, *, storage: str) -> str:
    """The key itself, or InvalidKey where no query of iRODS could ask for exactly this name."""
    if "'" in key and ("&&" in key or "||" in key):
        raise InvalidKey("iRODS cannot look for an apostrophe together with && or ||", storage=storage, key=key)
    if _NEVER_IN_XML.search(key):
        raise InvalidKey("it holds a character that the iRODS protocol cannot carry", storage=storage, key=key)
    return key


def set_aside_key(key: str) -> str:
    """Where the object at the key lies while it is replaced: named like an unfinished write, but for its first digit.

    It is the same for whoever replaces the key, so that of several only one can be doing so.
    """
    return partial_key(key, "2" + hashlib.sha256(key.encode()).hexdigest()[:31])


def object_stat(key: str, replica: Replica) -> ObjectStat:
    """Times are whole seconds, so that a version of them is weak; an object that replaces another has a new id."""
    version = f"{replica.data_id}-{replica.modified_s:x}-{replica.size:x}"
    modified = datetime.fromtimestamp(replica.modified_s, UTC)
    checksum = None
    if replica.checksum.startswith(_CHECKSUM):
        checksum = Checksum("sha-256", sha256_of(replica.checksum).hex())
    return ObjectStat(key, replica.size, modified, version, version_is_strong=False, checksum=checksum)


def sha256_of(checksum: str) -> bytes:
    """The digest in a checksum of iRODS (``sha2:`` and base64); empty where it is of another kind."""
    try:
        return base64.b64decode(checksum.removeprefix(_CHECKSUM)) if checksum.startswith(_CHECKSUM) else b""
    except binascii.Error:
        return b""


def replicas_at(connection: IrodsConnection, path: str) -> list[Replica]:
    """All replicas of the data object at exactly this path, by number; none where there is no object."""
    collection, _, name = path.rpartition("/")
    conditions = {Collection.name: quoted("=", collection), DataObject.name: quoted("=", name)}
    found = map(_replica, connection.query(_COLUMNS, conditions))
    # A quote in a name might let the server find more than was asked for.
    return sorted((replica for replica in found if replica.path == path), key=lambda replica: int(replica.number))


def good_one(replicas: Iterable[Replica], key: str, *, storage: str) -> Replica:
    """The first good replica. Raises Unavailable while the object is written to, AdapterError where all are stale."""
    replicas = list(replicas)
    good = next((replica for replica in replicas if replica.is_good), None)
    if good is not None:
        return good
    if all(replica.status == STALE for replica in replicas):
        raise AdapterError("every replica of it is stale; an iRODS administrator has to look", storage=storage, key=key)
    raise Unavailable("somebody is writing to it, and no replica is good", storage=storage, key=key)


def look_again(connection: IrodsConnection, seen: Replica) -> Replica | None:
    """The same replica as it is now; None where it was moved or removed."""
    found = replicas_at(connection, seen.path)
    return next((now for now in found if (now.data_id, now.number) == (seen.data_id, seen.number)), None)


def is_collection(connection: IrodsConnection, path: str) -> bool:
    rows = connection.query([Collection.name], {Collection.name: quoted("=", path)})
    return [path] in list(rows)


def refuse_lost_root(connection: IrodsConnection, key: str) -> None:
    """Where the root itself is not there, no object is known to be missing: raises Offline."""
    if not is_collection(connection, connection.root):
        detail = f"its root collection {connection.root} is not there, or not to be seen by our user"
        raise Offline(detail, storage=connection.storage, key=key)


def partials_in(connection: IrodsConnection, folder: str, name: str) -> list[str]:
    """The names in a collection that may be those of unfinished writes of ``name``, and perhaps some more."""
    # In a pattern a backslash is an escape and _ is any character.
    pattern = quoted("like", f".{name}.%.partial".replace("\\", "_"))
    conditions = {Collection.name: quoted("=", connection.path(folder)), DataObject.name: pattern}
    return [row[0] for row in connection.query([DataObject.name], conditions)]


def list_folder(connection: IrodsConnection, folder: str) -> list[tuple[str, Replica | Unreachable | None]]:
    """The keys of a folder's objects with a good replica of each, and its folders with a ``/`` behind, in order.

    ``folder`` is empty for the root or ends in ``/``. An object of which no replica is good is there with another one,
    lest it seems to be missing, and one that is just being replaced is there. What no key names is an Unreachable.
    """
    path = connection.path(folder.rstrip("/"))
    found: dict[str, Replica] = {}
    rows = map(_replica, connection.query(_COLUMNS, {Collection.name: quoted("=", path)}))
    replicas = sorted(rows, key=lambda replica: (replica.path, int(replica.number)))
    for name, of_one in groupby(replicas, key=lambda replica: replica.path.removeprefix(f"{path}/")):
        several = list(of_one)
        found[folder + name] = next((replica for replica in several if replica.is_good), several[0])
    present = _keys(found, connection.storage)
    for row in connection.query([Collection.name], {Collection.parent_name: quoted("=", path)}):
        name = row[0].removeprefix(f"{path}/")
        if name != row[0] and (key := _named(folder + name, connection.storage)):
            present |= {key.key: key} if isinstance(key, Unreachable) else {f"{key}/": None}
    # Python orders text by code point, which is the order of its UTF-8 bytes.
    return sorted(present.items(), key=lambda entry: entry[0])


def entries(connection: IrodsConnection, folder: str) -> list[Entry]:
    """All that lies in a folder, unfinished writes too; of several replicas of one name one."""
    path = connection.path(folder.rstrip("/"))
    found = {}
    for replica in map(_replica, connection.query(_COLUMNS, {Collection.name: quoted("=", path)})):
        name = replica.path.removeprefix(f"{path}/")
        found[name] = Entry(name, False, replica.size, datetime.fromtimestamp(replica.modified_s, UTC))
    for row in connection.query([Collection.name], {Collection.parent_name: quoted("=", path)}):
        name = row[0].removeprefix(f"{path}/")
        found.setdefault(name, Entry(name, True, 0, None))
    return list(found.values())


def free_bytes(connection: IrodsConnection, resource: str) -> int | None:
    """What the resource last said of its free space; None of one that does not, or not lately."""
    columns = [Resource.free_space, Resource.free_space_time]
    for space, told in list(connection.query(columns, {Resource.name: quoted("=", resource)})):
        if space.isdigit() and told.isdigit() and time.time() - int(told) < _SPACE_IS_TRUE_FOR_S:
            return int(space)
    return None


def _replica(row: list[str]) -> Replica:
    collection, name, data_id, number, status, size, modified, checksum = row
    modified_s = int(modified)
    if not 0 <= modified_s <= _LAST_SECOND:
        raise ProtocolBroken(f"a time of {modified_s} s")
    return Replica(f"{collection}/{name}", data_id, number, status, int(size), modified_s, checksum)


def _keys(found: Mapping[str, Replica], storage: str) -> dict[str, Replica | Unreachable | None]:
    """Without unfinished writes; what was set aside stands for its object until that is there."""
    keys: dict[str, Replica | Unreachable | None] = {}
    for path, replica in found.items():
        key = _named(path, storage)
        keys |= {key.key: key} if isinstance(key, Unreachable) else {key: replica} if key else {}
    for key, replica in found.items():
        folder, _, name = key.rpartition("/")
        target = name[1:-41]
        whole = f"{folder}/{target}" if folder else target
        if name.endswith(".partial") and target and set_aside_key(whole) == key:
            keys.setdefault(whole, replica)
    return keys


def _named(path: str, storage: str) -> str | Unreachable | None:
    folder, slash, name = path.rpartition("/")
    return named(folder + slash, name, lambda key: check_name(check_key(key), storage=storage))
