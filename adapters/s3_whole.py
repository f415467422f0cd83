"""An object on its way in one request: near by, and of middling size, it takes the fewest.

Its last bytes are held back until it is published, and a sum follows them that the server compares. What was sent is
kept in a file, because a server keeps nothing of a request that broke off: a write that is suspended goes on in parts,
and of one whose process dies nothing is left.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from adapters.base import CHUNK_BYTES, ObjectStat, WriteMode
from adapters.errors import AlreadyExists, Busy, VersionChanged
from adapters.s3_bucket import S3Bucket, md5_hex
from adapters.s3_kept import Kept
from adapters.s3_signed import CheckedPut, Stored


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
        if not cls.suits(bucket, size):
            return None
        try:
            kept = bucket.kept.take()
        except Busy:
            return None
        kept.begin()
        return cls(bucket, key, size, mode, kept)

    def __init__(self, bucket: S3Bucket, key: str, size: int, mode: WriteMode, kept: Kept) -> None:
        """``kept`` is one of the bucket's, which this gives back."""
        self.kept = kept
        self._bucket = bucket
        self._key = key
        self._size = size
        self._mode = mode
        self._taken = 0
        self._held = memoryview(b"")
        self._creates = mode is WriteMode.CREATE
        self._request: CheckedPut | None = None
        self._refusal: AlreadyExists | None = None
        self._closed = False

    def send(self, data: memoryview) -> None:
        """Take a piece, which nobody may change any more. Raises what the request has failed with.

        But for AlreadyExists: a write that was begun is told of it by ``publish`` and by nothing else.
        """
        self.kept.add(data)
        self._taken += len(data)
        if self._taken == self._size:
            data, self._held = data[:-CHUNK_BYTES], data[-CHUNK_BYTES:]
        if data and self._refusal is None:
            try:
                with self._translating():
                    self._begun().send(data)
            except AlreadyExists as exc:
                self._refusal = exc

    def publish(self) -> ObjectStat:
        """Send what was held back."""

        def attempt(_: bool) -> Stored:
            if self._refusal is not None:
                raise self._refusal
            if self._creates and not self._bucket.known.atomic_create:
                # It has looked when the request began, which may be long ago.
                self._bucket.refuse_existing(self._key)
            request = self._begun()
            request.send(self._held)
            stored = request.finish()
            return Stored(stored.etag, stored.modified, proven=True)

        return self._bucket.publish(
            self._key, self._mode, attempt, size=self._size, version=lambda: md5_hex(*self.kept.pieces())
        )

    def disconnect(self) -> None:
        """End the request, which changes nothing unless it was published. Idempotent."""
        if self._request is not None:
            self._request.close()
        self._held = memoryview(b"")

    def close(self) -> None:
        """The same, and keep nothing more."""
        if not self._closed:
            self._closed = True
            self.disconnect()
            self._bucket.kept.give_back(self.kept)

    def _begun(self) -> CheckedPut:
        if self._request is None:
            self._request = self._bucket.begin_checked_put("put_object", self._key, self._size, create=self._creates)
        return self._request

    def _translating(self) -> AbstractContextManager[None]:
        return self._bucket.translating(self._key, precondition=AlreadyExists if self._creates else VersionChanged)
