"""What a test of data works in: a project, a storage, and buckets on it."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from django.utils import timezone

from staging import aliases, janitor
from staging.alias_terms import AliasSpec
from staging.janitor import Sweep
from staging.models import Alias, Bucket, Project, Storage, Upload
from staging.states import AliasMode
from tests.servers.swift import ACCESS_KEY, SECRET_KEY, Swift

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass
class Place:
    """A project with one local storage, a managed bucket on it, and that storage's root mounted."""

    project: Project
    storage: Storage
    managed: Bucket
    mounted: Bucket
    root: Path

    def alias(self, key: str, mode: AliasMode = AliasMode.READ, *, mounted: bool = False, **spec: Any) -> Alias:
        """A new alias of the managed bucket, or of the mounted one."""
        return aliases.create(self.mounted if mounted else self.managed, [AliasSpec(AliasMode(mode), key, **spec)])[0]

    def files(self) -> list[str]:
        """Every file below the storage's root, unfinished ones too."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def content(self, file: str) -> bytes:
        """The bytes of one of the files, past everything of Waybill's."""
        return (self.root / file).read_bytes()

    def assert_nothing_is_left(self) -> None:
        """No reservation, no file and no counted byte besides what the catalog lists."""
        storage = Storage.objects.get(pk=self.storage.pk)
        listed = {replica.key: replica.size for replica in storage.replicas.all()}
        assert not storage.uploads.exists()
        counted = (storage.reserved_bytes, storage.used_bytes)
        assert counted == (0, sum(listed.values())), f"reserved and used bytes: {counted}"
        left = set(self.files()) ^ set(listed)
        assert not left, f"files without a row, or rows without a file: {left}"

    def give_up_what_waits(self) -> None:
        """Let the uploads that wait to be resumed, and no others, run out; the janitor removes them."""
        waiting = Upload.objects.filter(suspended_at__isnull=False)
        expected = waiting.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        assert janitor.sweep().removed == expected

    def sweep(self) -> Sweep:
        """Run the janitor as if every lease had run out."""
        Upload.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        return janitor.sweep()


class S3Place(Place):
    """The same in a bucket on S3, whose files are what the service itself lists, unfinished uploads too."""

    def __init__(self, place: Place, server: Swift, bucket: str) -> None:
        super().__init__(place.project, place.storage, place.managed, place.mounted, place.root)
        self.bucket = bucket
        self.client: S3Client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def files(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        whole = [item["Key"] for page in pages for item in page.get("Contents", [])]
        unfinished = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return sorted([*whole, *(f"{item['Key']} (unfinished)" for item in unfinished)])

    def content(self, file: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=file)["Body"].read()
