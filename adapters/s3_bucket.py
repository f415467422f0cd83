"""One bucket in our words: stats, small objects, and publishing so that CREATE never overwrites."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.client import CONFLICT, NOT_IMPLEMENTED
from typing import Any

from botocore.exceptions import ClientError

from adapters import s3_errors
from adapters.base import ObjectStat, WriteMode
from adapters.errors import (
    AccessDenied,
    AdapterError,
    AlreadyExists,
    NotFound,
    SizeMismatch,
    TransientAdapterError,
    Unavailable,
    WriteLost,
)
from adapters.pool import Pool
from adapters.s3_kept import Kept
from adapters.s3_requests import S3Requests
from adapters.s3_settings import S3Settings
from adapters.s3_signed import Stored
from adapters.slots import Slots

#: More would gain little by going in one request.
WHOLE_BYTES = 64 * 1024 * 1024
#: How many such objects may be under way at once, and how many of their files are used again, for how long.
_MOST_WHOLE = 16
_SPARE = 2
_IDLE_S = 5.0


class S3Bucket(S3Requests):
    """Thread-safe. Its callers hold one of ``slots`` for each stream, session or request."""

    def __init__(
        self, settings: S3Settings, *, storage: str, far: bool | None = None, whole_bytes: int = WHOLE_BYTES
    ) -> None:
        """``far`` is whether the server counts as far away; None to measure it.

        ``whole_bytes`` is the most that one request may bring of which more comes than is collected.
        """
        super().__init__(settings, storage=storage, far=far)
        self.whole_bytes = whole_bytes
        self.slots = Slots(settings.max_connections, storage=storage, wait_s=settings.connect_timeout_s)
        self.kept = Pool(Kept, storage=storage, limit=_MOST_WHOLE, wait_s=0, idle_s=_IDLE_S, spare=_SPARE)

    def close(self) -> None:
        super().close()
        self.kept.close()

    @property
    def sends_sums(self) -> bool:
        """Whether a sum follows each part. Near by it would cost a server more than the line can spoil."""
        return bool(self.known.checks_sums) and (self.is_far or self.client.meta.endpoint_url.startswith("https:"))

    def stat(self, key: str) -> ObjectStat:
        """Raises NotFound, and AccessDenied where the bucket itself is missing."""
        try:
            return self._head(key)
        except NotFound:
            # The answer to a HEAD has no body that would tell a missing object from a missing bucket.
            self.confirm()
            raise

    def confirm(self) -> None:
        """Raises AccessDenied where the bucket is missing or not ours to use."""
        try:
            with self.translating():
                self.client.head_bucket(Bucket=self.name)
        except NotFound as exc:
            raise AccessDenied(f"there is no bucket {self.name!r}", storage=self.storage) from exc

    def delete(self, key: str) -> None:
        """A missing object is success; a missing bucket is AccessDenied."""
        with suppress(NotFound), self.translating(key):
            self.client.delete_object(Bucket=self.name, Key=self.path(key))

    def put(self, key: str, data: bytes | bytearray, *, create: bool = False) -> Stored:
        """One PutObject, with ``If-None-Match: *`` for ``create``. Raises what the driver raises."""
        with closing(self.begin_put("put_object", key, len(data), create=create)) as request:
            request.send(data)
            return request.finish()

    def put_checked(self, key: str, data: bytes | bytearray, *, create: bool) -> Stored:
        """The same with a sum of the bytes, so that the server refuses others.

        It is the cheapest that the server is known to compare, else the MD5, which any does: an answer that tells the
        same proves that it has.
        """
        if self.known.checks_sums and data:
            with closing(self.begin_checked_put("put_object", key, len(data), create=create)) as request:
                request.send(data)
                return replace(request.finish(), proven=True)
        md5 = md5_hex(data)
        headers = {"Content-MD5": base64.b64encode(bytes.fromhex(md5)).decode()}
        with closing(self.begin_put("put_object", key, len(data), create=create, headers=headers)) as request:
            request.send(data)
            stored = request.finish()
            return replace(stored, proven=stored.etag == md5)

    def publish(
        self,
        key: str,
        mode: WriteMode,
        attempt: Callable[[bool], Stored],
        *,
        size: int,
        version: Callable[[], str | None],
    ) -> ObjectStat:
        """Run ``attempt(create)``, which makes ``size`` bytes visible at ``key`` in one step, and return their stat.

        ``create`` asks it to send ``If-None-Match: *``. ``version`` makes the one that the object will have, None where
        it cannot be known: where the answer is lost, it tells whether the object there is ours. Nobody looks at what
        is stored and proven. Raises AlreadyExists, and SizeMismatch after removing what does not have the size.
        """
        try:
            stored = self._attempt(key, mode, attempt)
            if stored.proven and stored.etag and (mode is WriteMode.REPLACE or self.known.honours_create):
                return ObjectStat(key, size, stored.modified, version=stored.etag, version_is_strong=True)
            told = stored.etag or version()
        except (TransientAdapterError, WriteLost):
            told = version()
            if told is None or not self._is_there(key, size=size, version=told):
                raise
        stat = self._head(key)
        if told and stat.version != told:  # Somebody has replaced it since.
            if mode is WriteMode.CREATE:
                raise AlreadyExists("another was created at the same moment", storage=self.storage, key=key)
            return replace(stat, size=size, version=told, modified=None)
        if stat.size != size:
            if told:  # Surely ours, and no object of somebody else's.
                self.delete(key)
            raise SizeMismatch(f"{size} bytes were sent, {stat.size} arrived", storage=self.storage, key=key)
        return stat

    def _attempt(self, key: str, mode: WriteMode, attempt: Callable[[bool], Stored]) -> Stored:
        create = mode is WriteMode.CREATE
        # A server that ignores the condition would overwrite, so only one that has proved to honour it is trusted.
        if create and self.known.honours_create is not True:
            self.refuse_existing(key)
        with self.translating(key, precondition=AlreadyExists):
            try:
                return attempt(create and self.known.honours_create is not False)
            except ClientError as exc:
                status = s3_errors.status_of(exc)
                if create and status == NOT_IMPLEMENTED:
                    self.known.honours_create = False
                    return attempt(False)
                if create and status == CONFLICT:
                    self.refuse_existing(key)
                raise

    def refuses_create(self, key: str, attempt: Callable[[], Stored]) -> bool:
        """Whether the server by itself refuses ``attempt``, which creates at a key where there is an object."""
        try:
            with self.translating(key, precondition=AlreadyExists):
                attempt()
        except AlreadyExists:
            return True
        except AdapterError as exc:
            if not s3_errors.is_not_implemented(exc):
                raise
        return False

    def refuse_existing(self, key: str) -> None:
        """Raises AlreadyExists where there is an object at the key."""
        try:
            self._head(key)
        except NotFound:
            return
        raise AlreadyExists(storage=self.storage, key=key)

    def _head(self, key: str) -> ObjectStat:
        with self.translating(key):
            answer = self.client.head_object(Bucket=self.name, Key=self.path(key))
        if not answer.get("ETag") or "ContentLength" not in answer:
            raise Unavailable("the answer is not that of an S3 server", storage=self.storage, key=key)
        return stat_of(key, answer)

    def _is_there(self, key: str, *, size: int, version: str) -> bool:
        try:
            stat = self._head(key)
        except AdapterError:
            return False  # The failure that led here is the one to tell.
        return (stat.size, stat.version) == (size, version)


def stat_of(key: str, answer: Mapping[str, Any], *, size: int | None = None) -> ObjectStat:
    """The stat in the headers of an answer; ``size`` where its ContentLength is not the object's."""
    modified: datetime | None = answer.get("LastModified")
    return ObjectStat(
        key=key,
        size=answer["ContentLength"] if size is None else size,
        modified=modified.astimezone(UTC) if modified else None,
        version=answer["ETag"].strip('"'),
        version_is_strong=True,
    )


def md5_hex(*pieces: bytes | bytearray | memoryview) -> str:
    """The ETag of an object that was put in one request (not where the server encrypts with keys of its own)."""
    whole = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        whole.update(piece)
    return whole.hexdigest()
