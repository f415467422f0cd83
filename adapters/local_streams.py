"""Reading and writing one local file: what ``adapters.local`` opens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream, WriteMode, WriteSession
from adapters.errors import SizeMismatch, Truncated, VersionChanged, WriteLost
from adapters.local_copy import copy_bytes
from adapters.rooted import Root
from adapters.tokens import WriteToken


def file_name(key: str) -> bytes:
    """The name of the key's file within its folder."""
    return key.rpartition("/")[2].encode()


def file_version(found: os.stat_result) -> str:
    """Changes with every replacement, and with every write in place that the file system's clock can tell apart."""
    return f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"


def stat_from(key: str, found: os.stat_result) -> ObjectStat:
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    return ObjectStat(key, found.st_size, modified, file_version(found), version_is_strong=True)


class LocalRead(ReadStream):
    """Reads through the descriptor it was opened with, which a replacement of the file does not touch."""

    def __init__(self, root: Root, fd: int, stat: ObjectStat, start: int, stop: int) -> None:
        self.stat = stat
        self.start = self._position = start
        self.stop = stop
        self._root = root
        self._fd = fd

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if self._position == self.stop:
            return b""
        with self._root.translating(self.stat.key):
            data = os.pread(self._fd, min(max_bytes, self.stop - self._position), self._position)
            self._position += len(data)
            # Somebody who is not Waybill may have written into the file where it lies.
            if (not data or self._position == self.stop) and file_version(os.fstat(self._fd)) != self.stat.version:
                raise VersionChanged(storage=self._root.storage, key=self.stat.key)
        if not data:
            raise Truncated(f"at byte {self._position}", storage=self._root.storage, key=self.stat.key)
        return data

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class LocalWrite(WriteSession):
    def __init__(self, root: Root, token: WriteToken, folder: int, fd: int, *, offset: int) -> None:
        self.key = token.key
        self.token = str(token)
        self.offset = offset
        self._root = root
        self._declared = token.size
        self._mode = token.mode
        self._name = file_name(token.key)
        self._partial = file_name(token.partial)
        self._folder = folder
        self._fd = fd

    def write(self, data: bytes | memoryview) -> None:
        if self._declared is not None and self.offset + len(data) > self._declared:
            raise SizeMismatch(f"more than {self._declared} bytes", storage=self._root.storage, key=self.key)
        left = memoryview(data)
        with self._root.translating(self.key):
            while left:
                taken = os.write(self._fd, left)
                self.offset += taken
                left = left[taken:]

    def publish(self) -> ObjectStat:
        with self._root.translating(self.key, absent=WriteLost):
            # The kernel's own stamp may stand still for milliseconds, in which an inode can come round again.
            now = time.time_ns()
            os.utime(self._fd, ns=(now, now))
            self._root.fsync(self._fd)
            found = os.fstat(self._fd)
            if not (self.offset == found.st_size == (self.offset if self._declared is None else self._declared)):
                raise SizeMismatch(
                    f"{self.offset} bytes were written, {found.st_size} are there, {self._declared} were declared",
                    storage=self._root.storage,
                    key=self.key,
                )
            if self._mode is WriteMode.CREATE:
                self._name_it(os.link, found)
                with suppress(FileNotFoundError):
                    os.unlink(self._partial, dir_fd=self._folder)
            else:
                self._name_it(os.replace, found)
            self._root.fsync(self._folder)
        self._close()
        return stat_from(self.key, found)

    def copy_from(self, source: int, stat: ObjectStat) -> None:
        """Take all bytes of another file that nobody writes to meanwhile. Raises VersionChanged."""
        with self._root.translating(self.key):
            fd = os.open(self._partial, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=self._folder)  # O_APPEND takes no copies
            try:
                copy_bytes(source, fd, stat.size)
            finally:
                os.close(fd)
            self.offset = os.fstat(self._fd).st_size
            if file_version(os.fstat(source)) != stat.version:
                raise VersionChanged(storage=self._root.storage, key=stat.key)

    def _name_it(self, step: Callable[..., None], found: os.stat_result) -> None:
        """Link or rename the partial to the key. A server whose answer was lost (NFS) has done it, and says no then."""
        try:
            step(self._partial, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except (FileExistsError, FileNotFoundError):
            try:
                there = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
            except OSError:
                there = None
            if there is None or not os.path.samestat(there, found):
                raise

    def suspend(self) -> str:
        with self._root.translating(self.key):
            self._root.fsync(self._fd)
        self._close()
        return self.token

    def abort(self) -> None:
        if self._fd >= 0:
            try:
                with self._root.translating(self.key), suppress(FileNotFoundError):
                    os.unlink(self._partial, dir_fd=self._folder)
            finally:
                self._close()

    def _close(self) -> None:
        os.close(self._fd)
        os.close(self._folder)
        self._fd = self._folder = -1
