"""An object on its way in one request: near by, and of middling size, it takes the fewest.

Its last bytes are held back until it is published, and a sum follows them that the server compares. What was sent is
kept in a file, because a server keeps nothing of a request that broke off: a write that is suspended goes on in parts.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO

from adapters.base import CHUNK_BYTES, ObjectStat, WriteMode
from adapters.errors import AlreadyExists, VersionChanged
from adapters.s3_bucket import WHOLE_BYTES, S3Bucket, md5_hex
from adapters.s3_parts import LAST_ANSWER_S, NEAR, Parts
from adapters.s3_signed import SignedPut, Stored


class Room:
    """How many bytes may be kept at once, for all writes of this process together. Thread-safe."""

    def __init__(self, size: int) -> None:
        self.free = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """False where there is not as much."""
        with self._lock:
            if size > self.free:
                return False
            self.free -= size
            return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self.free += size


ROOM = Room(16 * WHOLE_BYTES)


class Kept:
    """What was sent, in a file without a name among the system's temporary ones; nothing where that has no room."""

    def __init__(self) -> None:
        self._file = _unnamed_file()

    def add(self, data: memoryview) -> None:
        try:
            if self._file is not None:
                self._file.write(data)
        except OSError:
            self.close()

    def pieces(self) -> Iterator[bytes]:
        """All of it from the beginning."""
        if self._file is not None:
            self._file.seek(0)
            while piece := self._file.read(CHUNK_BYTES):
                yield piece

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _unnamed_file() -> IO[bytes] | None:
    try:
        return tempfile.TemporaryFile(prefix="waybill-")
    except OSError:
        return None


class Whole:
    """Belongs to one thread. Only for a server that compares sums; ``close`` has to follow."""

    @staticmethod
    def suits(bucket: S3Bucket, size: int) -> bool:
        """Whether an object is small enough, and the server near enough and known to be able to do it."""
        known = bucket.known
        return bool(size <= bucket.whole_bytes and known.checks_sums and known.honours_create and not bucket.is_far)

    @classmethod
    def begin(cls, bucket: S3Bucket, key: str, size: int, mode: WriteMode) -> Whole | None:
        """None where it has to go in parts: it does not suit, or too much is kept by others."""
        if not (cls.suits(bucket, size) and ROOM.take(size)):
            return None
        try:
            return cls(bucket, key, size, mode)
        except BaseException:
            ROOM.give_back(size)
            raise

    def __init__(self, bucket: S3Bucket, key: str, size: int, mode: WriteMode) -> None:
        """Holds ``size`` bytes of ROOM, which it gives back."""
        self.kept = Kept()
        self._bucket = bucket
        self._key = key
        self._size = size
        self._mode = mode
        self._taken = 0
        self._held = memoryview(b"")
        self._creates = mode is WriteMode.CREATE
        self._refused = False
        exists = AlreadyExists if self._creates else VersionChanged
        self._parts = Parts(self._begin, lambda: bucket.translating(key, precondition=exists), NEAR)
        self._parts.open(1, size)
        self._closed = False

    def send(self, data: memoryview) -> None:
        """Take a piece, which nobody may change any more. Raises what the request has failed with.

        But for AlreadyExists: a write that was begun is told of it by ``publish`` and by nothing else.
        """
        self.kept.add(data)
        self._taken += len(data)
        if self._taken == self._size:
            data, self._held = data[:-CHUNK_BYTES], data[-CHUNK_BYTES:]
        if data and not self._refused:
            try:
                self._parts.feed(data)
            except AlreadyExists:
                self._refused = True

    def publish(self, meanwhile: Callable[[], None]) -> ObjectStat:
        """Send what was held back. ``meanwhile`` is called while the server is busy with the last bytes."""

        def attempt(_: bool) -> Stored:
            if self._creates and not self._bucket.known.atomic_create:
                # It has looked when the request began, which may be long ago.
                self._bucket.refuse_existing(self._key)
            self._parts.feed(self._held)
            meanwhile()
            self._parts.settle()
            (part,) = self._parts.confirmed()
            return Stored(part.etag, part.modified, proven=True)

        return self._bucket.publish(
            self._key, self._mode, attempt, size=self._size, version=lambda: md5_hex(*self.kept.pieces())
        )

    def disconnect(self) -> None:
        """End the request, which changes nothing unless it was published. Idempotent."""
        self._parts.drop(patience_s=LAST_ANSWER_S)
        self._held = memoryview(b"")

    def close(self) -> None:
        """The same, and keep nothing more."""
        if not self._closed:
            self._closed = True
            self.disconnect()
            self.kept.close()
            ROOM.give_back(self._size)

    def _begin(self, _: int, size: int) -> SignedPut:
        return self._bucket.begin_checked_put("put_object", self._key, size, create=self._creates)
