"""Opening files and folders below one root, never outside it, and saying in the contract's words what went wrong."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from types import TracebackType

from adapters.errors import (
    AccessDenied,
    AdapterError,
    AlreadyExists,
    InvalidKey,
    NotFound,
    Offline,
    OutOfSpace,
    TimedOut,
    Unavailable,
)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
#: Said of a socket and of a device without a driver, but also of a disk that has gone.
_NOBODY_THERE = (errno.ENXIO, errno.ENODEV)
_MEANING: dict[int | None, type[AdapterError]] = {
    errno.EEXIST: AlreadyExists,
    # A component of the key is an object, or the key is a folder: no object can lie there.
    errno.ENOTDIR: InvalidKey,
    errno.EISDIR: InvalidKey,
    errno.ENAMETOOLONG: InvalidKey,
    errno.ELOOP: InvalidKey,
    errno.EILSEQ: InvalidKey,
    errno.ENOSPC: OutOfSpace,
    errno.EDQUOT: OutOfSpace,
    # The file system lacks something that Waybill needs, such as hard links.
    errno.EOPNOTSUPP: AdapterError,
    errno.ENOSYS: AdapterError,
    errno.EFBIG: OutOfSpace,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ETIMEDOUT: TimedOut,
    errno.ENODEV: Offline,
    errno.ENXIO: Offline,
    errno.ENOTCONN: Offline,
    errno.EHOSTDOWN: Offline,
    errno.EHOSTUNREACH: Offline,
}


class Root:
    """One folder, below which everything lies that is opened here.

    Symbolic links are followed as far as they stay below it: each file or folder that was opened is asked where it
    really is (Linux's ``/proc/self/fd``), so that no link, however it is swapped, leads outside. Raises AdapterErrors
    only; a root that is not there, as when its file system is not mounted, is Offline and never NotFound.
    """

    def __init__(self, path: str, *, storage: str, sync: bool = True) -> None:
        self.storage = storage
        self._sync = sync
        self._path = os.path.realpath(path).encode().rstrip(b"/") + b"/"

    def open_file(self, key: str, flags: int) -> int:
        """A descriptor of what lies at the key, which may be a folder. Raises NotFound."""
        with self.translating(key):
            try:
                fd = os.open(self._path + key.encode(), flags)
            except NotADirectoryError as exc:
                raise NotFound("a component of it is an object", storage=self.storage, key=key) from exc
            except OSError as exc:
                if exc.errno in _NOBODY_THERE and not os.path.isfile(self._path + key.encode()):
                    raise NotFound("it is no regular file", storage=self.storage, key=key) from exc
                raise
            return self._inside(fd, key)

    def open_folder(self, key: str, *, make: bool = False) -> int:
        """A descriptor of the folder that holds the key; NotFound where it is missing and not to be made."""
        with self.translating(key):
            try:
                return self._inside(os.open(self._path + key.encode().rpartition(b"/")[0], _FOLDER), key)
            except FileNotFoundError:
                if not make:
                    raise
                return self._make_folders(key)
            except NotADirectoryError as exc:
                if make:
                    raise
                raise NotFound("a component of it is an object", storage=self.storage, key=key) from exc

    def fsync(self, fd: int) -> None:
        """Have a file's bytes, or a folder's names, outlive a power failure, where the storage is to."""
        if self._sync:
            os.fsync(fd)

    @property
    def is_mount_point(self) -> bool:
        return os.path.ismount(self._path)

    def free_bytes(self) -> int:
        with self.translating(""):
            space = os.statvfs(self._path)
        return space.f_bavail * space.f_frsize

    def translating(self, key: str, *, absent: type[AdapterError] = NotFound) -> Translating:
        """A block in which an OSError becomes an AdapterError, and a missing file ``absent``."""
        return Translating(self, key, absent)

    def error_from(self, exc: OSError, *, key: str, absent: type[AdapterError] = NotFound) -> AdapterError:
        """The contract's word for what the operating system said: Unavailable (EIO, ESTALE, EMFILE…) by default."""
        if exc.errno == errno.ENOENT:
            if not os.path.isdir(self._path):
                return Offline("its root folder is not there", storage=self.storage, key=key)
            return absent(storage=self.storage, key=key)
        return _MEANING.get(exc.errno, Unavailable)(exc.strerror or str(exc), storage=self.storage, key=key)

    def _make_folders(self, key: str) -> int:
        """Like ``open_folder``, making what is missing so that it outlives a crash."""
        fd = os.open(self._path, _FOLDER)
        for name in key.encode().split(b"/")[:-1]:
            above = fd
            try:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=above)
                    self.fsync(above)
                fd = self._inside(os.open(name, _FOLDER, dir_fd=above), key)
            finally:
                os.close(above)
        return fd

    def _inside(self, fd: int, key: str) -> int:
        """Return ``fd``, or close it and raise InvalidKey where it leads out of the root."""
        try:
            real = os.readlink(b"/proc/self/fd/%d" % fd) + b"/"
            if not real.startswith(self._path):
                raise InvalidKey("a symbolic link leads out of the root", storage=self.storage, key=key)
        except BaseException:
            os.close(fd)
            raise
        return fd


class Translating:
    """What ``Root.translating`` returns; a class because it is entered for every small read."""

    __slots__ = ("_absent", "_key", "_root")

    def __init__(self, root: Root, key: str, absent: type[AdapterError]) -> None:
        self._root = root
        self._key = key
        self._absent = absent

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise self._root.error_from(error, key=self._key, absent=self._absent) from error
