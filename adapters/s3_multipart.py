"""A multipart upload: its parts are under way side by side, how many and how large is decided by the distance."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from adapters.base import ObjectStat, WriteMode
from adapters.errors import NotFound, OutOfSpace, WriteLost
from adapters.s3_bucket import S3Bucket
from adapters.s3_parts import FAR, LAST_ANSWER_S, NEAR, Part, Parts
from adapters.s3_signed import SignedPut, Stored

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

#: S3's limit.
MAX_PARTS = 10_000
_MIB = 1024 * 1024
#: A resumed write sends the part again in which it was interrupted.
_PARTS_AIMED_AT = 4
#: 5 TiB, the largest object, is 5,120 of these.
_MAX_PART_BYTES = 1024 * _MIB
_MD5 = re.compile("[0-9a-f]{32}")


class Multipart:
    """Belongs to one thread. ``parts`` are those whose arrival the server has confirmed, in order and without a gap."""

    def __init__(self, bucket: S3Bucket, key: str, upload_id: str, parts: list[Part], *, checked: bool = False) -> None:
        """``checked`` uploads were begun as such, and a sum follows each of their parts."""
        self.key = key
        self.upload_id = upload_id
        self._bucket = bucket
        self._known = parts
        self._checked = checked
        self._opened = len(parts)
        self._under_way: Parts | None = None

    @classmethod
    def begin(cls, bucket: S3Bucket, key: str, *, checked: bool = False) -> Self:
        sums: dict[str, Any] = {"ChecksumAlgorithm": "CRC32"} if checked else {}
        with bucket.translating(key):
            answer = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=bucket.path(key), **sums)
        return cls(bucket, key, answer["UploadId"], [], checked=checked)

    @classmethod
    def resume(cls, bucket: S3Bucket, key: str, upload_id: str) -> Self:
        """Raises WriteLost where the upload is gone."""
        parts: list[Part] = []
        checked = False
        pages = bucket.client.get_paginator("list_parts")
        try:
            with bucket.translating(key):
                for page in pages.paginate(Bucket=bucket.name, Key=bucket.path(key), UploadId=upload_id):
                    checked = page.get("ChecksumAlgorithm") == "CRC32"
                    for found in page.get("Parts", []):
                        if found["PartNumber"] == len(parts) + 1:
                            etag, crc32 = found["ETag"].strip('"'), found.get("ChecksumCRC32", "")
                            parts.append(Part(found["PartNumber"], found["Size"], etag, crc32))
        except NotFound as exc:
            raise WriteLost(storage=bucket.storage, key=key) from exc
        return cls(bucket, key, upload_id, parts, checked=checked)

    @property
    def parts(self) -> list[Part]:
        sent = self._under_way.confirmed() if self._under_way else []
        return self._known + sent

    @property
    def size(self) -> int:
        """How many bytes the confirmed parts hold."""
        return sum(part.size for part in self.parts)

    def part_bytes(self, declared: int, *, least: int) -> int:
        """How many bytes the parts of an object of ``declared`` bytes have; those of an upload are all alike."""
        return self._known[0].size if self._known else part_size(declared, least=least, far=self._bucket.is_far)

    def open_part(self, size: int) -> None:
        """Begin the next part, which will have exactly ``size`` bytes."""
        if self._opened == MAX_PARTS:
            raise OutOfSpace(
                f"S3 takes {MAX_PARTS} parts; an object this large has to be written with its size declared",
                storage=self._bucket.storage,
                key=self.key,
            )
        if self._under_way is None:
            self._under_way = Parts(
                self._begin_part, lambda: self._bucket.translating(self.key), FAR if self._bucket.is_far else NEAR
            )
        self._under_way.open(self._opened + 1, size)
        self._opened += 1

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Take a piece of the open part, which nobody may change any more. Raises what any part has failed with."""
        assert self._under_way is not None
        self._under_way.feed(data)

    def settle(self) -> None:
        """Wait until every part that was taken whole is confirmed."""
        if self._under_way is not None:
            self._under_way.settle()

    def copy_part(self, source: str, version: str, start: int, stop: int) -> None:
        """Have the service copy ``[start, stop)`` of another object's version as the next part."""
        number = len(self._known) + 1
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
        self._known.append(Part(number, stop - start, answer["CopyPartResult"]["ETag"].strip('"')))

    def publish(self, mode: WriteMode) -> ObjectStat:
        self.settle()
        return self._bucket.publish(
            self.key, mode, lambda create: self.complete(create=create), size=self.size, version=self._version
        )

    def complete(self, *, create: bool) -> Stored:
        """One CompleteMultipartUpload. Raises what the driver raises."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if create else {}
        parts = [_listed(part) for part in self.parts]
        answer = self._bucket.client.complete_multipart_upload(
            Bucket=self._bucket.name,
            Key=self._bucket.path(self.key),
            UploadId=self.upload_id,
            MultipartUpload={"Parts": parts},
            **condition,
        )
        return Stored(answer.get("ETag", "").strip('"'))

    def disconnect(self, *, patience_s: float = LAST_ANSWER_S) -> None:
        """Drop what is under way; parts that were taken whole get ``patience_s`` to be confirmed. Idempotent."""
        if self._under_way is not None:
            self._under_way.drop(patience_s=patience_s)

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

    def _begin_part(self, number: int, size: int) -> SignedPut:
        if self._checked:
            return self._bucket.begin_checked_put(
                "upload_part", self.key, size, UploadId=self.upload_id, PartNumber=number
            )
        return self._bucket.begin_put("upload_part", self.key, size, UploadId=self.upload_id, PartNumber=number)


def _listed(part: Part) -> CompletedPartTypeDef:
    listed: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
    if part.crc32:
        listed["ChecksumCRC32"] = part.crc32
    return listed


def part_size(declared: int, *, least: int, far: bool) -> int:
    """How many bytes all parts but the last of an object of ``declared`` bytes have, so that any size fits.

    Near by they are few, because each costs a wait; far away as small as may be, so that several are under way.
    """
    parts = MAX_PARTS if far else _PARTS_AIMED_AT
    return min(max(least, -(-declared // (parts * _MIB)) * _MIB), _MAX_PART_BYTES)
