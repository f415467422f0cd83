"""What was sent of an object and might have to be sent again, in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO

from adapters.base import CHUNK_BYTES


class Kept:
    """A file without a name among the system's temporary ones, for ``adapters.pool``; nothing where that has no room.

    One is used again for the next object, because a file that has its pages is written in a third of the time.
    """

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._size = 0
        self._file = _unnamed_file()

    @property
    def usable(self) -> bool:
        return self._file is not None

    def answers(self) -> bool:
        return self.usable

    def begin(self) -> None:
        """Forget what another object left."""
        self._size = 0
        if self._file is not None:
            self._file.seek(0)

    def add(self, data: memoryview) -> None:
        left = data
        try:
            while self._file is not None and left:
                left = left[self._file.write(left) :]
        except OSError:
            self.close()
        self._size += len(data)

    def pieces(self) -> Iterator[bytes]:
        """All of it from the beginning; nothing where any of it found no room."""
        if self._file is not None:
            self._file.seek(0)
            left = self._size
            while piece := self._file.read(min(CHUNK_BYTES, left)):
                left -= len(piece)
                yield piece

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _unnamed_file() -> IO[bytes] | None:
    try:
        return tempfile.TemporaryFile(prefix="waybill-", buffering=0)
    except OSError:
        return None
