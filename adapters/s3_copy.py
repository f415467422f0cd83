"""Copying within a bucket: the service moves the bytes, in parts so that no single request takes long."""

from __future__ import annotations

from adapters.base import ObjectStat, WriteMode
from adapters.s3_bucket import S3Bucket, md5_hex
from adapters.s3_multipart import Multipart
from adapters.s3_write import mark, unmark
from adapters.tokens import WriteToken

#: The service says nothing while it copies a part; this much is copied before a time limit for silence is over.
PART_BYTES = 512 * 1024 * 1024


def copy_within(bucket: S3Bucket, source: str, token: WriteToken, *, part_bytes: int = PART_BYTES) -> ObjectStat:
    """As ``CopiesWithin.copy_within``; exactly the version that the source has at the beginning is copied.

    CopyObject is not used: some services take its If-None-Match for a condition on the source. What is copied in one
    part is over so soon that no mark is left beside the key.
    """
    stat, target, mode = bucket.stat(source), token.key, token.mode
    token.expect(stat.size, source=source, storage=bucket.storage)
    if mode is WriteMode.CREATE:
        bucket.refuse_existing(target)
    if stat.size == 0:  # There is no range, hence no part, of an empty object.
        return bucket.publish(
            target, mode, lambda create: bucket.put(target, b"", create=create), size=0, version=md5_hex
        )
    upload, marked = Multipart.begin(bucket, target), stat.size > part_bytes
    try:
        if marked:
            mark(bucket, token, upload.upload_id)
        for start in range(0, stat.size, part_bytes):
            upload.copy_part(source, stat.version, start, min(start + part_bytes, stat.size))
        return upload.publish(mode)
    except BaseException:
        upload.abort()
        raise
    finally:
        if marked:
            unmark(bucket, token)
