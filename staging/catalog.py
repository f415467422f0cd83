"""The catalog: the one place that writes objects, with the first replica of each.

``replicas`` writes the others, and ``versions`` what may change of a version that stands.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

from django.conf import settings
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import F, Max
from django.utils import timezone

from staging import events, policies, replicas, replication, reservations, retiring
from staging.batch import Arrival, choose
from staging.blocks import SUM_BYTES, WHOLE_BYTES, between
from staging.errors import AliasUsedUp, ContentDiffers, LeaseLost, SourceMissing, TooLarge
from staging.models import Alias, BlockSums, BrokenStream, Bucket, Object, Replica, Storage, Upload
from staging.policies import Policy
from staging.prepared import Prepared
from staging.states import OnExists

T = TypeVar("T")

#: How often a registration is tried when other versions of its keys are registered at the same moment.
_RACES = 5

_CURRENT_REPLICAS = Prepared(
    lambda bucket_id, key: Replica.objects.select_related("object", "storage__credential", "storage__node").filter(
        object__bucket_id=bucket_id, object__key=key, object__current=True
    ),
    int,
    str,
)


class _Overtaken(OperationalError):
    """The version that was to be replaced has been replaced by another meanwhile; like a deadlock it will pass."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of an upload: the object that now stands at the key, and whether it stood there before."""

    object: Object
    replayed: bool


def current(bucket: Bucket, key: str) -> Object | None:
    """The current version at the key with its replicas and their storages, or None."""
    return (
        Object.objects.filter(bucket=bucket, key=key, current=True)
        .prefetch_related("replicas__storage__credential", "replicas__storage__node")
        .first()
    )


def current_replicas(bucket: Bucket, key: str) -> list[Replica]:
    """The replicas of the current version at the key, each with its object, storage and credential, in one query."""
    return _CURRENT_REPLICAS.all(bucket.pk, key)


def held(checkpoint_id: int, bucket: Bucket, key: str) -> Object:
    """The version that the checkpoint holds of the key, as ``current`` has them. Raises SourceMissing."""
    rows = Object.objects.filter(pins__checkpoint=checkpoint_id, pins__key=key, bucket=bucket)
    found = rows.prefetch_related("replicas__storage__credential", "replicas__storage__node").first()
    if found is None:
        raise SourceMissing("The checkpoint does not hold the object any more.")
    return found


def was_deleted(bucket: Bucket, key: str) -> bool:
    """Whether the key's last known version was deleted (rather than never written)."""
    last = Object.objects.filter(bucket=bucket, key=key).order_by("-version").first()
    return last is not None and not last.current


def register(
    upload: Upload, storage_version: str, *, sums: bytes, late: bool = False, lost: Object | None = None
) -> Registered:
    """The row after the bytes: make the published upload the key's current version, with the ``sums`` of its blocks.

    Where equal content stands there already the object is that one, ``replayed``, and the upload stays for the caller
    to clean up. A ``late`` upload, whose writer is gone, replaces nothing that was committed after it began, and brings
    nothing back that was deleted since. A version
    that has ``lost`` its bytes is replaced by equal ones. Raises ContentDiffers (the upload stays too) and LeaseLost.
    """
    return _settle(upload.alias, lambda: _register(upload, storage_version, sums, late, lost))


def _settle(alias: Alias, write: Callable[[], T]) -> T:
    """Run a registration in a transaction: anew where another came between, and then alone in its bucket.

    Those that replace versions are alone from the start: nothing else bounds how often they could be overtaken.
    Raises _Overtaken.
    """
    for attempt in range(_RACES):
        try:
            with transaction.atomic():
                if attempt or alias.on_exists == OnExists.REPLACE:
                    Bucket.objects.select_for_update(no_key=True).get(pk=alias.bucket_id)
                return write()
        except (IntegrityError, _Overtaken):
            continue
    raise _Overtaken(f"Others write the same keys of the bucket {alias.bucket}.")


