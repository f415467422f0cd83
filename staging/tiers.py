"""Tiers: which storage takes new bytes, what a fast storage makes room with, and what a read brings to it.

A fast storage is one of tier 0 or 1 with a capacity. Its fill counts what is used and what is reserved. Above the high
mark dirty bytes are flushed and clean copies evicted until the low one; above the hard one it takes nothing new.
"""

from collections.abc import Callable
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce

from adapters.base import ReadStream
from staging import health, placement, policies, reading, replicas, replication, transfers
from staging.errors import NoSpace, StorageClosed
from staging.models import Bucket, Object, Replica, Storage
from staging.policies import SLOWEST_FAST_TIER, Policy
from staging.reading import Found
from staging.replication import FASTER, URGENT, Step
from staging.states import CacheMode, ReplicaState, StorageState, TransferKind, WritePolicy

T = TypeVar("T")

log = structlog.get_logger(__name__)

#: Copies that are considered at a time.
_AT_ONCE = 200
#: What was read so often is hot: a pass over many objects, each read once, evicts only what was read once.
_HOT_READS = 2


def landing(bucket: Bucket, size: int | None) -> Storage:
    """The storage that takes new bytes of the bucket. Clean copies make room for them; bytes of unknown ``size`` (None)
    come only where there is much room.

    Where the fast storage that the policy names is full or takes nothing, bytes that would be flushed go to the
    bucket's own storage, as do ephemeral ones that may spill. Raises StorageClosed and NoSpace.
    """
    policy = Policy() if bucket.mounted else policies.of_bucket(bucket)
    if policy.lands_fast:
        fast = _fast(bucket, policy)
        if fast and (_takes(fast, size) if size is not None else _is_relaxed(fast)):
            return fast
        if policy.write == WritePolicy.EPHEMERAL and not policy.spill:
            if fast is None:
                raise StorageClosed(f"The storage {policy.lands_on} takes no new data at the moment.", retry_after_s=30)
            raise NoSpace(f"The storage {policy.lands_on} is full, and the policy lets nothing spill from it.")
    return placement.open_home(bucket)


def reserve(bucket: Bucket, size: int | None, take: Callable[[Storage, int], T]) -> T:
    """Let ``take`` reserve room on the storage that takes new bytes, up to a percentage of its capacity.

    Where others were faster on a fast storage, the bucket's own takes them. Raises what ``landing`` and ``take`` do.
    """
    storage = landing(bucket, size)
    if bucket.mounted or storage.pk == placement.home(bucket).pk:
        return take(storage, 100)
    try:
        return take(storage, settings.HARD_WATER)
    except NoSpace:
        policy = policies.of_bucket(bucket)
        if policy.write == WritePolicy.EPHEMERAL and not policy.spill:
            raise
        return take(placement.open_home(bucket), 100)


def open_stream(bucket: Bucket, found: Found, start: int, stop: int) -> ReadStream:
    """The bytes as ``reading.open_stream`` gives them; noted, so that what is read often lies on a fast storage."""
    if found.copies and not found.can_change:
        _note_read(bucket, found)
    return reading.open_stream(found, start, stop)


def relieve() -> int:
    """Bring every fast storage that is above its high mark below its low one; returns how many transfers that made."""
    fast = Storage.objects.filter(tier__lte=SLOWEST_FAST_TIER, capacity_bytes__gt=0, state=StorageState.ACTIVE)
    full = fast.filter(Q(used_bytes__gt=F("capacity_bytes") * settings.HIGH_WATER / 100 - F("reserved_bytes")))
    return sum(_relieve(storage) for storage in full)


def make_room(storage: Storage, count: int) -> bool:
    """Evict clean copies, the least read first, until so many bytes more fit below the hard mark; whether they do."""
    for replica in _evictable(storage)[:_AT_ONCE]:
        if _fits(storage, count):
            return True
        if transfer := replicas.let_go(replica, reason="to make room for new data"):
            transfers.run(str(transfer.pk))
            storage.refresh_from_db(fields=["used_bytes", "reserved_bytes"])
    return _fits(storage, count)


