"""Objects one by one: what is known of one, its metadata, and its deletion, in managed and mounted buckets alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from adapters.errors import InvalidKey
from adapters.errors import NotFound as NothingThere
from adapters.keys import check_key
from staging import (
    catalog,
    events,
    explaining,
    placement,
    planning,
    policies,
    replication,
    retiring,
    transfers,
    versions,
)
from staging.connections import release
from staging.errors import InvalidRequest, NotFound
from staging.explaining import Explanation
from staging.models import Bucket, Object, Replica, Storage, Transfer
from staging.models.replica import STANDING
from staging.states import Durability, ObjectState
from staging.storages import adapter_for


@dataclass(frozen=True, slots=True)
class Known:
    """One object as it is now. What Waybill did not write itself has no ``record`` and an empty ``sha256``."""

    bucket: Bucket
    key: str
    size: int
    sha256: str
    state: ObjectState
    content_type: str
    modified: datetime | None
    durability: Durability
    replicas: list[Replica]
    record: Object | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, object] = field(default_factory=dict)


def look(bucket: Bucket, key: str) -> Known:
    """What is known of the object at the key; asks the storage only where the bucket is mounted.

    Raises NotFound, InvalidRequest for a key that can name nothing, and what a mounted bucket's storage raises.
    """
    _check(bucket, key)
    record = catalog.current(bucket, key)
    if bucket.mounted:
        return _look_mounted(bucket, key, record)
    if record is None:
        raise _absent(bucket, key)
    replicas = list(record.replicas.all())
    return Known(
        bucket=bucket,
        key=key,
        size=record.size,
        sha256=record.sha256,
        state=ObjectState(record.state),
        content_type=record.content_type,
        modified=record.created_at,
        durability=placement.durability(replicas),
        replicas=replicas,
        record=record,
        metadata=record.metadata,
        policy=record.policy,
    )


def describe(bucket: Bucket, key: str, changed: Mapping[str, str | None]) -> Known:
    """Set the metadata that is given, take away what is None, keep the rest. Raises NotFound and InvalidRequest."""
    _check(bucket, key)
    if not versions.describe(bucket, key, changed):
        raise NotFound(f"The catalog has no object {key!r} in the bucket {bucket}, so it cannot be described.")
    return look(bucket, key)


def set_policy(bucket: Bucket, key: str, policy: Mapping[str, object]) -> None:
    """Replace what the version has of its own besides the bucket's policy; what that asks for is queued at once.

    Raises NotFound, and InvalidRequest where the storages cannot give it.
    """
    target = _managed(bucket, key)
    policies.check(bucket, {**bucket.policy, **policy}, Storage.objects.filter(project=bucket.project_id))
    versions.set_policy(target, policy)
    replication.settle(target)


def explain(bucket: Bucket, key: str) -> Explanation:
    """Why each copy is where it is, and what comes next. Raises NotFound, and InvalidRequest for a mounted bucket."""
    return explaining.explain(_managed(bucket, key))


def verify(bucket: Bucket, key: str) -> list[Transfer]:
    """Have each copy that is there read back. Raises NotFound, and InvalidRequest for a mounted bucket."""
    copies = _managed(bucket, key).replicas.filter(state__in=STANDING).select_related("object__bucket", "storage")
    return [replication.verify(copy, reason="somebody asked", priority=planning.URGENT) for copy in copies]


def demote(bucket: Bucket, key: str) -> list[Transfer]:
    """Let the object's fast copies go, once its bytes are where they persist; what works on that. Idempotent.

    Raises NotFound, and InvalidRequest where the policy wants them to stay.
    """
    target = _managed(bucket, key)
    policy = policies.of(target)
    if policy.pin:
        raise InvalidRequest("The policy pins a fast copy; change that first.")
    if policy.stays_fast:
        raise InvalidRequest("The policy lets nothing spill; change that first.")
    versions.set_demoting(target, demoting=True)
    replication.settle(target)
    for transfer in (under_way := list(target.transfers.filter(state__in=replication.LIVE).select_related("target"))):
        transfers.hasten(transfer)
    return under_way


def delete(bucket: Bucket, key: str) -> bool:
    """Delete the object: gone for readers when this returns. Returns whether its bytes are gone too.

    A managed object's bytes are removed by transfers. In a mounted bucket the file itself is deleted, whoever put it
    there; when that fails nothing has changed. Raises NotFound, InvalidRequest and what the storage raises.
    """
    _check(bucket, key)
    record = catalog.current(bucket, key)
    if bucket.mounted:
        _delete_file(bucket, key, record)
    elif record is None:
        raise _absent(bucket, key)
    else:
        retiring.delete(record)
    return bucket.mounted


def _delete_file(bucket: Bucket, key: str, record: Object | None) -> None:
    place = f"{bucket.prefix}{key}"
    adapter = adapter_for(bucket.storage)
    release()
    if record is None:
        try:
            adapter.stat(place)
        except NothingThere as exc:
            raise _absent(bucket, key) from exc
    adapter.delete(place)
    if record is not None:
        retiring.delete(record)
        return
    with transaction.atomic():
        events.record(bucket.project_id, "object.deleted", f"{bucket}/{key}")


def _look_mounted(bucket: Bucket, key: str, record: Object | None) -> Known:
    place = Replica(storage=bucket.storage, key=f"{bucket.prefix}{key}")
    release()
    try:
        stat = adapter_for(bucket.storage).stat(place.key)
    except NothingThere as exc:
        raise _absent(bucket, key) from exc
    place.size, place.storage_version = stat.size, stat.version
    replicas = list(record.replicas.all()) if record else []
    ours = record if record and placement.still_holds(replicas, stat, record.size) else None
    return Known(
        bucket=bucket,
        key=key,
        size=stat.size,
        sha256=ours.sha256 if ours else "",
        state=ObjectState.AVAILABLE,
        content_type=ours.content_type if ours else "application/octet-stream",
        modified=stat.modified,
        durability=placement.durability([place]),
        replicas=replicas if ours else [place],
        record=ours,
        metadata=ours.metadata if ours else {},
    )


def _managed(bucket: Bucket, key: str) -> Object:
    _check(bucket, key)
    if bucket.mounted:
        raise InvalidRequest("A mounted bucket mirrors one folder, in place: Waybill moves nothing there.")
    target = catalog.current(bucket, key)
    if target is None:
        raise _absent(bucket, key)
    return target


def _check(bucket: Bucket, key: str) -> None:
    try:
        check_key(key)
        check_key(f"{bucket.prefix}{key}")
    except InvalidKey as exc:
        raise InvalidRequest("The key is not valid.", fields={"key": exc.detail}) from exc
    if placement.is_reserved(bucket, key):
        raise NotFound(f"'{placement.MANAGED_FOLDER}' belongs to managed buckets; look for their objects there.")


def _absent(bucket: Bucket, key: str) -> NotFound:
    return NotFound(f"There is no object {key!r} in the bucket {bucket}.")
