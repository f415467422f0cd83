"""Objects in one S3 bucket, below a prefix: AWS, or whatever speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, Self
from urllib.parse import quote

from adapters import s3_check, s3_copy, s3_names, s3_read, s3_settings, s3_unfinished, s3_write
from adapters.base import (
    Adapter,
    CheckStep,
    Listed,
    ObjectStat,
    Prefix,
    ReadStream,
    Traits,
    Unfinished,
    WriteMode,
    WriteSession,
)
from adapters.s3_bucket import WHOLE_BYTES, S3Bucket, stat_of
from adapters.s3_settings import S3Settings
from adapters.s3_whole import Whole
from adapters.s3_write import PART_BYTES, S3Write
from adapters.tokens import WriteToken


class S3Adapter(Adapter):
    """A version is the object's ETag. ``traits.atomic_create`` is true once ``check`` has seen that it is.

    No credential, profile or endpoint of the machine's own is ever used. ``part_bytes`` is what a session collects at
    most and the least part of a multipart upload; S3 takes none below 5 MiB. Up to ``whole_bytes`` may go in one
    request all the same. ``far`` says how far away the server is, which is measured else: several parts and ranges of
    what is far away are under way at once.
    """

    scheme = "s3"
    title = "S3"
    fields = s3_settings.FIELDS

    def __init__(
        self,
        name: str,
        settings: S3Settings,
        *,
        part_bytes: int = PART_BYTES,
        whole_bytes: int = WHOLE_BYTES,
        far: bool | None = None,
    ) -> None:
        self.name = name
        self._bucket = S3Bucket(settings, storage=name, far=far, whole_bytes=whole_bytes)
        atomic = self._bucket.known.atomic_create
        self.traits = Traits(atomic_create=atomic, atomic_replace=True, resumes=True, strong_versions=True)
        self._slots = self._bucket.slots
        self._part_bytes = part_bytes

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        return cls(name, S3Settings.read(options, credential))

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return f"s3://{s3_settings.bucket_name(options)}/{quote(s3_settings.prefix(options))}"

    def stat(self, key: str) -> ObjectStat:
        with self._slots.taken():
            return self._bucket.stat(key)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        return s3_read.open_read(self._bucket, key, start, stop, version)

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        token = WriteToken.new(key, size=size, mode=mode)
        with self._slots.handed_on() as slot:
            large = size is not None and size > self._part_bytes and not Whole.suits(self._bucket, size)
            if mode is WriteMode.CREATE and large:
                self._bucket.refuse_existing(key)  # before any byte of what is large is taken
            return S3Write(self._bucket, token, part_bytes=self._part_bytes, slot=slot)

    def resume_write(self, token: str) -> WriteSession:
        parsed = WriteToken.parse(token, storage=self.name)
        with self._slots.handed_on() as slot:
            return S3Write.resume(self._bucket, parsed, part_bytes=self._part_bytes, slot=slot)

    def unfinished_writes(self, key: str) -> list[str]:
        folder, slash, name = key.rpartition("/")
        return s3_unfinished.of_key(self._bucket, key, self._pages(f"{folder}{slash}.{name}.", Delimiter="/"))

    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]:
        yield from s3_unfinished.marked(self._bucket, self._pages(folder))
        for upload in s3_unfinished.uploads(self._bucket, folder):
            # Whoever aborts by a mark aborts its upload.
            if s3_names.is_legal(upload.key) and not self.unfinished_writes(upload.key):
                yield upload

    def abort_write(self, token: str) -> None:
        with self._slots.taken():
            if not s3_unfinished.abort_unmarked(self._bucket, token):
                s3_write.abort_write(self._bucket, WriteToken.parse(token, storage=self.name))

    def delete(self, key: str) -> None:
        with self._slots.taken():
            self._bucket.delete(key)

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        options = {"StartAfter": self._bucket.prefix + after} if after else {}
        if not recursive:
            options["Delimiter"] = "/"
        for page in self._pages(prefix, **options):
            # Objects and folders of a page are ordered, each among themselves.
            found: list[ObjectStat | Prefix] = []
            for item in page.get("Contents", []):
                found.append(stat_of(self._key(item["Key"]), item, size=item["Size"]))
            found += [Prefix(self._key(item["Prefix"])) for item in page.get("CommonPrefixes", [])]
            for one in sorted(found, key=lambda one: one.key):
                # A folder is listed again for every one of its keys that is behind ``after``.
                if one.key > after and (listed := s3_names.listed(one)):
                    yield listed

    def check(self) -> list[CheckStep]:
        steps = s3_check.check(self._bucket)
        self.traits = replace(self.traits, atomic_create=self._bucket.known.atomic_create)
        return steps

    def close(self) -> None:
        self._bucket.close()

    def copy_within(self, source: str, token: WriteToken) -> ObjectStat:
        with self._slots.taken():
            return s3_copy.copy_within(self._bucket, source, token)

    def sign_url(self, key: str, *, method: Literal["GET", "PUT"], lifetime_s: int) -> str:
        operation = {"GET": "get_object", "PUT": "put_object"}[method]
        return self._bucket.sign(operation, key, lifetime_s=lifetime_s)

    def _pages(self, prefix: str, **options: str) -> Iterator[Mapping[str, Any]]:
        pages = self._bucket.client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name,
            Prefix=self._bucket.prefix + prefix,
            **options,  # type: ignore[arg-type]
        )
        found = iter(pages)
        while True:
            with self._slots.taken(), self._bucket.translating(prefix):
                page = next(found, None)
            if page is None:
                return
            yield page

    def _key(self, path: str) -> str:
        return path.removeprefix(self._bucket.prefix)
