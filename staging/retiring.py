"""Retiring: a version stops being the current one of its key, and its bytes go unless somebody still holds them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Case, F, Q, Sum, Value, When
from django.utils import timezone

from staging import aliases, cached_blocks, events, replicas
from staging.errors import InUse
from staging.models import Alias, Bucket, CopyJob, Object, Replica, Storage, Upload
from staging.purging import purge
from staging.states import AliasState, CopyState, ObjectState, ReplicaState

#: A copy that is on its way goes when it has come; one that is being removed goes already.
_PASSING = (ReplicaState.COPYING, ReplicaState.DELETING)
#: A version that is not current any more goes, unless a checkpoint holds it.
_RETIRED = Case(When(pinned=True, then=F("state")), default=Value(ObjectState.DELETING))


def delete(target: Object) -> None:
    """Delete the current version of a key. It is gone for readers at once; a transfer removes each replica's bytes."""
    with transaction.atomic():
        if retire(target, keep_s=0):
            events.record(
                target.bucket.project_id, "object.deleted", f"{target.bucket}/{target.key}", object=str(target.id)
            )


def delete_all(bucket: Bucket, targets: Sequence[Object]) -> None:
    """Delete current versions of a managed bucket whose rows are locked, as ``retire`` does; in a transaction."""
    now = timezone.now()
    gone = Object.objects.filter(pk__in=[target.pk for target in targets])
    gone.update(current=False, state=_RETIRED, retired_at=now)
    cached_blocks.let_go_of(targets)
    left = (
        Replica.objects.filter(object__in=gone, object__pinned=False)
        .exclude(state__in=_PASSING)
        .select_related("storage", "object")
    )
    for replica in left:
        replica.object.bucket = bucket
        replicas.schedule_removal(replica, replica.object, now)
    events.record_deleted(bucket, targets)


def retire(target: Object, *, keep_s: int) -> bool:
    """End a version's time as the current one; its bytes go after ``keep_s``. False if it was not current any more.

    Those of a pinned version stay until the last checkpoint that holds it lets go. Those of a mounted one are not
    Waybill's to remove later: they were replaced in place.
    """
    now, row = timezone.now(), Object.objects.filter(pk=target.pk)
    # One that was renamed since it was looked at is not what is meant.
    if not row.filter(current=True, key=target.key).update(current=False, state=_RETIRED, retired_at=now):
        return False
    cached_blocks.let_go_of([target])
    if not row.filter(pinned=True).exists():
        _remove_bytes(target, now + timedelta(seconds=keep_s))
    return True


def _remove_bytes(target: Object, not_before: datetime) -> None:
    for replica in target.replicas.select_related("storage").exclude(state__in=_PASSING):
        if target.bucket.mounted:
            replicas.forget(replica)
        else:
            replicas.schedule_removal(replica, target, not_before)


def unpin(target: Object) -> None:
    """Let go of a version that no checkpoint holds any more: its bytes go, unless it is current. In a transaction."""
    row = Object.objects.filter(pk=target.pk, pinned=True)
    if row.filter(current=False).update(pinned=False, state=ObjectState.DELETING, retired_at=timezone.now()):
        _remove_bytes(target, timezone.now())
    else:
        row.update(pinned=False)


def drop_bucket(bucket: Bucket) -> None:
    """Remove a bucket's row, and of a mounted one what was noted about its files, which stay as they are.

    Raises InUse naming what is in the way: objects of a managed bucket, uploads that run, live aliases.
    """
    contents = Object.objects.filter(bucket=bucket)
    if not bucket.mounted and contents.filter(Q(current=True) | Q(replicas__isnull=False)).exists():
        raise InUse(f"The bucket {bucket} holds objects, or bytes that are still to be removed.")
    jobs = CopyJob.objects.filter(Q(source_bucket=bucket) | Q(target_bucket=bucket), state=CopyState.RUNNING)
    if jobs.exists():
        raise InUse(f"A copy from or to the bucket {bucket} is running.")
    if Upload.objects.filter(alias__bucket=bucket).exists():
        raise InUse(f"An upload into the bucket {bucket} is running.")
    if Alias.objects.filter(aliases.in_state(AliasState.LIVE), bucket=bucket).exists():
        raise InUse(f"Live aliases name objects of the bucket {bucket}; revoke them first.")
    here = Replica.objects.filter(object__bucket=bucket, storage=bucket.storage_id)
    noted = here.aggregate(bytes=Sum("size"))["bytes"] or 0
    here.delete()
    Storage.objects.filter(pk=bucket.storage_id).update(used_bytes=F("used_bytes") - noted)
    bucket.delete()


def purge_tombstones(before: datetime) -> int:
    """Remove rows of versions that were retired before ``before`` and have no replica left; returns how many."""
    return purge(Object.objects.filter(current=False, pinned=False, retired_at__lt=before, replicas__isnull=True))
