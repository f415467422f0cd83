"""Copy jobs as tests begin them, carry them out and look at what they left."""

from pathlib import Path
from typing import Any

from staging import copy_jobs
from staging.copy_specs import CopySpec
from staging.models import Bucket, CopyJob, Object
from tests.staging.yard import Yard, read


def mounted(yard: Yard, storage: str, prefix: str = "in/") -> Bucket:
    name = f"{storage}-{prefix.strip('/')}"
    return Bucket.objects.create(project=yard.project, name=name, storage=yard[storage], mounted=True, prefix=prefix)


def folder(yard: Yard, bucket: Bucket) -> Path:
    return yard.folder / bucket.storage.name / bucket.prefix


def fill(yard: Yard, bucket: Bucket, **files: bytes) -> None:
    for name, data in files.items():
        path = folder(yard, bucket) / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def begin(yard: Yard, source: tuple[Bucket, str], target: tuple[Bucket, str], **how: Any) -> CopyJob:
    return copy_jobs.create(yard.project, CopySpec(*source, *target, **how))


def once(yard: Yard, job: CopyJob) -> None:
    """Plan the next pages, and try each transfer once."""
    copy_jobs.advance(str(job.pk))
    yard.work(most=500)


def work(yard: Yard, job: CopyJob) -> CopyJob:
    """What workers would do now until nothing is due."""
    for _ in range(20):
        copy_jobs.advance(str(job.pk))
        if not yard.work(most=500):
            break
    job.refresh_from_db()
    return job


def contents(yard: Yard, bucket: Bucket) -> dict[str, bytes]:
    if not bucket.mounted:
        return {one.key: read(one) for one in Object.objects.filter(bucket=bucket, current=True)}
    root = folder(yard, bucket)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def counts(job: CopyJob) -> tuple[int, int, int, int]:
    return job.objects_found, job.objects_done, job.objects_skipped, job.objects_failed


def buckets_of_home(yard: Yard) -> dict[str, Bucket]:
    return {"managed": yard.bucket("runs"), "home": mounted(yard, "home")}
