"""Objects as plain files below one folder of this machine, or of a file system that is mounted on it."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Self
from urllib.parse import quote

from adapters import local_check
from adapters.base import (
    LEADS_OUT,
    Adapter,
    CheckStep,
    Field,
    Listed,
    ObjectStat,
    Prefix,
    ReadStream,
    Traits,
    Unfinished,
    Unreachable,
    WriteMode,
    WriteSession,
)
from adapters.errors import (
    AlreadyExists,
    InvalidKey,
    NotFound,
    RangeInvalid,
    VersionChanged,
    WriteLost,
)
from adapters.keys import partial_token
from adapters.local_folder import all_in, is_file, names_in
from adapters.local_streams import LocalRead, LocalWrite, file_name, stat_from
from adapters.rooted import Root
from adapters.tokens import WriteToken
from adapters.walking import walk_unfinished

# Appending makes the file's size and a session's offset the same number, also after a write that failed half-way.
_WRITE = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW


class LocalAdapter(Adapter):
    """A key is the file's path below the root; the bytes of an unfinished write lie beside it under a partial's name.

    Published bytes are on the disk, not only in its cache, unless ``sync`` is off. Symbolic links that lead out of the
    root are refused; a scan lists linked files and does not descend into linked folders. Folders are made when needed
    and never removed.
    """

    scheme = "local"
    title = "Local folder"
    fields = (
        Field("root", "string", "Absolute path of the folder below which every object lies", required=True),
        Field(
            "sync",
            "boolean",
            "Write what is published to the disk before success is told; without it a power failure loses the newest",
            default=True,
        ),
    )
    traits = Traits(atomic_create=True, atomic_replace=True, resumes=True, strong_versions=True)

    def __init__(self, name: str, root: str, *, sync: bool = True) -> None:
        self.name = name
        self._root = Root(root, storage=name, sync=sync)

    @classmethod
    def build(
        cls,
        name: str,
        options: Mapping[str, object],
        credential: Mapping[str, str],  # noqa: ARG003 - the contract's signature; there is none
    ) -> Self:
        return cls(name, _absolute(options), sync=options.get("sync") is not False)

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return "file://" + quote(_absolute(options).rstrip("/") + "/")

    def stat(self, key: str) -> ObjectStat:
        fd = self._root.open_file(key, os.O_PATH)
        try:
            return self._stat_of(fd, key)
        finally:
            os.close(fd)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        # Without O_NONBLOCK a named pipe below the root would hold the caller for ever.
        fd = self._root.open_file(key, os.O_RDONLY | os.O_NONBLOCK)
        try:
            stat = self._stat_of(fd, key)
            if version is not None and version != stat.version:
                raise VersionChanged(storage=self.name, key=key)
            stop = stat.size if stop is None else stop
            if not 0 <= start <= stop <= stat.size:
                raise RangeInvalid(f"[{start}, {stop}) of {stat.size} bytes", storage=self.name, key=key)
            return LocalRead(self._root, fd, stat, start, stop)
        except BaseException:
            os.close(fd)
            raise

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        return self._begin(WriteToken.new(key, size=size, mode=mode))

    def resume_write(self, token: str) -> WriteSession:
        parsed = WriteToken.parse(token, storage=self.name)
        try:
            folder = self._root.open_folder(parsed.key)
        except NotFound as exc:
            raise WriteLost(storage=self.name, key=parsed.key) from exc
        try:
            with self._root.translating(parsed.key, absent=WriteLost):
                fd = os.open(file_name(parsed.partial), _WRITE, dir_fd=folder)
        except BaseException:
            os.close(folder)
            raise
        found = os.fstat(fd)
        session = LocalWrite(self._root, parsed, folder, fd, offset=found.st_size)
        if found.st_nlink != 1:
            # A crash fell between linking the partial to its key and unlinking it: these bytes are an object's now.
            session.abort()
            raise WriteLost("it was published", storage=self.name, key=parsed.key)
        return session

    def read_unfinished(self, token: str) -> ReadStream:
        parsed = WriteToken.parse(token, storage=self.name)
        try:
            fd = self._root.open_file(parsed.partial, os.O_RDONLY | os.O_NONBLOCK)
        except NotFound as exc:
            raise WriteLost(storage=self.name, key=parsed.key) from exc
        try:
            stat = self._stat_of(fd, parsed.key)
            return LocalRead(self._root, fd, stat, 0, stat.size)
        except BaseException:
            os.close(fd)
            raise

    def unfinished_writes(self, key: str) -> list[str]:
        try:
            folder = self._root.open_folder(key)
        except NotFound:
            return []
        try:
            with self._root.translating(key):
                found = [partial_token(name, target=key.rpartition("/")[2]) for name in os.listdir(folder)]
        finally:
            os.close(folder)
        return [str(WriteToken(key, digits)) for digits in found if digits is not None]

    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]:
        return walk_unfinished(lambda below: all_in(self._root, below), folder)

    def abort_write(self, token: str) -> None:
        self._unlink(WriteToken.parse(token, storage=self.name).partial)

    def delete(self, key: str) -> None:
        self._unlink(key)

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        """Keeps one folder's names, for each folder on the way down, in memory."""
        return self._walk(prefix[: prefix.rfind("/") + 1], prefix=prefix, after=after, recursive=recursive)

    def check(self) -> list[CheckStep]:
        return local_check.check(self, self._root)

    def close(self) -> None:
        """Nothing to close: no connection is kept."""

    def free_bytes(self) -> int:
        return self._root.free_bytes()

    def copy_within(self, source: str, token: WriteToken) -> ObjectStat:
        found = self._root.open_file(source, os.O_RDONLY | os.O_NONBLOCK)
        try:
            stat = self._stat_of(found, source)
            token.expect(stat.size, source=source, storage=self.name)
            with self._begin(token) as session:
                session.copy_from(found, stat)
                return session.publish()
        finally:
            os.close(found)

    def _begin(self, token: WriteToken) -> LocalWrite:
        key = token.key
        folder = self._root.open_folder(key, make=True)
        try:
            self._refuse_taken(folder, token)
            with self._root.translating(key):
                fd = os.open(file_name(token.partial), _WRITE | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
        except BaseException:
            os.close(folder)
            raise
        return LocalWrite(self._root, token, folder, fd, offset=0)

    def _stat_of(self, fd: int, key: str) -> ObjectStat:
        with self._root.translating(key):
            found = os.fstat(fd)
        if not modes.S_ISREG(found.st_mode):
            raise NotFound("it is a folder, or no regular file", storage=self.name, key=key)
        return stat_from(key, found)

    def _refuse_taken(self, folder: int, token: WriteToken) -> None:
        """Refuse, before any byte is taken, what publish would surely refuse."""
        try:
            found = os.stat(file_name(token.key), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise self._root.error_from(exc, key=token.key) from exc
        if modes.S_ISDIR(found.st_mode):
            raise InvalidKey("it is a folder", storage=self.name, key=token.key)
        if token.mode is WriteMode.CREATE:
            raise AlreadyExists(storage=self.name, key=token.key)

    def _unlink(self, key: str) -> None:
        try:
            folder = self._root.open_folder(key)
        except NotFound:
            return
        try:
            # A folder is no object, so there is none to remove.
            with self._root.translating(key), suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(file_name(key), dir_fd=folder)
        finally:
            os.close(folder)

    def _walk(self, folder: str, *, prefix: str, after: str, recursive: bool) -> Iterator[Listed]:
        try:
            fd = self._root.open_folder(folder)
        except NotFound:
            return
        try:
            for found in names_in(self._root, fd, folder):
                key = found.key if isinstance(found, Unreachable) else found
                if not key.startswith(prefix):
                    continue
                if isinstance(found, Unreachable):
                    if key > after:
                        yield found
                elif not key.endswith("/"):
                    if key > after and (stat := self._listed(fd, key)):
                        yield stat
                elif not recursive:
                    if key > after:
                        yield Prefix(key)
                elif key > after or after.startswith(key):
                    yield from self._walk(key, prefix=prefix, after=after, recursive=True)
        finally:
            os.close(fd)

    def _listed(self, fd: int, key: str) -> ObjectStat | Unreachable | None:
        """The stat of a folder's entry; None for what is no object, or is none any more."""
        try:
            found = os.stat(file_name(key), dir_fd=fd, follow_symlinks=False)
            if modes.S_ISLNK(found.st_mode):
                return self.stat(key)
        except (FileNotFoundError, NotFound):
            return None
        except InvalidKey:
            return Unreachable(key, LEADS_OUT) if is_file(fd, key) else None
        except OSError as exc:
            raise self._root.error_from(exc, key=key) from exc
        return stat_from(key, found) if modes.S_ISREG(found.st_mode) else None


def _absolute(options: Mapping[str, object]) -> str:
    root = options.get("root")
    if not isinstance(root, str) or not os.path.isabs(root) or "\0" in root:
        raise ValueError("root: an absolute path was expected")
    return os.path.normpath(root)
