"""An adapter of one's own: objects in a SQLite file. docs/adapters.md goes through it step by step."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Self
from urllib.parse import quote

from adapters.base import (
    CHUNK_BYTES,
    Adapter,
    CheckStep,
    Field,
    ObjectStat,
    Prefix,
    ReadStream,
    Traits,
    WriteMode,
    WriteSession,
)
from adapters.errors import (
    AdapterError,
    AlreadyExists,
    NotFound,
    Offline,
    RangeInvalid,
    SizeMismatch,
    Truncated,
    Unavailable,
    VersionChanged,
    WriteLost,
)
from adapters.tokens import WriteToken

_TABLES = """\
CREATE TABLE IF NOT EXISTS object (key TEXT PRIMARY KEY, size INTEGER, modified TEXT, version TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS piece (version TEXT, start INTEGER, data BLOB, PRIMARY KEY (version, start));
CREATE TABLE IF NOT EXISTS unfinished (token TEXT PRIMARY KEY, key TEXT) WITHOUT ROWID;
"""
#: SQLite compares text by its UTF-8 bytes, which is the order that a scan has to keep.
_PAGE = "SELECT key, size, modified, version FROM object WHERE key >= ? AND key >= ? ORDER BY key LIMIT 500"


class BlobAdapter(Adapter):
    """An object is a row; its bytes are pieces of at most 1 MiB, which a reader fetches one by one."""

    scheme = "blobs"
    title = "SQLite file"
    fields = (Field("file", "string", "Absolute path of the SQLite file; made when missing", required=True),)
    traits = Traits(atomic_create=True, atomic_replace=True, resumes=True, strong_versions=True)

    def __init__(self, name: str, file: str) -> None:
        self.name = name
        self._file = file

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        file = str(options["file"])
        if not os.path.isabs(file):
            raise ValueError("file: an absolute path was expected")
        return cls(name, file)

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return f"blobs://{quote(str(options['file']))}/"

    @contextmanager
    def transaction(self, key: str = "") -> Iterator[sqlite3.Connection]:
        """One transaction. The one place that turns the driver's errors into those of the contract."""
        try:
            with closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as database:
                database.executescript(_TABLES)
                database.execute("BEGIN IMMEDIATE")
                with database:
                    yield database
        except sqlite3.OperationalError as exc:
            is_away = not os.path.isdir(os.path.dirname(self._file))
            raise (Offline if is_away else Unavailable)(str(exc), storage=self.name, key=key) from exc

    def stat(self, key: str) -> ObjectStat:
        with self.transaction(key) as database:
            row = database.execute("SELECT key, size, modified, version FROM object WHERE key = ?", [key]).fetchone()
        if row is None:
            raise NotFound(storage=self.name, key=key)
        return _stat(row)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        stat = self.stat(key)
        if version not in (None, stat.version):
            raise VersionChanged(storage=self.name, key=key)
        stop = stat.size if stop is None else stop
        if not 0 <= start <= stop <= stat.size:
            raise RangeInvalid(f"[{start}, {stop}) of {stat.size} bytes", storage=self.name, key=key)
        return _BlobRead(self, stat, start, stop)

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        token = WriteToken.new(key, size=size, mode=mode)
        with self.transaction(key) as database:
            self.refuse_taken(database, token)
            database.execute("INSERT INTO unfinished VALUES (?, ?)", [str(token), key])
        return _BlobWrite(self, token, 0)

    def resume_write(self, token: str) -> WriteSession:
        parsed = WriteToken.parse(token, storage=self.name)
        with self.transaction(parsed.key) as database:
            self.require_unfinished(database, parsed)
            return _BlobWrite(self, parsed, written(database, parsed))

    def unfinished_writes(self, key: str) -> list[str]:
        with self.transaction(key) as database:
            return [token for (token,) in database.execute("SELECT token FROM unfinished WHERE key = ?", [key])]

    def abort_write(self, token: str) -> None:
        parsed = WriteToken.parse(token, storage=self.name)
        with self.transaction(parsed.key) as database:
            if database.execute("DELETE FROM unfinished WHERE token = ?", [token]).rowcount:
                database.execute("DELETE FROM piece WHERE version = ?", [parsed.hex])

    def delete(self, key: str) -> None:
        with self.transaction(key) as database:
            _delete(database, key)

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[ObjectStat | Prefix]:
        at = f"{after}\0"  # No key holds this character, so this is the first that may follow.
        while True:
            with self.transaction(prefix) as database:
                page = [_stat(row) for row in database.execute(_PAGE, [at, prefix])]
            for stat in page:
                if not stat.key.startswith(prefix):
                    return
                folder, slash, _ = stat.key[len(prefix) :].partition("/")
                if recursive or not slash:
                    yield stat
                    at = f"{stat.key}\0"
                    continue
                folded = f"{prefix}{folder}/"
                if folded > after:
                    yield Prefix(folded)
                at = f"{prefix}{folder}0"  # "0" is the character behind "/": go on behind the folder.
                break
            else:
                if not page:
                    return

    def check(self) -> list[CheckStep]:
        key = f"waybill-check-{secrets.token_hex(8)}"
        try:
            with self.open_write(key, size=1) as session:
                session.write(b"w")
                session.publish()
            self.delete(key)
        except AdapterError as exc:
            return [CheckStep("write", False, str(exc))]
        return [CheckStep("write", True, "an object was written and deleted")]

    def close(self) -> None:
        """Nothing to close: each call has a connection of its own."""

    def refuse_taken(self, database: sqlite3.Connection, token: WriteToken) -> None:
        """What a create must not do."""
        taken = database.execute("SELECT 1 FROM object WHERE key = ?", [token.key]).fetchone()
        if taken and token.mode is WriteMode.CREATE:
            raise AlreadyExists(storage=self.name, key=token.key)

    def require_unfinished(self, database: sqlite3.Connection, token: WriteToken) -> None:
        """Raises WriteLost for a write that was aborted or published."""
        if not database.execute("SELECT 1 FROM unfinished WHERE token = ?", [str(token)]).fetchone():
            raise WriteLost(storage=self.name, key=token.key)


class _BlobRead(ReadStream):
    def __init__(self, adapter: BlobAdapter, stat: ObjectStat, start: int, stop: int) -> None:
        self.stat, self.start, self.stop = stat, start, stop
        self._adapter, self._position = adapter, start

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if self._position == self.stop:
            return b""
        asked = [self.stat.version, self._position]
        with self._adapter.transaction(self.stat.key) as database:
            found = database.execute(
                "SELECT start, data FROM piece WHERE version = ? AND start <= ? ORDER BY start DESC LIMIT 1", asked
            ).fetchone()
        if found is None:  # A replacement takes the old version's pieces away.
            raise VersionChanged(storage=self._adapter.name, key=self.stat.key)
        begin, data = found
        piece: bytes = data[self._position - begin :][: min(max_bytes, self.stop - self._position)]
        if not piece:
            raise Truncated(f"at byte {self._position}", storage=self._adapter.name, key=self.stat.key)
        self._position += len(piece)
        return piece

    def close(self) -> None:
        """Nothing is held between two reads."""


class _BlobWrite(WriteSession):
    def __init__(self, adapter: BlobAdapter, token: WriteToken, offset: int) -> None:
        self.key, self.token, self.offset = token.key, str(token), offset
        self._adapter, self._token, self._is_over = adapter, token, False

    def write(self, data: bytes | memoryview) -> None:
        size = self._token.size
        if size is not None and self.offset + len(data) > size:
            raise SizeMismatch(f"more than {size} bytes", storage=self._adapter.name, key=self.key)
        with self._adapter.transaction(self.key) as database:
            self._adapter.require_unfinished(database, self._token)
            for start in range(0, len(data), CHUNK_BYTES):
                piece = bytes(data[start : start + CHUNK_BYTES])
                database.execute("INSERT INTO piece VALUES (?, ?, ?)", [self._token.hex, self.offset + start, piece])
        self.offset += len(data)

    def publish(self) -> ObjectStat:
        with self._adapter.transaction(self.key) as database:
            self._adapter.require_unfinished(database, self._token)
            self._adapter.refuse_taken(database, self._token)
            held, declared = written(database, self._token), self._token.size
            if not held == self.offset == (self.offset if declared is None else declared):
                raise SizeMismatch(f"{held} of {declared} bytes", storage=self._adapter.name, key=self.key)
            _delete(database, self.key)
            row = (self.key, held, datetime.now(UTC).isoformat(), self._token.hex)
            database.execute("INSERT INTO object VALUES (?, ?, ?, ?)", row)
            database.execute("DELETE FROM unfinished WHERE token = ?", [self.token])
        self._is_over = True
        return _stat(row)

    def suspend(self) -> str:
        self._is_over = True
        return self.token

    def abort(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._adapter.abort_write(self.token)


def written(database: sqlite3.Connection, token: WriteToken) -> int:
    """How many bytes of an unfinished write are there."""
    (held,) = database.execute(
        "SELECT coalesce(sum(length(data)), 0) FROM piece WHERE version = ?", [token.hex]
    ).fetchone()
    return int(held)


def _delete(database: sqlite3.Connection, key: str) -> None:
    database.execute("DELETE FROM piece WHERE version IN (SELECT version FROM object WHERE key = ?)", [key])
    database.execute("DELETE FROM object WHERE key = ?", [key])


def _stat(row: tuple[str, int, str, str]) -> ObjectStat:
    key, size, modified, version = row
    return ObjectStat(key, size, datetime.fromisoformat(modified), version, version_is_strong=True)
