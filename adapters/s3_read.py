"""Reading from S3: the answer to one request tells the version, the whole size and, unless it is large, all bytes.

What is large and near is read in a few long ranges, one after the other: of what it sends from the first byte on, of an
object or of one of its large parts, some servers compute a sum for themselves, which takes them longer than the sending
(Swift). So ranges end a little behind where a part begins. But where a server tells a sum of the whole, the whole is
asked for, so that the sum can be compared.
"""

from __future__ import annotations

import re
from http.client import HTTPResponse

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import AdapterError, RangeInvalid, Truncated, Unavailable, VersionChanged
from adapters.s3_ahead import RANGE_BYTES, AheadRead
from adapters.s3_bucket import S3Bucket, stat_of
from adapters.s3_errors import is_not_implemented
from adapters.s3_signed import SignedGet, time_of
from adapters.s3_sums import Sum
from adapters.slots import Slot

_MIB = 1024 * 1024
#: How much of a large object near by is read by the first request, and by each that follows.
FIRST_BYTES = 8 * _MIB
LONG_BYTES = 128 * _MIB
#: Smaller ones are not worth a request of their own.
LARGE_PART_BYTES = 4 * FIRST_BYTES
_PARTS_IN_ETAG = re.compile(r"-(\d+)$")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def open_read(bucket: S3Bucket, key: str, start: int, stop: int | None, version: str | None) -> ReadStream:
    """As ``Adapter.open_read``. What HTTP's ranges cannot say, an empty one, is answered by a HEAD."""
    with bucket.slots.handed_on() as slot:
        return _open(bucket, key, start, stop, version, slot)


def _open(bucket: S3Bucket, key: str, start: int, stop: int | None, version: str | None, slot: Slot) -> ReadStream:
    if start == stop:
        return _open_empty(bucket, key, start, stop, version, slot)
    asked = stop
    if (stop is None or stop - start > RANGE_BYTES) and bucket.is_far:
        asked = start + RANGE_BYTES
    whole = not start and asked is None
    try:
        request = _ask(bucket, key, start, asked, version, sums=whole and bucket.known.tells_sums)
    except RangeInvalid:
        # ``start`` is at the end or behind it; at the end, nothing is what was asked for.
        return _open_empty(bucket, key, start, stop, version, slot)
    try:
        stat = _stat_of(bucket, key, request.answer, start, ranged=not whole)
        _require_within(bucket, stat, start, stop)
        end = stat.size if stop is None else stop
        if asked is not None and asked < end:
            return AheadRead(bucket, stat, start, end, request, asked, slot)
        told = Sum.told(request.answer.headers) if whole else None
        by_itself = end if end - start <= 2 * FIRST_BYTES or told else start + FIRST_BYTES
        return _S3Read(bucket, stat, start, end, request, slot, until=by_itself, told=told)
    except BaseException:
        request.close()
        raise


def _ask(bucket: S3Bucket, key: str, start: int, stop: int | None, version: str | None, *, sums: bool) -> SignedGet:
    try:
        with bucket.translating(key):
            return bucket.begin_get(key, start, stop, version=version, sums=sums)
    except AdapterError as exc:
        if not sums or not is_not_implemented(exc):
            raise
        bucket.known.tells_sums = False
        return _ask(bucket, key, start, stop, version, sums=False)


def _open_empty(
    bucket: S3Bucket, key: str, start: int, stop: int | None, version: str | None, slot: Slot
) -> ReadStream:
    stat = bucket.stat(key)
    if version is not None and stat.version != version:
        raise VersionChanged(storage=bucket.storage, key=key)
    _require_within(bucket, stat, start, stop)
    if start != (stat.size if stop is None else stop):
        raise Unavailable("the storage refused a range that the object has", storage=bucket.storage, key=key)
    return _S3Read(bucket, stat, start, start, None, slot, until=start)


def _stat_of(bucket: S3Bucket, key: str, answer: HTTPResponse, start: int, *, ranged: bool) -> ObjectStat:
    if answer.status != (206 if ranged else 200) or not answer.getheader("ETag"):
        # Such as a part for the whole, or the page of a proxy.
        detail = f"the storage answered {answer.status}, which is not that of what was asked for"
        raise Unavailable(detail, storage=bucket.storage, key=key)
    told = {"ETag": answer.getheader("ETag"), "LastModified": time_of(answer.getheader("Last-Modified"))}
    if not ranged:
        if answer.length is None:
            raise Unavailable("the storage did not tell the object's size", storage=bucket.storage, key=key)
        return stat_of(key, told, size=answer.length)
    match = _CONTENT_RANGE.fullmatch(answer.getheader("Content-Range", ""))
    if match is None or int(match[1]) != start:
        raise Unavailable("the storage did not answer with the range asked for", storage=bucket.storage, key=key)
    return stat_of(key, told, size=int(match[3]))


def _require_within(bucket: S3Bucket, stat: ObjectStat, start: int, stop: int | None) -> None:
    if not 0 <= start <= (stat.size if stop is None else stop) <= stat.size:
        raise RangeInvalid(f"[{start}, {stop}) of {stat.size} bytes", storage=bucket.storage, key=stat.key)


class _S3Read(ReadStream):
    def __init__(
        self,
        bucket: S3Bucket,
        stat: ObjectStat,
        start: int,
        stop: int,
        request: SignedGet | None,
        slot: Slot,
        *,
        until: int,
        told: Sum | None = None,
    ) -> None:
        """``request`` is read up to ``until``, whatever else it may bring; ``told`` is the sum of what is read."""
        self.stat = stat
        self.start = start
        self.stop = stop
        self._bucket = bucket
        self._request = request
        self._told = told
        self._slot = slot
        self._at = start
        self._until = until

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if self._at == self.stop or self._request is None:
            return b""
        with self._bucket.translating(self.stat.key):
            if self._at == self._until:
                self._go_on()
            data = self._request.read(min(max_bytes, self._until - self._at))
        if not data:
            missing = self.stop - self._at
            raise Truncated(f"{missing} bytes are missing", storage=self._bucket.storage, key=self.stat.key)
        self._at += len(data)
        if self._told is not None:
            self._told.update(data)
            if self._at == self.stop and not self._told.is_right:  # before the last bytes are out
                detail = "what it sent does not have the checksum that it told"
                raise Unavailable(detail, storage=self._bucket.storage, key=self.stat.key)
        return data

    def _go_on(self) -> None:
        """Ask for the next range of the same version."""
        assert self._request is not None
        self._request.close()
        until = min(self._at + LONG_BYTES, self.stop)
        if (part := _part_bytes(self.stat)) >= LARGE_PART_BYTES:
            until = min(until, (self._at // part + 1) * part + FIRST_BYTES)
        self._request = self._bucket.begin_range(self.stat.key, self._at, until, self.stat.version)
        self._until = until

    def close(self) -> None:
        """A connection whose answer was read whole goes back to the pool by itself; any other is dropped here."""
        request, self._request = self._request, None
        try:
            if request is not None:
                request.close()
        finally:
            self._slot.give_back()


def _part_bytes(stat: ObjectStat) -> int:
    """How large the parts are that an object was uploaded in, as far as its ETag lets one guess; 0 for unknown."""
    match = _PARTS_IN_ETAG.search(stat.version or "")
    return -(-stat.size // (max(int(match[1]), 1) * _MIB)) * _MIB if match else 0
