"""What the stand-in keeps: a catalog of collections and replicas in SQLite, and their bytes as files of a vault."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.irods.frames import Refused

UNKNOWN_COLLECTION, UNKNOWN_ZONE, NO_SUCH_PATH, PATH_TOO_LONG = -814_000, -26_000, -358_000, -346_000
EXISTS_AS_OBJECT, EXISTS_AS_COLLECTION, EXISTS, HIERARCHY = -834_000, -833_000, -809_000, -1_803_000
NO_SUCH_RESOURCE, NO_SUCH_REPLICA, LOCKED = -78_000, -164_000, -406_000

STALE, GOOD, BEING_WRITTEN = 0, 1, 2
_MAX_PATH_BYTES = 1088

_SCHEMA = """
CREATE TABLE IF NOT EXISTS collections (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, parent TEXT);
CREATE TABLE IF NOT EXISTS ids (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS replicas (
    data INTEGER, coll INTEGER, name TEXT, number INTEGER, size INTEGER, status INTEGER, checksum TEXT,
    modified INTEGER, resource TEXT, UNIQUE (coll, name, number)
);
"""


@dataclass(frozen=True)
class Row:
    """One replica, and the file that holds it."""

    data: int
    number: int
    status: int
    checksum: str
    file: Path


class Store:
    """Thread-safe. Each method is one transaction, as it is in iRODS; errors are Refused."""

    def __init__(self, folder: Path, zone: str, resource: str) -> None:
        self.zone = zone
        self.resource = resource
        self.vault = folder / "vault"
        self.vault.mkdir(exist_ok=True)
        self._lock = threading.RLock()
        self._database = sqlite3.connect(folder / "catalog.sqlite", check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA case_sensitive_like = ON")
        self._database.executescript(_SCHEMA)

    def select(self, statement: str, values: Iterable[object]) -> list[tuple[object, ...]]:
        with self._lock:
            return self._database.execute(statement, tuple(values)).fetchall()

    def make_collection(self, path: str, *, recursive: bool) -> None:
        self._check_path(path)
        parent = path.rpartition("/")[0]
        with self._transaction():
            if self._collection(path) is not None:
                raise Refused(EXISTS)
            if parent and self._rows(path):
                raise Refused(EXISTS_AS_OBJECT)
            if path != f"/{self.zone}" and self._collection(parent) is None:
                if not recursive:
                    raise Refused(UNKNOWN_COLLECTION)
                self.make_collection(parent, recursive=True)
            self._run("INSERT INTO collections (name, parent) VALUES (?, ?)", path, parent or "/")

    def open(self, path: str, *, writing: bool, create: bool, number: str, resource: str) -> Row:
        """The replica to open. One that is opened for writing is marked so, and its checksum is forgotten."""
        self._check_path(path)
        with self._transaction():
            rows = self._rows(path)
            if not rows:
                if not create:
                    raise Refused(NO_SUCH_PATH)
                return self._create(path, resource)
            if any(row.status == BEING_WRITTEN for row in rows):
                raise Refused(HIERARCHY)
            wanted = [row for row in rows if not number or row.number == int(number)]
            if not wanted:
                raise Refused(NO_SUCH_REPLICA)
            best = min(wanted, key=lambda row: (row.status != GOOD, row.number))
            if writing:
                self._run(
                    "UPDATE replicas SET status = ?, checksum = '' WHERE data = ? AND number = ?",
                    *(BEING_WRITTEN, best.data, best.number),
                )
            return best

    def close_written(self, row: Row, *, size: int, status: int) -> None:
        """The end of a writer: what was written is good, or stale; all other replicas are stale."""
        with self._transaction():
            self._run("UPDATE replicas SET status = ? WHERE data = ?", STALE, row.data)
            self._run(
                "UPDATE replicas SET size = ?, status = ?, modified = ? WHERE data = ? AND number = ?",
                *(size, status, int(time.time()), row.data, row.number),
            )

    def set_checksum(self, row: Row, checksum: str) -> None:
        with self._transaction():
            self._run("UPDATE replicas SET checksum = ? WHERE data = ? AND number = ?", checksum, row.data, row.number)

    def find(self, path: str, number: str = "") -> Row:
        """The replica that a read would take."""
        with self._lock:
            rows = [row for row in self._rows(path) if not number or row.number == int(number)]
        if not rows:
            raise Refused(NO_SUCH_PATH)
        return min(rows, key=lambda row: (row.status != GOOD, row.number))

    def rename(self, source: str, target: str) -> None:
        self._check_path(target)
        folder, _, name = target.rpartition("/")
        with self._transaction():
            rows = self._rows(source)
            if not rows:
                raise Refused(NO_SUCH_PATH)
            self._refuse_locked(rows)
            if self._collection(target) is not None:
                raise Refused(EXISTS_AS_COLLECTION)
            if self._rows(target):
                raise Refused(EXISTS_AS_OBJECT)
            coll = self._collection(folder)
            if coll is None:
                raise Refused(UNKNOWN_COLLECTION)
            self._run(
                "UPDATE replicas SET coll = ?, name = ?, modified = ? WHERE data = ?",
                *(coll, name, int(time.time()), rows[0].data),
            )

    def unlink(self, path: str) -> None:
        with self._transaction():
            rows = self._rows(path)
            if not rows:
                raise Refused(NO_SUCH_PATH)
            self._refuse_locked(rows)
            self._run("DELETE FROM replicas WHERE data = ?", rows[0].data)
        for row in rows:
            row.file.unlink(missing_ok=True)

    def _create(self, path: str, resource: str) -> Row:
        folder, _, name = path.rpartition("/")
        coll = self._collection(folder)
        if coll is None:
            raise Refused(UNKNOWN_COLLECTION)
        if self._collection(path) is not None:
            raise Refused(EXISTS_AS_COLLECTION)
        if resource not in ("", self.resource):
            raise Refused(NO_SUCH_RESOURCE)
        data = self._run("INSERT INTO ids DEFAULT VALUES").lastrowid or 0
        self._run(
            "INSERT INTO replicas VALUES (?, ?, ?, 0, 0, ?, '', ?, ?)",
            *(data, coll, name, BEING_WRITTEN, int(time.time()), self.resource),
        )
        row = Row(data, 0, BEING_WRITTEN, "", self.vault / f"{data}.0")
        row.file.write_bytes(b"")
        return row

    def _rows(self, path: str) -> list[Row]:
        folder, _, name = path.rpartition("/")
        found = self._run(
            "SELECT r.data, r.number, r.status, r.checksum FROM replicas r JOIN collections c ON c.id = r.coll"
            " WHERE c.name = ? AND r.name = ?",
            *(folder, name),
        )
        return [
            Row(data, number, status, checksum, self.vault / f"{data}.{number}")
            for data, number, status, checksum in found
        ]

    def _refuse_locked(self, rows: list[Row]) -> None:
        if any(row.status == BEING_WRITTEN for row in rows):
            raise Refused(LOCKED)

    def _collection(self, path: str) -> int | None:
        row = self._run("SELECT id FROM collections WHERE name = ?", path).fetchone()
        return None if row is None else int(row[0])

    def _check_path(self, path: str) -> None:
        if len(path.encode()) >= _MAX_PATH_BYTES:
            raise Refused(PATH_TOO_LONG)
        if path.split("/")[1] != self.zone:
            raise Refused(UNKNOWN_ZONE)

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._database.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            if self._database.in_transaction:  # It is a part of a larger one.
                yield
                return
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
