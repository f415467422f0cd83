"""Reading with a check: a range of a version whose replicas may be damaged, compared with its digest as a whole."""

import hashlib

from adapters.base import CHUNK_BYTES, ReadStream
from adapters.errors import Truncated
from staging import reading
from staging.reading import Found


def open_checked(found: Found, start: int, stop: int) -> ReadStream:
    """The bytes ``[start, stop)`` of the pinned version, whose last byte is returned only once all of it is right.

    The whole version is read for that. Raises what ``reading.open_stream`` does, and Truncated where the digest is
    another.
    """
    return _CheckedStream(found, start, stop)


class _CheckedStream(ReadStream):
    """Always a chunk behind what it has read."""

    def __init__(self, found: Found, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self._found, self._sum, self._offset = found, hashlib.sha256(), 0
        self._inner = reading.open_stream(found, 0, found.size)
        self.stat = self._inner.stat
        self._ready = b""

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        while True:
            following = self._next(max_bytes)
            if following is None:
                ready, self._ready = self._ready, b""
                return ready
            if following:
                ready, self._ready = self._ready, following
                if ready:
                    return ready

    def close(self) -> None:
        self._inner.close()

    def _next(self, max_bytes: int) -> bytes | None:
        """What of the next chunk lies in the range; None at the end, when the digest was right."""
        chunk = self._inner.read(max_bytes)
        if not chunk:
            if self._sum.hexdigest() != self._found.sha256:
                raise Truncated("its bytes are not those of the digest", key=self.stat.key)
            return None
        self._sum.update(chunk)
        begin, self._offset = self._offset, self._offset + len(chunk)
        return chunk[max(0, self.start - begin) : max(0, self.stop - begin)]