def _register(upload: Upload, storage_version: str, sums: bytes, late: bool, lost: Object | None) -> Registered:
    alias, size = upload.alias, upload.size
    if size is None or not upload.sha256:
        raise ValueError("the content must be noted before it is registered")
    bucket = alias.bucket
    # Both facts from one reading: a version that came between two would have two writers wait for each other.
    last = Object.objects.filter(bucket=bucket, key=upload.target_key).order_by("-version").first()
    standing = last if last and last.current else None
    is_equal = standing is not None and (standing.size, standing.sha256) == (size, upload.sha256)
    # In a mounted bucket equal content that was written anew is another version all the same.
    heals = is_equal and standing == lost
    if standing and is_equal and not heals and (not bucket.mounted or _is_published(standing, storage_version)):
        reservations.outdate(bucket, [standing.key], upload.created_at)
        return Registered(standing, replayed=True)
    may_replace = alias.on_exists == OnExists.REPLACE and not (
        late and standing and standing.created_at > upload.created_at
    )
    if standing and not bucket.mounted and not may_replace and not heals:
        raise ContentDiffers(f"{bucket}/{upload.target_key} was committed with other content meanwhile.")
    if late and last and last.retired_at and last.retired_at > upload.created_at:
        raise ContentDiffers(f"{bucket}/{upload.target_key} was deleted meanwhile.")
    deleted, _ = reservations.owned(upload).delete()
    if not deleted:
        raise LeaseLost
    policy = Policy() if bucket.mounted else policies.of_bucket(bucket)
    if standing and not retiring.retire(standing, keep_s=settings.REPLACED_KEEP_S):
        raise _Overtaken
    made = Object.objects.create(
        id=upload.id,
        bucket=bucket,
        key=upload.target_key,
        version=last.version + 1 if last else 1,
        size=size,
        sha256=upload.sha256,
        content_type=upload.content_type,
        expires_at=policy.ends_at(timezone.now()),
    )
    BlockSums.objects.bulk_create(_sums_of([(made, sums)]) if not bucket.mounted else [])
    for overwritten in Replica.objects.filter(storage=upload.storage, key=upload.key):
        replicas.forget(overwritten)
    Replica.objects.create(
        object=made,
        storage=upload.storage,
        key=upload.key,
        size=size,
        storage_version=storage_version,
        dirty=policy.is_dirty(upload.storage),
        verified_at=timezone.now(),
    )
    Storage.objects.filter(pk=upload.storage_id).update(
        reserved_bytes=F("reserved_bytes") - upload.reserved_bytes, used_bytes=F("used_bytes") + size
    )
    _count_use(alias, size)
    BrokenStream.objects.filter(alias=alias, key=upload.target_key).delete()
    kind = "object.replaced" if standing else "object.created"
    events.record(
        bucket.project_id,
        kind,
        f"{bucket}/{upload.target_key}",
        object=str(made.id),
        version=made.version,
        size=size,
        sha256=made.sha256,
    )
    if policy.asks_for_copies:
        replication.settle(made, is_new=True)
    return Registered(made, replayed=False)


def _sums_of(made: Iterable[tuple[Object, bytes]]) -> list[BlockSums]:
    """The rows of the sums of those new versions that are not known by their SHA-256 alone."""
    rows = [BlockSums(object=version, sums=sums) for version, sums in made if version.size > WHOLE_BYTES]
    if any(len(row.sums) != SUM_BYTES * len(between(0, row.object.size)) for row in rows):
        raise ValueError("there must be a sum of each block")
    return rows


def _count_use(alias: Alias, size: int) -> None:
    """Count a commit through the alias. Raises AliasUsedUp or TooLarge where others came first."""
    mine = Alias.objects.filter(pk=alias.pk).exclude(max_uses__isnull=False, uses__gte=F("max_uses"))
    within = mine.exclude(max_total_bytes__isnull=False, max_total_bytes__lt=F("written_bytes") + size)
    counted = within.update(
        last_used_at=timezone.now(),
        uses=F("uses") + 1,
        written_bytes=F("written_bytes") + size,
        failed_at=None,
        failure="",
    )
    if not counted:
        raise TooLarge("The alias takes fewer bytes in all.") if mine.exists() else AliasUsedUp


