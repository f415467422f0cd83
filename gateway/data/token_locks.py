"""Locks of unfinished writes: one body at a time, whichever process of this machine takes it.

A peer whose connection broke may come again while what it had sent is still being written. The kernel frees a lock
with the process that held it.
"""

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from adapters.errors import Busy

#: How long who comes later waits.
WAIT_S = 5.0
_LOOK_EVERY_S = 0.02


@contextmanager
def held(token: str) -> Iterator[None]:
    """Have the block be the only one of this token. Raises Busy."""
    place = int.from_bytes(hashlib.sha256(token.encode()).digest()[:7])
    # l_type, l_whence, l_start, l_len, l_pid of struct flock: one byte of the file stands for the token.
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    fd = os.open(settings.DATA_DIR / "token-locks", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy("another body is still being written there") from None
                time.sleep(_LOOK_EVERY_S)
        yield
    finally:
        os.close(fd)
