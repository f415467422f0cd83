"""Buckets: how they are made, given another policy, and removed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction

from adapters import registry
from adapters.errors import InvalidKey
from adapters.keys import check_key
from staging import events, policies, retiring
from staging.errors import InUse, InvalidRequest, NameTaken
from staging.models import Bucket, Project, Storage
from staging.models.fields import NAME_RULE, is_name
from staging.placement import MANAGED_FOLDER
from staging.storages import root_bucket_name


@dataclass(frozen=True, slots=True)
class BucketSpec:
    """What a caller asks for. ``mounted``: the bucket mirrors the folder ``prefix`` of the storage, in place."""

    name: str
    storage: Storage
    mounted: bool = False
    prefix: str = ""
    policy: Mapping[str, Any] = field(default_factory=dict)


def create(project: Project, spec: BucketSpec) -> Bucket:
    """Make an empty bucket. Raises InvalidRequest naming what is wrong, or NameTaken."""
    prefix = _checked_prefix(spec)
    wrong: dict[str, str] = {}
    if not is_name(spec.name):
        wrong["name"] = NAME_RULE
    if spec.storage.project_id != project.pk:
        wrong["storage"] = "it belongs to another project"
    elif spec.storage.is_given_up:
        wrong["storage"] = "it was given up: it is gone for good"
    elif not spec.mounted and registry.is_read_only(spec.storage.scheme):
        wrong["storage"] = "it is read-only: a folder of it can be mounted, and nothing be managed there"
    if wrong:
        raise InvalidRequest(f"The bucket {spec.name!r} is not valid.", fields=wrong)
    draft = Bucket(project=project, name=spec.name, storage=spec.storage, mounted=spec.mounted)
    policies.check(draft, spec.policy, _storages_of(project.pk, spec.policy))
    try:
        with transaction.atomic():
            bucket = Bucket.objects.create(
                project=project,
                name=spec.name,
                storage=spec.storage,
                mounted=spec.mounted,
                prefix=prefix,
                policy=dict(spec.policy),
            )
            events.record(project, "bucket.created", spec.name, storage=spec.storage.name, mounted=spec.mounted)
    except IntegrityError as exc:
        raise NameTaken(f"A bucket named {spec.name!r} exists in this project.") from exc
    return bucket


def set_policy(bucket: Bucket, policy: Mapping[str, Any]) -> None:
    """Replace the policy. New objects follow it at once, those that stand as the reconciler comes to them.

    Raises InvalidRequest where it is not valid, or asks for what the project's storages cannot give.
    """
    policies.check(bucket, policy, _storages_of(bucket.project_id, policy))
    with transaction.atomic():
        Bucket.objects.filter(pk=bucket.pk).update(policy=dict(policy))
        events.record(bucket.project_id, "bucket.changed", bucket.name, policy=dict(policy))
    bucket.policy = dict(policy)


def delete(bucket: Bucket) -> None:
    """Remove a bucket that holds nothing and that no live alias names. No byte is touched.

    A mounted bucket holds nothing of its own: the files stay where they are. Raises InUse naming what is in the way.
    """
    if is_root(bucket):
        raise InUse(f"The bucket {bucket} shows the root of its storage and goes with it.")
    try:
        with transaction.atomic():
            retiring.drop_bucket(bucket)
            events.record(bucket.project_id, "bucket.deleted", bucket.name)
    except IntegrityError as exc:
        raise InUse(f"Something was put into the bucket {bucket} at this very moment.") from exc


def is_root(bucket: Bucket) -> bool:
    """Whether this is the bucket that every storage has for the whole of its root."""
    return bucket.mounted and bucket.name == root_bucket_name(bucket.storage.name)


def _storages_of(project_id: int, policy: Mapping[str, Any]) -> list[Storage]:
    return list(Storage.objects.filter(project=project_id)) if policy else []


def _checked_prefix(spec: BucketSpec) -> str:
    """The folder with its last slash. Only a mounted bucket has one, and never Waybill's own."""
    prefix = spec.prefix.strip("/")
    if not spec.mounted and prefix:
        raise InvalidRequest("Only a mounted bucket has a folder.", fields={"prefix": "leave it empty"})
    try:
        if prefix:
            check_key(prefix)
    except InvalidKey as exc:
        raise InvalidRequest("The folder is not valid.", fields={"prefix": exc.detail}) from exc
    if MANAGED_FOLDER in prefix.split("/"):
        raise InvalidRequest(
            "The folder is not valid.", fields={"prefix": f"'{MANAGED_FOLDER}' belongs to managed buckets"}
        )
    return f"{prefix}/" if prefix else ""
