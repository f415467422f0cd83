"""Tiers: which storage takes new bytes, what a fast storage makes room with, and what a read brings to it.

A fast storage is one of tier 0 or 1 with a capacity. Its fill counts what is used and what is reserved. Above the high
mark cached blocks and clean copies are evicted and dirty bytes flushed until the low one; above the hard one it takes
nothing new.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef, QuerySet

from adapters import registry
from adapters.base import ReadStream
from staging import (
    cache_room,
    chores,
    dirty_bytes,
    health,
    placement,
    policies,
    read_cache,
    reading,
    replicas,
    replication,
    reservations,
    transfers,
)
from staging.errors import NoSpace, StorageClosed
from staging.models import Bucket, Replica, Storage, Upload
from staging.models.replica import IS_HOT, KEPT_OBJECT, LAST_READ
from staging.planning import URGENT, Step
from staging.policies import SLOWEST_FAST_TIER, Policy
from staging.reading import Found
from staging.states import CacheMode, ReplicaState, StorageState, TransferKind

T = TypeVar("T")

log = structlog.get_logger(__name__)

#: Copies that make way at a time, and how many are looked at for that.
_AT_ONCE, _MOST = 200, 5000
_ALL = 100


def landing(bucket: Bucket, size: int | None) -> Storage:
    """Where new bytes of the bucket would land at this moment, as far as a look tells; ``reserve`` decides.

    ``size`` None: it is not known. Raises StorageClosed, and NoSpace where they would land nowhere.
    """
    policy = _policy(bucket)
    if _lands_fast(policy, size):
        fast = _fast(bucket, policy)
        if fast and dirty_bytes.may_grow(bucket, policy, fast, size or 0) and _could_take(fast, size or 0):
            return fast
        if policy.stays_fast:
            raise _full(policy) if fast else _closed(policy)
    home = placement.open_home(bucket)
    reservations.check_space(home, size or 0)
    return home


def reserve(bucket: Bucket, size: int | None, take: Callable[[Storage, int], T]) -> T:
    """Let ``take`` reserve room on the storage that takes new bytes, up to a percentage of its capacity.

    Clean copies make room for them on the fast storage that the policy names. Where it is full or takes nothing, or the
    bucket has too many dirty bytes there, the bucket's own storage takes them, unless they may lie nowhere else. So it
    does where their ``size`` is not known (None): once they have begun to come, nothing else could take them any more.
    Raises StorageClosed and NoSpace.
    """
    policy = _policy(bucket)
    if _lands_fast(policy, size):
        try:
            return _reserve_fast(bucket, policy, size or 0, take)
        except (NoSpace, StorageClosed):
            if policy.stays_fast:
                raise
    return take(placement.open_home(bucket), _ALL)


def grow(upload: Upload, total: int) -> None:
    """Reserve what a body of unknown length has come to. Raises NoSpace and LeaseLost."""

    def take(percent: int) -> None:
        reservations.grow(upload, total, up_to_percent=percent)

    take_more(upload.alias.bucket, upload.storage, total - upload.reserved_bytes, take)


def take_more(bucket: Bucket, storage: Storage, count: int, take: Callable[[int], T]) -> T:
    """Let ``take`` reserve so many bytes more of the bucket on the storage on which its bytes have begun to come.

    On a fast one clean copies make room for them, and the hard mark holds. Raises NoSpace.
    """
    lands = not bucket.mounted and storage.name == policies.of_bucket(bucket).lands_on
    most = settings.HARD_WATER if lands else _ALL
    try:
        return take(most)
    except NoSpace:
        storage.refresh_from_db(fields=["used_bytes", "reserved_bytes"])
        if not lands or not make_room(storage, count):
            raise
        return take(most)


def open_stream(bucket: Bucket, found: Found, start: int, stop: int) -> ReadStream:
    """The bytes as ``reading.open_stream`` gives them; by way of the fast storage where the policy caches there."""
    fast = _note_read(bucket, found) if found.copies and not found.can_change else None
    if fast is not None:
        return read_cache.open_stream(found, fast, start, stop)
    return reading.open_stream(found, start, stop)


def relieve() -> int:
    """Bring every fast storage that is above its high mark below its low one; returns how many transfers that made."""
    fast = Storage.objects.filter(tier__lte=SLOWEST_FAST_TIER, capacity_bytes__gt=0, state=StorageState.ACTIVE)
    made = 0
    for storage in fast:
        with chores.apart("tiers.relieve", storage):
            made += _relieve(storage) if _room(storage, settings.HIGH_WATER) < 0 else 0
    return made


def make_room(storage: Storage, count: int) -> bool:
    """Evict cached blocks, then clean copies, the least read first, until so many bytes more fit below the hard mark.

    Returns whether they do. Where they would not whatever is evicted, nothing is.
    """
    if not _could_take(storage, count):
        return False
    if cache_room.evict(storage, count - _room(storage, settings.HARD_WATER)):
        storage.refresh_from_db(fields=["used_bytes", "reserved_bytes"])
    for replica in _making_way(storage):
        if _has_room(storage, count):
            return True
        if transfer := replicas.let_go(replica, reason="to make room for new data"):
            transfers.run(str(transfer.pk))
            storage.refresh_from_db(fields=["used_bytes", "reserved_bytes"])
    return _has_room(storage, count)


def _policy(bucket: Bucket) -> Policy:
    return Policy() if bucket.mounted else policies.of_bucket(bucket)


def _fast(bucket: Bucket, policy: Policy) -> Storage | None:
    named = Storage.objects.filter(project=bucket.project_id, name=policy.lands_on, state=StorageState.ACTIVE)
    fast = named.select_related("credential").first()
    return None if fast is None or health.refuses(fast) else fast


def _lands_fast(policy: Policy, size: int | None) -> bool:
    return policy.lands_fast and (size is not None or policy.stays_fast)


def _reserve_fast(bucket: Bucket, policy: Policy, size: int, take: Callable[[Storage, int], T]) -> T:
    fast = _fast(bucket, policy)
    if fast is None:
        raise _closed(policy)
    if not dirty_bytes.may_grow(bucket, policy, fast, size):
        dirty_bytes.hurry(bucket)
        raise _full(policy)
    if not _takes(fast, size):
        raise _full(policy)
    with transaction.atomic():
        taken = take(fast, settings.HARD_WATER)
        # It has changed the storage's row, so that from here on those who reserve there take turns.
        if not dirty_bytes.may_grow(bucket, policy, fast, 0):
            raise _full(policy)
    return taken


def _takes(storage: Storage, size: int) -> bool:
    """Whether it has room for new bytes, perhaps once clean copies have made some."""
    return _has_room(storage, size) or make_room(storage, size)


def _could_take(storage: Storage, size: int) -> bool:
    """The same by a look at the cached blocks and clean copies."""
    lack = size - _room(storage, settings.HARD_WATER)
    if lack <= 0:
        return True
    clean = sum(replica.size for replica in _making_way(storage))
    return bool(cache_room.size(storage) + clean >= lack)


def _has_room(storage: Storage, size: int) -> bool:
    return _room(storage, settings.HARD_WATER) >= size


def _room(storage: Storage, mark: int) -> float:
    """How many bytes more fit below a mark, in percent of the capacity; below 0 where it is passed."""
    if storage.capacity_bytes is None:
        return math.inf
    return storage.capacity_bytes * mark // 100 - storage.used_bytes - storage.reserved_bytes


def _closed(policy: Policy) -> StorageClosed:
    return StorageClosed(f"The storage {policy.lands_on} takes no new data at the moment.", retry_after_s=30)


def _full(policy: Policy) -> NoSpace:
    return NoSpace(f"The storage {policy.lands_on} is full, and the policy lets nothing spill from it.")


def _relieve(storage: Storage) -> int:
    excess, made = -_room(storage, settings.LOW_WATER), 0
    excess -= cache_room.evict(storage, excess)
    for replica in _making_way(storage):
        if excess <= 0:
            return made
        with chores.apart("tiers.evict", replica.object_id):
            if replicas.let_go(replica, reason=f"{storage} is above its high mark"):
                excess -= replica.size if replicas.frees(replica) else 0
                made += 1
    kept = _keeping(storage).filter(KEPT_OBJECT).order_by("created_at")
    for replica in _first(kept, lambda policy: not policy.stays_fast):
        if excess <= 0:
            break
        with chores.apart("tiers.flush", replica.object_id):
            if _flush(replica):
                excess -= replica.size
                made += 1
    return made


def _making_way(storage: Storage) -> list[Replica]:
    return _first(_evictable(storage), lambda policy: not policy.pin)


def _first(rows: QuerySet[Replica], may_leave: Callable[[Policy], bool]) -> list[Replica]:
    """The first ones whose policies let them leave; those that stay hide no others, however many they are."""
    found = list[Replica]()
    for start in range(0, _MOST, _AT_ONCE):
        page = list(rows[start : start + _AT_ONCE])
        for replica in page:
            with chores.apart("tiers.judge", replica.object_id):
                found += [replica] if may_leave(policies.of(replica.object)) else []
        if len(page) < _AT_ONCE or len(found) >= _AT_ONCE:
            break
    return found[:_AT_ONCE]


def _flush(replica: Replica) -> bool:
    """Make the only good copy of bytes safe elsewhere, where the policy lets it, and soon; then it can be evicted."""
    target = replica.object
    if policies.of(target).stays_fast:
        return False
    place = placement.home(target.bucket)
    if place.state != StorageState.ACTIVE or target.replicas.filter(storage=place).exists():
        return False
    step = Step(TransferKind.FLUSH, place, f"{replica.storage} fills up", URGENT)
    transfer = replication.ask(target, step)
    transfers.hasten(transfer)
    return transfer.state in replication.LIVE


def _evictable(storage: Storage) -> QuerySet[Replica]:
    others = Replica.objects.filter(storage=OuterRef("storage"), key=OuterRef("key"))
    # To let go of the clean copy of a place that another version needs would free nothing.
    clean = _keeping(storage).filter(dirty=False).exclude(Exists(others.filter(dirty=True)))
    elsewhere = Replica.objects.filter(object=OuterRef("object"), state=ReplicaState.AVAILABLE)
    clean = clean.filter(Exists(elsewhere.exclude(storage=OuterRef("storage"))))
    return clean.order_by(IS_HOT, LAST_READ)


def _keeping(storage: Storage) -> QuerySet[Replica]:
    here = Replica.objects.filter(storage=storage, state=ReplicaState.AVAILABLE)
    return here.select_related("object__bucket__storage", "storage")


def _note_read(bucket: Bucket, found: Found) -> Storage | None:
    """The storage on which the policy caches what is being read, if it does and no whole copy lies there."""
    first = found.copies[0].replica
    first.object.bucket = bucket
    policy = policies.of(first.object)
    if policy.cache == CacheMode.NONE and not policy.lands_on:
        return None
    try:
        replicas.note_read(first)
        is_due = policy.cache == CacheMode.READ or (policy.cache == CacheMode.PROMOTE and first.reads > 0)
        if is_due and all(copy.replica.storage.name != policy.lands_on for copy in found.copies):
            fast = _fast(bucket, policy)
            return fast if fast and registry.is_shared(fast.scheme) else None
    except DatabaseError as exc:  # The reader gets the bytes all the same.
        log.warning("read.not_noted", error=type(exc).__name__)
    return None
