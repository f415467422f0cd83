"""Reading from S3: the answer to one request tells the version, the whole size and, unless it is far, all bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import AdapterError, RangeInvalid, Truncated, Unavailable, VersionChanged
from adapters.s3_ahead import RANGE_BYTES, AheadRead
from adapters.s3_bucket import S3Bucket, stat_of
from adapters.s3_errors import is_not_implemented
from adapters.slots import Slot

if TYPE_CHECKING:
    from botocore.response import StreamingBody

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def open_read(bucket: S3Bucket, key: str, start: int, stop: int | None, version: str | None) -> ReadStream:
    """As ``Adapter.open_read``. What HTTP's ranges cannot say, an empty one, is answered by a HEAD."""
    with bucket.slots.handed_on() as slot:
        return _open(bucket, key, start, stop, version, slot)


def _open(bucket: S3Bucket, key: str, start: int, stop: int | None, version: str | None, slot: Slot) -> ReadStream:
    if start == stop:
        return _open_empty(bucket, key, start, stop, version, slot)
    params: dict[str, Any] = {"Bucket": bucket.name, "Key": bucket.path(key)}
    asked = stop
    if (stop is None or stop - start > RANGE_BYTES) and bucket.is_far:
        asked = start + RANGE_BYTES
    if start or asked is not None:
        params["Range"] = f"bytes={start}-{'' if asked is None else asked - 1}"
    elif bucket.tells_sums:
        params["ChecksumMode"] = "ENABLED"  # Where one is told of the whole, the driver compares it at the end.
    if version is not None:
        params["IfMatch"] = f'"{version}"'
    try:
        answer = _ask(bucket, key, params)
    except RangeInvalid:
        # ``start`` is at the end or behind it; at the end, nothing is what was asked for.
        return _open_empty(bucket, key, start, stop, version, slot)
    body = answer["Body"]
    try:
        size = _whole_size(bucket, key, answer, start, ranged="Range" in params)
        stat = stat_of(key, answer, size=size)
        _require_within(bucket, stat, start, stop)
        end = size if stop is None else stop
        if asked is not None and asked < end:
            return AheadRead(bucket, stat, start, end, body, asked, slot)
        return _S3Read(bucket, stat, start, end, body, slot)
    except BaseException:
        body.close()
        raise


def _ask(bucket: S3Bucket, key: str, params: dict[str, Any]) -> Any:
    try:
        with bucket.translating(key):
            return bucket.client.get_object(**params)
    except AdapterError as exc:
        if "ChecksumMode" not in params or not is_not_implemented(exc):
            raise
        bucket.tells_sums = False
        return _ask(bucket, key, {name: value for name, value in params.items() if name != "ChecksumMode"})


def _open_empty(
    bucket: S3Bucket, key: str, start: int, stop: int | None, version: str | None, slot: Slot
) -> ReadStream:
    stat = bucket.stat(key)
    if version is not None and stat.version != version:
        raise VersionChanged(storage=bucket.storage, key=key)
    _require_within(bucket, stat, start, stop)
    if start != (stat.size if stop is None else stop):
        raise Unavailable("the storage refused a range that the object has", storage=bucket.storage, key=key)
    return _S3Read(bucket, stat, start, start, None, slot)


def _whole_size(bucket: S3Bucket, key: str, answer: Any, start: int, *, ranged: bool) -> int:
    if not ranged:
        return int(answer["ContentLength"])
    match = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
    if match is None or int(match[1]) != start:
        raise Unavailable("the storage did not answer with the range asked for", storage=bucket.storage, key=key)
    return int(match[3])


def _require_within(bucket: S3Bucket, stat: ObjectStat, start: int, stop: int | None) -> None:
    if not 0 <= start <= (stat.size if stop is None else stop) <= stat.size:
        raise RangeInvalid(f"[{start}, {stop}) of {stat.size} bytes", storage=bucket.storage, key=stat.key)


class _S3Read(ReadStream):
    def __init__(
        self, bucket: S3Bucket, stat: ObjectStat, start: int, stop: int, body: StreamingBody | None, slot: Slot
    ) -> None:
        self.stat = stat
        self.start = start
        self.stop = stop
        self._bucket = bucket
        self._body = body
        self._slot = slot
        self._left = stop - start

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if not self._left or self._body is None:
            return b""
        with self._bucket.translating(self.stat.key):
            data = self._body.read(min(max_bytes, self._left))
        if not data:
            raise Truncated(f"{self._left} bytes are missing", storage=self._bucket.storage, key=self.stat.key)
        self._left -= len(data)
        if not self._left:
            with self._bucket.translating(self.stat.key):
                self._body.read(1)  # The driver compares when it meets the end, which is before the last bytes are out.
        return data

    def close(self) -> None:
        """A connection whose answer was read whole goes back to the pool by itself; any other is dropped here."""
        body, self._body, self._left = self._body, None, 0
        try:
            if body is not None:
                body.close()
        finally:
            self._slot.give_back()
