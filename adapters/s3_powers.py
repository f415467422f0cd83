"""What a server can do beyond the least: found out by trying, once a process, and never by a setting."""

from __future__ import annotations

import secrets
import time
from contextlib import closing, suppress
from typing import Any

from adapters import s3_errors
from adapters.errors import AdapterError
from adapters.keys import partial_key
from adapters.s3_bucket import S3Bucket
from adapters.s3_multipart import Multipart
from adapters.s3_read import open_read

_CONTENT = b"Waybill tries what this storage can do"
#: How long nothing is tried after a trial that failed.
_PAUSE_S = 60.0


def learn(bucket: S3Bucket) -> None:
    """Find out what is not known yet of a bucket that takes writes; what cannot be found out now, is later.

    Until then, and in other threads meanwhile, the server counts as one that can do nothing. The trial lies under a
    partial's name, which no scan lists.
    """
    known = bucket.known
    if None not in (known.honours_create, known.checks_sums) or not known.learning.acquire(blocking=False):
        return
    try:
        if time.monotonic() < known.learn_after:
            return
        known.learn_after = time.monotonic() + _PAUSE_S
        key = partial_key("waybill-check", secrets.token_hex(16))
        with suppress(AdapterError):
            try:
                with bucket.translating(key):
                    bucket.put(key, _CONTENT)
                known.honours_create = refuses_create(bucket, key)
                known.checks_sums = checks_sums(bucket, key)
            finally:
                bucket.delete(key)
    finally:
        known.learning.release()


def refuses_create(bucket: S3Bucket, key: str) -> bool:
    """Whether the server by itself refuses to create what exists, here at ``key``, both whole and in parts."""
    if not bucket.refuses_create(key, lambda: bucket.put(key, _CONTENT, create=True)):
        return False
    upload = Multipart.begin(bucket, key)
    try:
        upload.open_part(len(_CONTENT))
        upload.send(_CONTENT)
        upload.settle()
        return bucket.refuses_create(key, lambda: upload.complete(create=True))
    finally:
        upload.abort()


def checks_sums(bucket: S3Bucket, key: str) -> bool:
    """Whether the server refuses a wrong sum behind an object or a part, takes the right one, and stores the bytes."""
    upload = None
    try:
        if not _refuses_wrong_sum(bucket, "put_object", key):
            return False
        _put_checked(bucket, "put_object", key)
        if not _has_content(bucket, key):
            return False
        upload = Multipart.begin(bucket, key, checked=True)
        if not _refuses_wrong_sum(bucket, "upload_part", key, UploadId=upload.upload_id, PartNumber=1):
            return False
        upload.open_part(len(_CONTENT))
        upload.send(_CONTENT)
        upload.settle()
        with bucket.translating(key):
            upload.complete(create=False)
        return _has_content(bucket, key)
    except AdapterError as exc:
        if exc.transient and not s3_errors.is_not_implemented(exc):
            raise
        return False
    finally:
        if upload is not None:
            upload.abort()


def _has_content(bucket: S3Bucket, key: str) -> bool:
    """A server that does not know the framing has it among the bytes."""
    with open_read(bucket, key, 0, None, None) as stream:
        return stream.stat.size == len(_CONTENT) and stream.read() == _CONTENT


def _put_checked(bucket: S3Bucket, operation: str, key: str, *, spoiled: bool = False, **params: Any) -> None:
    with (
        bucket.translating(key),
        closing(bucket.begin_checked_put(operation, key, len(_CONTENT), spoiled=spoiled, **params)) as request,
    ):
        request.send(_CONTENT)
        request.finish()


def _refuses_wrong_sum(bucket: S3Bucket, operation: str, key: str, **params: Any) -> bool:
    try:
        _put_checked(bucket, operation, key, spoiled=True, **params)
    except AdapterError as exc:
        if exc.transient:
            raise
        return True
    return False