def _fast(bucket: Bucket, policy: Policy) -> Storage | None:
    named = Storage.objects.filter(project=bucket.project_id, name=policy.lands_on, state=StorageState.ACTIVE)
    fast = named.select_related("credential").first()
    return None if fast is None or health.refuses(fast) else fast


def _takes(storage: Storage, count: int) -> bool:
    return _fits(storage, count) or make_room(storage, count)


def _fits(storage: Storage, count: int) -> bool:
    if storage.capacity_bytes is None:
        return True
    return storage.used_bytes + storage.reserved_bytes + count <= storage.capacity_bytes * settings.HARD_WATER // 100


def _is_relaxed(storage: Storage) -> bool:
    filled = storage.used_bytes + storage.reserved_bytes
    return storage.capacity_bytes is None or filled <= storage.capacity_bytes * settings.HIGH_WATER // 100


def _relieve(storage: Storage) -> int:
    assert storage.capacity_bytes is not None
    goal = storage.capacity_bytes * settings.LOW_WATER // 100
    excess, made = storage.used_bytes + storage.reserved_bytes - goal, 0
    for replica in _evictable(storage)[:_AT_ONCE]:
        if excess <= 0:
            return made
        if replicas.let_go(replica, reason=f"{storage} is above its high mark"):
            excess -= replica.size
            made += 1
    for replica in _keeping(storage).filter(object__current=True).order_by("created_at")[:_AT_ONCE]:
        if excess <= 0:
            break
        made += _flush(replica)
        excess -= replica.size
    return made


def _flush(replica: Replica) -> bool:
    """Make the only good copy of bytes safe elsewhere, where the policy lets it, and soon; then it can be evicted."""
    target = replica.object
    policy = policies.of(target)
    if policy.write == WritePolicy.EPHEMERAL and not policy.spill:
        return False
    place = placement.home(target.bucket)
    if place.state != StorageState.ACTIVE or target.replicas.filter(storage=place).exists():
        return False
    step = Step(TransferKind.FLUSH, place, f"{replica.storage} fills up", URGENT)
    transfers.hasten(replication.ask(target, step))
    return True


def _evictable(storage: Storage) -> QuerySet[Replica]:
    hot = Case(When(reads__gte=_HOT_READS, then=Value(1)), default=Value(0), output_field=IntegerField())
    clean = _keeping(storage).filter(dirty=False)
    return clean.order_by(hot, Coalesce("read_at", "created_at"))


def _keeping(storage: Storage) -> QuerySet[Replica]:
    here = Replica.objects.filter(storage=storage, state=ReplicaState.AVAILABLE)
    return here.select_related("object__bucket__storage", "storage")


def _note_read(bucket: Bucket, found: Found) -> None:
    policy = policies.of_bucket(bucket)
    if policy.cache == CacheMode.NONE and not policy.lands_on:
        return
    first = found.copies[0].replica
    try:
        replicas.note_read(first)
        is_due = policy.cache == CacheMode.READ or (policy.cache == CacheMode.PROMOTE and first.reads > 0)
        if is_due and all(copy.replica.storage.name != policy.lands_on for copy in found.copies):
            _promote(bucket, policy, first.object)
    except DatabaseError as exc:  # The reader gets the bytes all the same.
        log.warning("read.not_noted", error=type(exc).__name__)


def _promote(bucket: Bucket, policy: Policy, target: Object) -> None:
    fast = _fast(bucket, policy)
    within = not policy.max_replicas or target.replicas.count() < policy.max_replicas
    if fast and within and _takes(fast, target.size):
        target.bucket = bucket
        replication.ask(target, Step(TransferKind.PROMOTE, fast, "it is being read", FASTER))
