"""What a server can do beyond the least: found out by trying, once a process, and never by a setting."""

from __future__ import annotations

import secrets
import time
from contextlib import closing, suppress

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
    if None not in (bucket.honours_create, bucket.checks_sums) or not bucket.learning.acquire(blocking=False):
        return
    try:
        if time.monotonic() < bucket.learn_after:
            return
        bucket.learn_after = time.monotonic() + _PAUSE_S
        key = partial_key("waybill-check", secrets.token_hex(16))
        with suppress(AdapterError):
            try:
                with bucket.translating(key):
                    bucket.put(key, _CONTENT)
                bucket.honours_create = refuses_create(bucket, key)
                bucket.checks_sums = checks_sums(bucket, key)
            finally:
                bucket.delete(key)
    finally:
        bucket.learning.release()


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
    """Whether the server refuses a part with a wrong sum behind it, takes one with the right sum, and stores that."""
    upload = None
    try:
        upload = Multipart.begin(bucket, key, checked=True)
        if not _refuses_wrong_sum(bucket, upload):
            return False
        upload.open_part(len(_CONTENT))
        upload.send(_CONTENT)
        upload.settle()
        with bucket.translating(key):
            upload.complete(create=False)
        # A server that does not know the framing has it among the bytes.
        with open_read(bucket, key, 0, None, None) as stream:
            return stream.read() == _CONTENT
    except AdapterError as exc:
        if exc.transient and not s3_errors.is_not_implemented(exc):
            raise
        return False
    finally:
        if upload is not None:
            upload.abort()


def _refuses_wrong_sum(bucket: S3Bucket, upload: Multipart) -> bool:
    size, part = len(_CONTENT), {"UploadId": upload.upload_id, "PartNumber": 1}
    try:
        with (
            bucket.translating(upload.key),
            closing(bucket.begin_checked_put("upload_part", upload.key, size, spoiled=True, **part)) as request,
        ):
            request.send(_CONTENT)
            request.finish()
    except AdapterError as exc:
        if exc.transient:
            raise
        return True
    return False
