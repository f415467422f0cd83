"""A stand-in for an iRODS server: no iRODS, but what python-irodsclient 3.3.0 says and hears, with real bytes.

There is no package of the server for the machines that run these tests. The stand-in speaks the protocol to the
unmodified client in a process of its own: start-up, TLS, logins of both generations, queries, and data objects. It
rests on what was seen between that client and a real iRODS 5.0.2 (the frames, the numbers of the calls, the forms of
messages; a rename onto an existing object ends in CAT_NAME_EXISTS_AS_DATAOBJ, a second writer of one object in
HIERARCHY_ERROR, a query without rows in CAT_NO_ROWS_FOUND), and on what the client itself takes for granted.

From iRODS' own issues (5195, 5421, 8253) and sources it has that an object which is being written is neither unlinked
nor renamed (LOCKED_DATA_OBJECT_ACCESS), that the replica of a writer who went away becomes stale, and that the value
in a query's condition is what lies between the first and the last quote.

What is an assumption: that such a stale replica keeps its bytes and is opened for writing again; that the server sets
the time of what it renames; the codes for a missing object (OBJ_PATH_DOES_NOT_EXIST), for a zone that it does not know
(SYS_INVALID_ZONE_NAME) and for ``&&`` and ``||`` outside of quotes. There is one user, no permissions, no rules and
one resource. The tests run against a real server where ``WAYBILL_TEST_IRODS`` is set.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.front import self_signed
from tests.servers.irods.faults import Faults
from tests.servers.ports import free_port, is_listening
from tests.servers.process import Process, Server

ZONE, USER, PASSWORD, RESOURCE = "testZone", "waybill", "correct horse", "disk"


@dataclass
class Irods(Server):
    """One stand-in; its catalog, its bytes, its log and the faults that tests put there lie in ``folder``.

    ``tls_policy`` is what it answers to a client's request to negotiate. ``release`` decides how clients log in.
    After ``stop`` or ``kill``, ``start`` brings the same server back on the same port.
    """

    folder: Path
    tls_policy: str = "CS_NEG_REFUSE"
    release: str = "5.0.2"
    root: str = f"/{ZONE}/data"
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "irods.log"
        self.faults = Faults(self.folder)
        self._counted = 0
        _, self.ca = self_signed(self.folder)

    def launch(self) -> None:
        settings = {
            "folder": str(self.folder),
            "port": self.port,
            "zone": ZONE,
            "user": USER,
            "password": PASSWORD,
            "resource": RESOURCE,
            "release": self.release,
            "tls_policy": self.tls_policy,
            "certificate": str(self.folder / "front.pem"),
            "collections": [self.root],
        }
        command = [sys.executable, "-m", "tests.servers.irods", json.dumps(settings)]
        process = Process.start("irods", command, log=self.log)
        self.processes.append(process)
        process.wait_ready(lambda: is_listening(self.port), what=f"listening on port {self.port}")

    def options(self, **changes: object) -> dict[str, object]:
        """The options of a storage on it."""
        policy = "CS_NEG_REFUSE" if self.tls_policy == "CS_NEG_REFUSE" else "CS_NEG_REQUIRE"
        return {
            "host": self.host,
            "port": self.port,
            "zone": ZONE,
            "username": USER,
            "root": self.root,
            "resource": RESOURCE,
            "client_server_policy": policy,
            "ca": self.ca,
            **changes,
        }

    def begin(self, name: str) -> None:
        """A root of its own for a test: no objects, no faults, and the logins are counted anew."""
        self.root = f"/{ZONE}/{name}"
        self.sql("INSERT INTO collections (name, parent) VALUES (?, ?)", self.root, f"/{ZONE}")
        self.faults.heal()
        self._counted = self._all_logins()

    def logins(self) -> int:
        return self._all_logins() - self._counted

    def _all_logins(self) -> int:
        return self.log.read_text().count("let in")

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Look into the catalog, or change what a client cannot."""
        with closing(sqlite3.connect(self.folder / "catalog.sqlite", timeout=30)) as database, database:
            return database.execute(statement, values).fetchall()

    def paths(self) -> list[str]:
        """The logical paths of all data objects below the root, unfinished ones too."""
        rows = self.sql("SELECT DISTINCT c.name || '/' || r.name FROM replicas r JOIN collections c ON c.id = r.coll")
        below = f"{self.root}/"
        return sorted(str(path).removeprefix(below) for (path,) in rows if str(path).startswith(below))

    def set_replica(self, key: str, number: int, *, status: int) -> None:
        """Give a replica of an object another status: 0 stale, 1 good, 2 being written."""
        data = self.data_id(key)
        self.sql("UPDATE replicas SET status = ? WHERE data = ? AND number = ?", status, data, number)

    def add_replica(self, key: str, number: int, content: bytes, *, status: int) -> None:
        """Another replica, which may hold anything."""
        data = self.data_id(key)
        (self.folder / "vault" / f"{data}.{number}").write_bytes(content)
        self.sql(
            "INSERT INTO replicas SELECT data, coll, name, ?, ?, ?, '', modified, resource FROM replicas"
            " WHERE data = ? LIMIT 1",
            *(number, len(content), status, data),
        )

    def overwrite(self, key: str, content: bytes) -> None:
        """What another client does that writes into the object in place."""
        data = self.data_id(key)
        (self.folder / "vault" / f"{data}.0").write_bytes(content)
        self.sql("UPDATE replicas SET size = ?, modified = modified + 1 WHERE data = ?", len(content), data)

    def data_id(self, key: str) -> int:
        """The number of an object in the catalog."""
        collection, _, name = f"{self.root}/{key}".rpartition("/")
        statement = "SELECT r.data FROM replicas r JOIN collections c ON c.id = r.coll WHERE c.name = ? AND r.name = ?"
        return int(str(self.sql(statement, collection, name)[0][0]))
