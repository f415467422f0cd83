"""Dirty bytes: how many of a bucket may wait on a fast storage until they are safe, and that they do not wait long."""

from django.db.models import Sum

from staging import placement, transfers
from staging.models import Bucket, Replica, Storage, Transfer, Upload
from staging.planning import URGENT
from staging.policies import Policy
from staging.states import ReplicaState, TransferKind, TransferState, WritePolicy

#: How many flushes one writer hurries.
_AT_ONCE = 20


def may_grow(bucket: Bucket, policy: Policy, fast: Storage, size: int) -> bool:
    """Whether the bucket's budget lets ``size`` bytes more wait there; what is on its way there counts already.

    The answer holds as long as nobody else reserves on the storage: to a transaction that has done so itself, until its
    end.
    """
    if policy.write != WritePolicy.BACK or not policy.dirty_budget_bytes:
        return True
    dirty = Replica.objects.filter(storage=fast, object__bucket=bucket, state=ReplicaState.AVAILABLE, dirty=True)
    coming = Upload.objects.filter(storage=fast, alias__bucket=bucket)
    coming = coming.exclude(key__startswith=placement.parked_key(bucket, ""))
    there = dirty.aggregate(bytes=Sum("size", default=0)), coming.aggregate(bytes=Sum("reserved_bytes", default=0))
    return bool(sum(part["bytes"] for part in there) + size <= policy.dirty_budget_bytes)


def hurry(bucket: Bucket) -> None:
    """Have the bucket's flushes done before all that nobody waits for, the oldest first."""
    flushes = Transfer.objects.filter(object__bucket=bucket, kind=TransferKind.FLUSH, state=TransferState.QUEUED)
    for transfer in flushes.filter(priority__gt=URGENT).order_by("created_at")[:_AT_ONCE]:
        transfers.hasten(transfer)
