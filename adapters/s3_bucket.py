"""One bucket's requests in our words: names, stats, small objects, and publishing so that CREATE never overwrites."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, suppress
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
    InvalidKey,
    NotFound,
    SizeMismatch,
    TransientAdapterError,
    VersionChanged,
    WriteLost,
)
from adapters.keys import MAX_KEY_BYTES
from adapters.s3_put import SignedPut
from adapters.s3_settings import S3Connection, S3Settings
from adapters.slots import Slots

#: A signature is checked when a request arrives; how long its body then takes does not matter.
_SIGNATURE_LIFETIME_S = 900


class S3Bucket:
    """Thread-safe. Its callers hold one of ``slots`` for each stream, session or request.

    ``honours_create`` is whether the server honours ``If-None-Match: *``, None while that is not known;
    ``atomic_create`` is whether it is known to do so for two requests at the same moment too.
    """

    def __init__(self, settings: S3Settings, *, storage: str) -> None:
        self.storage = storage
        self.name = settings.bucket
        self.prefix = settings.prefix
        self.honours_create: bool | None = None
        self.atomic_create = False
        self.connect_timeout_s = settings.connect_timeout_s
        self.slots = Slots(settings.max_connections, storage=storage, wait_s=settings.connect_timeout_s)
        self._stall_timeout_s = settings.stall_timeout_s
        self._connection = S3Connection(settings)
        self.client, self.tls = self._connection.client, self._connection.tls

    def path(self, key: str) -> str:
        """The object's name in the bucket; raises InvalidKey for one that S3 cannot hold."""
        path = self.prefix + key
        if len(path.encode()) > MAX_KEY_BYTES:
            raise InvalidKey(
                f"with the storage's prefix it has more than {MAX_KEY_BYTES} bytes", storage=self.storage, key=key
            )
        return path

    def translating(
        self, key: str = "", *, precondition: type[VersionChanged | AlreadyExists] = VersionChanged
    ) -> AbstractContextManager[None]:
        return s3_errors.translating(self.storage, key, precondition=precondition)

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

    def put(self, key: str, data: bytes | bytearray, *, create: bool = False) -> str:
        """One PutObject, with ``If-None-Match: *`` for ``create``; returns the ETag. Raises what the driver raises."""
        with closing(self.begin_put("put_object", key, len(data), create=create)) as request:
            request.send(data)
            return request.finish()

    def begin_put(
        self, operation: str, key: str, size: int, *, create: bool = False, ask: bool = False, **params: Any
    ) -> SignedPut:
        """Open a connection of its own for one body of ``size`` bytes. Raises what the driver raises.

        With ``ask`` the server may be waited for until it has looked at the request: ``SignedPut.may_go_on``.
        """
        headers = {"Expect": "100-continue"} if ask else {}
        if create:
            params["IfNoneMatch"] = headers["If-None-Match"] = "*"
        return SignedPut(
            self.sign(operation, key, lifetime_s=_SIGNATURE_LIFETIME_S, **params),
            size,
            operation=operation,
            headers=headers,
            tls=self.tls,
            connect_timeout_s=self.connect_timeout_s,
            stall_timeout_s=self._stall_timeout_s,
        )

    def sign(self, operation: str, key: str, *, lifetime_s: int, **params: Any) -> str:
        return self.client.generate_presigned_url(
            operation, Params={"Bucket": self.name, "Key": self.path(key), **params}, ExpiresIn=lifetime_s
        )

    def publish(
        self, key: str, mode: WriteMode, attempt: Callable[[bool], str], *, size: int, version: str | None
    ) -> ObjectStat:
        """Run ``attempt(create)``, which makes ``size`` bytes visible at ``key`` in one step, and return their stat.

        ``create`` asks it to send ``If-None-Match: *``; it returns the ETag that the server told, if any. ``version``
        is the one that the object will have, as far as it can be known: where the answer is lost, it tells whether the
        object there is ours. Raises AlreadyExists, and SizeMismatch after removing what does not have the size.
        """
        try:
            told = self._attempt(key, mode, attempt) or version
        except (TransientAdapterError, WriteLost):
            if version is None or not self._is_there(key, size=size, version=version):
                raise
            told = version
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

    def _attempt(self, key: str, mode: WriteMode, attempt: Callable[[bool], str]) -> str:
        create = mode is WriteMode.CREATE
        # A server that ignores the condition would overwrite, so only one that has proved to honour it is trusted.
        if create and self.honours_create is not True:
            self.refuse_existing(key)
        with self.translating(key, precondition=AlreadyExists):
            try:
                return attempt(create and self.honours_create is not False)
            except ClientError as exc:
                status = s3_errors.status_of(exc)
                if create and status == NOT_IMPLEMENTED:
                    self.honours_create = False
                    return attempt(False)
                if create and status == CONFLICT:
                    self.refuse_existing(key)
                raise

    def refuses_create(self, key: str, attempt: Callable[[], str]) -> bool:
        """Whether the server by itself refuses ``attempt``, which creates at a key where there is an object."""
        try:
            with self.translating(key, precondition=AlreadyExists):
                attempt()
        except AlreadyExists:
            return True
        except AdapterError as exc:
            if isinstance(exc.__cause__, ClientError) and s3_errors.status_of(exc.__cause__) == NOT_IMPLEMENTED:
                return False
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
            return stat_of(key, self.client.head_object(Bucket=self.name, Key=self.path(key)))

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


def md5_hex(data: bytes | bytearray) -> str:
    """The ETag of an object that was put in one piece (not where the server encrypts with keys of its own)."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