def _is_published(standing: Object, storage_version: str) -> bool:
    return standing.replicas.filter(storage_version=storage_version).exists()


#: Rows that are asked for and written at a time.
_BATCH = 500


def register_all(
    alias: Alias, storage: Storage, arrivals: Sequence[Arrival], *, lost: Set[uuid.UUID] = frozenset()
) -> list[Arrival]:
    """The rows after the bytes of many uploads to a managed bucket: all become current, or none.

    Returns those whose equal stood there already; their uploads stay for the caller to clean up. Versions that are
    ``lost`` are replaced by equal ones. Raises ContentDiffers and LeaseLost.
    """
    ordered = sorted(arrivals, key=lambda arrival: arrival.key)  # Two of these never wait for each other.

    def write() -> list[Arrival]:
        replayed: list[Arrival] = []
        for at in range(0, len(ordered), _BATCH):
            replayed += _register_batch(alias, storage, ordered[at : at + _BATCH], lost)
        used = sum(arrival.size for arrival in ordered) - sum(arrival.size for arrival in replayed)
        Storage.objects.filter(pk=storage.pk).update(
            reserved_bytes=F("reserved_bytes") - used, used_bytes=F("used_bytes") + used
        )
        if len(replayed) < len(ordered):
            _count_use(alias, used)
        BrokenStream.objects.filter(alias=alias, key=alias.key).delete()
        return replayed

    return _settle(alias, write)


def _register_batch(alias: Alias, storage: Storage, arrivals: Sequence[Arrival], lost: Set[uuid.UUID]) -> list[Arrival]:
    bucket, keys = alias.bucket, [arrival.key for arrival in arrivals]
    policy = policies.of_bucket(bucket)
    versions = Object.objects.filter(bucket=bucket, key__in=keys)
    # In this order: a version that comes between the two readings then has a number that is taken.
    last = dict(versions.order_by().values_list("key").annotate(Max("version")))
    standing = {found.key: found for found in versions.filter(current=True)}
    may_replace = alias.on_exists == OnExists.REPLACE
    fresh, replayed = choose(arrivals, standing, may_replace=may_replace, lost=lost)
    reservations.outdate(bucket, [arrival.key for arrival in replayed], timezone.now())
    uploads = Upload.objects.filter(pk__in=[arrival.upload_id for arrival in fresh], fence=reservations.FIRST_FENCE)
    if uploads.delete()[0] != len(fresh):
        raise LeaseLost
    for arrival in fresh:
        if arrival.key in standing and not retiring.retire(standing[arrival.key], keep_s=settings.REPLACED_KEEP_S):
            raise _Overtaken
    made = [
        Object(
            id=arrival.upload_id,
            bucket=bucket,
            key=arrival.key,
            version=last.get(arrival.key, 0) + 1,
            size=arrival.size,
            sha256=arrival.sha256,
            content_type=alias.content_type or "application/octet-stream",
            expires_at=policy.ends_at(timezone.now()),
        )
        for arrival in fresh
    ]
    Object.objects.bulk_create(made)
    BlockSums.objects.bulk_create(_sums_of(zip(made, (arrival.sums for arrival in fresh), strict=True)))
    Replica.objects.bulk_create(
        Replica(
            object_id=arrival.upload_id,
            storage=storage,
            key=arrival.place,
            size=arrival.size,
            storage_version=arrival.storage_version,
            dirty=policy.is_dirty(storage),
            verified_at=timezone.now(),
        )
        for arrival in fresh
    )
    events.record_objects({found.key: "object.replaced" for found in standing.values()}, bucket, made)
    if policy.asks_for_copies:
        for version in made:
            replication.settle(version, is_new=True)
    return replayed
