"""Copying one local file to another: by shared blocks where the file system can, else within the kernel."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator

#: ``ioctl_ficlone(2)``: share all of the source's blocks.
_FICLONE = 0x40049409
#: What the kernel copies in one call, so that no call takes long.
_STEP_BYTES = 64 * 1024 * 1024
_CANNOT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.EPERM)


def copy_bytes(source: int, target: int, size: int) -> None:
    """Make the empty file behind ``target`` hold the first ``size`` bytes of ``source``. Holes stay holes.

    Raises OSError. A source that became shorter leaves a shorter target.
    """
    if _is_cloned(source, target):
        os.ftruncate(target, size)
        return
    for start, stop in _stretches(source, size):
        _copy(source, target, start, stop)
    os.ftruncate(target, min(size, os.fstat(source).st_size))


def _is_cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as exc:
        if exc.errno not in _CANNOT:
            raise
        return False
    return True


def _stretches(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has data; all of it where the file system does not tell."""
    stop = 0
    while stop < size:
        try:
            start = os.lseek(source, stop, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno != errno.ENXIO:  # That would say that nothing but a hole is left.
                yield stop, size
            return
        stop = min(os.lseek(source, start, os.SEEK_HOLE), size)
        yield start, stop


def _copy(source: int, target: int, start: int, stop: int) -> None:
    position = start
    while position < stop:
        step = min(_STEP_BYTES, stop - position)
        try:
            copied = os.copy_file_range(source, target, step, position, position)
        except OSError as exc:
            if exc.errno not in _CANNOT:
                raise
            copied = 0
        if not copied:
            # Some file systems say that nothing is left where they cannot copy (copy_file_range(2), BUGS).
            copied = os.pwrite(target, os.pread(source, min(step, 1024 * 1024), position), position)
        if not copied:
            return
        position += copied
