"""Unfinished writes to one S3 bucket: marks beside their keys, and uploads in parts that no mark names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from adapters.base import Unfinished
from adapters.errors import WriteLost
from adapters.keys import partial_token
from adapters.s3_bucket import S3Bucket
from adapters.s3_multipart import Multipart
from adapters.tokens import WriteToken
from adapters.walking import Entry, unfinished

#: Before the id and the key of an upload in parts that has no mark: its writer died just after it had begun it.
_UNMARKED = "upload "


def of_key(bucket: S3Bucket, key: str, pages: Iterable[Mapping[str, Any]]) -> list[str]:
    """The tokens of exactly this key in the pages of a listing of what lies beside it."""
    folder, slash, name = key.rpartition("/")
    beside = f"{bucket.prefix}{folder}{slash}"
    found = [
        partial_token(item["Key"].removeprefix(beside), target=name)
        for page in pages
        for item in page.get("Contents", [])
    ]
    return [str(WriteToken(key, digits)) for digits in found if digits is not None]


def marked(bucket: S3Bucket, pages: Iterable[Mapping[str, Any]]) -> Iterator[Unfinished]:
    """Those whose marks are in the pages of a listing. A mark is as old as its write, or as what was left last."""
    for page in pages:
        for item in page.get("Contents", []):
            folder, slash, name = item["Key"].removeprefix(bucket.prefix).rpartition("/")
            entry = Entry(name, False, item["Size"], item["LastModified"].astimezone(UTC))
            if found := unfinished(folder + slash, entry):
                yield found


def uploads(bucket: S3Bucket, prefix: str) -> Iterator[Unfinished]:
    """The uploads in parts of the keys below a prefix, those with a mark too."""
    pages = bucket.client.get_paginator("list_multipart_uploads")
    found = iter(pages.paginate(Bucket=bucket.name, Prefix=bucket.prefix + prefix))
    while True:
        with bucket.slots.taken(), bucket.translating(prefix):
            page = next(found, None)
        if page is None:
            return
        for item in page.get("Uploads", []):
            key, began = item["Key"].removeprefix(bucket.prefix), _utc(item.get("Initiated"))
            yield Unfinished(f"{_UNMARKED}{item['UploadId']} {key}", key, 0, began)


def abort_unmarked(bucket: S3Bucket, token: str) -> bool:
    """Remove the upload that the token names; False where it is not a token of ``uploads``."""
    if not token.startswith(_UNMARKED):
        return False
    upload_id, _, key = token.removeprefix(_UNMARKED).partition(" ")
    if not key:
        raise WriteLost("its token names no key", storage=bucket.storage)
    Multipart(bucket, key, upload_id, []).abort()
    return True


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
