"""A multipart upload: parts sent one after the other, the answer to one awaited only while the next is under way."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from adapters.base import ObjectStat, WriteMode
from adapters.errors import NotFound, OutOfSpace, WriteLost
from adapters.s3_bucket import S3Bucket
from adapters.s3_put import SignedPut

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

#: S3's limit.
MAX_PARTS = 10_000
_MIB = 1024 * 1024
#: Each part costs a wait, so they are few; a resumed write sends the part again in which it was interrupted.
_PARTS_AIMED_AT = 8
#: 5 TiB, the largest object, is 5,120 of these.
_MAX_PART_BYTES = 1024 * _MIB
_MD5 = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Part:
    number: int
    size: int
    etag: str


class Multipart:
    """Belongs to one thread. ``parts`` are those whose arrival the server has confirmed, in order and without a gap."""

    def __init__(self, bucket: S3Bucket, key: str, upload_id: str, parts: list[Part]) -> None:
        self.key = key
        self.upload_id = upload_id
        self.parts = parts
        self._bucket = bucket
        self._open: tuple[SignedPut, int] | None = None
        self._unanswered: tuple[SignedPut, int] | None = None

    @classmethod
    def begin(cls, bucket: S3Bucket, key: str) -> Self:
        with bucket.translating(key):
            answer = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=bucket.path(key))
        return cls(bucket, key, answer["UploadId"], [])

    @classmethod
    def resume(cls, bucket: S3Bucket, key: str, upload_id: str) -> Self:
        """Raises WriteLost where the upload is gone."""
        parts: list[Part] = []
        pages = bucket.client.get_paginator("list_parts")
        try:
            with bucket.translating(key):
                for page in pages.paginate(Bucket=bucket.name, Key=bucket.path(key), UploadId=upload_id):
                    for found in page.get("Parts", []):
                        if found["PartNumber"] == len(parts) + 1:
                            parts.append(Part(found["PartNumber"], found["Size"], found["ETag"].strip('"')))
        except NotFound as exc:
            raise WriteLost(storage=bucket.storage, key=key) from exc
        return cls(bucket, key, upload_id, parts)

    @property
    def size(self) -> int:
        """How many bytes the confirmed parts hold."""
        return sum(part.size for part in self.parts)

    def open_part(self, size: int) -> None:
        """Begin the next part, which will have exactly ``size`` bytes."""
        number = len(self.parts) + 1 + (self._unanswered is not None)
        if number > MAX_PARTS:
            raise OutOfSpace(
                f"S3 takes {MAX_PARTS} parts; an object this large has to be written with its size declared",
                storage=self._bucket.storage,
                key=self.key,
            )
        with self._bucket.translating(self.key):
            request = self._bucket.begin_put("upload_part", self.key, size, UploadId=self.upload_id, PartNumber=number)
        self._open = request, size

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send a piece of the open part."""
        assert self._open is not None
        with self._bucket.translating(self.key):
            self._open[0].send(data)

    def close_part(self) -> None:
        """All of the open part was sent."""
        self.settle()
        self._unanswered, self._open = self._open, None

    def settle(self) -> None:
        """Wait until every part that was sent whole is confirmed."""
        if self._unanswered is not None:
            request, size = self._unanswered
            self._unanswered = None
            with self._bucket.translating(self.key):
                self.parts.append(Part(len(self.parts) + 1, size, request.finish()))

    def copy_part(self, source: str, version: str, start: int, stop: int) -> None:
        """Have the service copy ``[start, stop)`` of another object's version as the next part."""
        number = len(self.parts) + 1
        with self._bucket.translating(self.key):
            answer = self._bucket.client.upload_part_copy(
                Bucket=self._bucket.name,
                Key=self._bucket.path(self.key),
                UploadId=self.upload_id,
                PartNumber=number,
                CopySource={"Bucket": self._bucket.name, "Key": self._bucket.path(source)},
                CopySourceIfMatch=f'"{version}"',
                CopySourceRange=f"bytes={start}-{stop - 1}",
            )
        self.parts.append(Part(number, stop - start, answer["CopyPartResult"]["ETag"].strip('"')))

    def publish(self, mode: WriteMode) -> ObjectStat:
        self.settle()
        return self._bucket.publish(
            self.key, mode, lambda create: self.complete(create=create), size=self.size, version=self._version()
        )

    def complete(self, *, create: bool) -> str:
        """One CompleteMultipartUpload; returns the ETag, empty where none is told. Raises what the driver raises."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if create else {}
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in self.parts
        ]
        answer = self._bucket.client.complete_multipart_upload(
            Bucket=self._bucket.name,
            Key=self._bucket.path(self.key),
            UploadId=self.upload_id,
            MultipartUpload={"Parts": parts},
            **condition,
        )
        return answer.get("ETag", "").strip('"')

    def disconnect(self) -> None:
        """Drop what is under way. Idempotent."""
        for request, _ in filter(None, (self._open, self._unanswered)):
            request.close()
        self._open = self._unanswered = None

    def abort(self) -> None:
        """Remove the parts; an upload that is gone is success."""
        self.disconnect()
        with suppress(NotFound, WriteLost), self._bucket.translating(self.key):
            self._bucket.client.abort_multipart_upload(
                Bucket=self._bucket.name, Key=self._bucket.path(self.key), UploadId=self.upload_id
            )

    def _version(self) -> str | None:
        """The ETag that the object will have; None where the parts' own ETags are no MD5 sums."""
        if not all(_MD5.fullmatch(part.etag) for part in self.parts):
            return None
        whole = b"".join(bytes.fromhex(part.etag) for part in self.parts)
        return f"{hashlib.md5(whole, usedforsecurity=False).hexdigest()}-{len(self.parts)}"


def part_size(declared: int, *, least: int) -> int:
    """How many bytes all parts but the last of an object of ``declared`` bytes have, so that any size fits."""
    return min(max(least, -(-declared // (_PARTS_AIMED_AT * _MIB)) * _MIB), _MAX_PART_BYTES)
