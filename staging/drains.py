"""Drains: a storage is emptied of the managed objects' bytes, which stay readable all the while."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from adapters import registry
from staging import cached_blocks, chores, events, placement, policies, replicas, replication
from staging.drain_measure import Amount, Measure, measure
from staging.errors import InvalidRequest
from staging.models import Bucket, Replica, Storage, Transfer, Upload
from staging.models.replica import KEPT_OBJECT
from staging.planning import MISSING, UNSAFE, Step
from staging.states import Durability, ReplicaState, StorageState, TransferKind, TransferState

#: Copies that one pass looks at.
_AT_ONCE = 500
#: So many buckets are named that are in the way.
_NAMED = 5
#: The rates of so many transfers are added up.
_RUNNING = 100
LEAVING = (StorageState.DRAINING, StorageState.DRAINED)


@dataclass(frozen=True, slots=True)
class Progress:
    """What is still on a storage: managed copies and their bytes, uploads that run, mounted buckets, which stay.

    ``is_late``: the deadline has passed, and not all was gone by then. ``measure`` is None where nothing is drained.
    """

    replicas: int
    bytes: int
    uploads: int
    mounted: list[str]
    deadline: datetime | None = None
    is_late: bool = False
    measure: Measure | None = None


def start(storage: Storage, to: Storage, *, deadline_s: int | None = None) -> None:
    """Take no new bytes there, and move what lies there ``to`` another storage. Raises InvalidRequest.

    It goes on behind the deadline; an event tells that there was something left.
    """
    now = timezone.now()
    deadline = now + timedelta(seconds=deadline_s) if deadline_s is not None else None
    with transaction.atomic():
        # Those who begin drains take turns, so that no two storages are drained to each other.
        rows = Storage.objects.select_for_update(no_key=True).filter(pk__in=[storage.pk, to.pk]).order_by("pk")
        to = next((row for row in rows if row.pk == to.pk), to)
        if wrong := unfit(storage, to) or hindrance(storage, to):
            raise InvalidRequest(f"The storage {storage} cannot be drained to {to}.", fields={"to": wrong})
        begun = Storage.objects.filter(pk=storage.pk, state__in=[StorageState.ACTIVE, StorageState.CORDONED])
        if not begun.update(state=StorageState.DRAINING, drain_to=to, drain_deadline=deadline, drain_is_late=False):
            raise InvalidRequest(f"The storage {storage} is {storage.state} and cannot be drained.")
        there, _ = _amounts(storage, now)
        Storage.objects.filter(pk=storage.pk).update(
            drain_began_at=now, drain_replicas=there.replicas, drain_bytes=there.bytes
        )
        events.record(storage.project_id, "storage.draining", storage.name, to=to.name)
    storage.state, storage.drain_to, storage.drain_deadline = StorageState.DRAINING, to, deadline
    storage.drain_began_at, storage.drain_replicas, storage.drain_bytes = now, there.replicas, there.bytes
    advance(storage)


def cancel(storage: Storage) -> None:
    """Stop moving bytes away, and take new ones again. What was moved stays where it is. Raises InvalidRequest."""
    with transaction.atomic():
        leaving = Storage.objects.filter(pk=storage.pk, state__in=LEAVING)
        if not leaving.update(state=StorageState.ACTIVE, drain_to=None, drain_deadline=None, drain_is_late=False):
            raise InvalidRequest(f"The storage {storage} is {storage.state}; there is no drain to cancel.")
        events.record(storage.project_id, "storage.active", storage.name)
    storage.state, storage.drain_to, storage.drain_deadline = StorageState.ACTIVE, None, None


def progress(storage: Storage) -> Progress:
    """What is left."""
    left, old = _amounts(storage, storage.drain_began_at)
    mounted = storage.buckets.filter(mounted=True).exclude(name__startswith="~").values_list("name", flat=True)
    uploads = Upload.objects.filter(storage=storage).count()
    is_late = storage.drain_deadline is not None and left.replicas > 0 and storage.drain_deadline < timezone.now()
    done = _measure(storage, old, left)
    return Progress(left.replicas, left.bytes, uploads, list(mounted), storage.drain_deadline, is_late, done)


def _amounts(storage: Storage, before: datetime | None) -> tuple[Amount, Amount]:
    """What is left, and how much of it was made ``before``."""
    alone, old = Q(shares=False), Q(created_at__lte=before or timezone.now())
    found = rows_left(storage).aggregate(
        count=Count("pk"),
        bytes=Sum("size", filter=alone, default=0),
        old_count=Count("pk", filter=old),
        old_bytes=Sum("size", filter=alone & old, default=0),
    )
    return Amount(found["count"], found["bytes"]), Amount(found["old_count"], found["old_bytes"])


def _measure(storage: Storage, old: Amount, left: Amount) -> Measure | None:
    if storage.state not in LEAVING or storage.drain_began_at is None:
        return None
    start, is_over = Amount(storage.drain_replicas, storage.drain_bytes), storage.state == StorageState.DRAINED
    running = [] if is_over else bringing(storage).filter(state=TransferState.RUNNING)[:_RUNNING]
    rate = sum(transfer.bytes_per_s or 0 for transfer in running)
    return measure(storage.drain_began_at, start, old, left, now=timezone.now(), rate=rate, is_over=is_over)


def bringing(storage: Storage) -> QuerySet[Transfer]:
    """The transfers that bring elsewhere what lies there, or were to."""
    here = Replica.objects.filter(object=OuterRef("object"), storage=storage)
    found = Transfer.objects.filter(Exists(here), kind__in=replication.COPYING)
    return found.exclude(target=storage).order_by()


def rows_left(storage: Storage) -> QuerySet[Replica]:
    """The copies that are still there, of old versions too."""
    return storage.replicas.filter(object__bucket__mounted=False)


def left(storage: Storage, limit: int = 1000) -> Iterator[str]:
    """The objects whose copies are still there, by name."""
    rows = rows_left(storage).select_related("object__bucket")
    for replica in rows.order_by("object__bucket__name", "object__key")[:limit]:
        yield f"{replica.object.bucket}/{replica.object.key}"


def sweep() -> None:
    """Advance every drain."""
    for storage in Storage.objects.filter(state=StorageState.DRAINING).select_related("drain_to"):
        with chores.apart("drains.advance", storage):
            advance(storage)


def advance(storage: Storage) -> None:
    """Queue the copies that are to be made, dirty bytes first, and let go of those that can be spared."""
    cached_blocks.leave(storage)
    here = rows_left(storage).filter(KEPT_OBJECT)
    others = Replica.objects.filter(object=OuterRef("object"), state=ReplicaState.AVAILABLE).exclude(storage=storage)
    here = here.select_related("object__bucket__storage__drain_to", "storage")
    here = here.annotate(is_sole=~Exists(others)).order_by("-dirty", "-is_sole", "pk")
    for replica in here.filter(state=ReplicaState.BAD, is_sole=False)[:_AT_ONCE]:
        with chores.apart("drains.repair", replica.object_id):
            replication.settle(replica.object)
    # However many fail or wait, the others get their turn.
    on_their_way = here.filter(is_sole=True).filter(Exists(_tries(storage)))
    next_ones = here.filter(state=ReplicaState.AVAILABLE).exclude(pk__in=on_their_way.values("pk"))
    for replica in next_ones[:_AT_ONCE]:
        with chores.apart("drains.move", replica.object_id):
            if replicas.let_go(replica, reason=f"{storage} is being drained") is None:
                _move(replica, storage)
    if _holds_something(storage):
        _tell_late(storage)
    else:
        _end(storage)


def _holds_something(storage: Storage) -> bool:
    return rows_left(storage).exists() or storage.uploads.exists() or storage.cached_blocks.exists()


def _end(storage: Storage) -> None:
    with transaction.atomic():
        if not Storage.objects.filter(pk=storage.pk, state=StorageState.DRAINING).update(state=StorageState.DRAINED):
            return
        # From here on nobody reserves there. Who had chosen it before may have done so until this moment.
        if _holds_something(storage):
            transaction.set_rollback(True)
            return
        storage.buckets.filter(mounted=False).update(storage=placement.moved(storage))
        events.record(storage.project_id, "storage.drained", storage.name)


def _tries(storage: Storage) -> QuerySet[Transfer]:
    """What brings a row's object anywhere else, or has failed to bring it where the drain leads and rests."""
    mine = Transfer.objects.filter(object=OuterRef("object"), kind__in=replication.COPYING).exclude(target=storage)
    rests = replication.resting() & Q(target=placement.moved(storage))
    return mine.filter(Q(state__in=replication.LIVE) | rests)


def _tell_late(storage: Storage) -> None:
    with transaction.atomic():
        late = Storage.objects.filter(pk=storage.pk, state=StorageState.DRAINING, drain_is_late=False)
        if late.filter(drain_deadline__lt=timezone.now()).update(drain_is_late=True):
            left = progress(storage)
            facts = {"replicas": left.replicas, "bytes": left.bytes, "uploads": left.uploads}
            events.record(storage.project_id, "storage.drain_late", storage.name, **facts)


def _move(replica: Replica, storage: Storage) -> None:
    target = replica.object
    policy = policies.of(target)
    made, to = replication.settle(target), placement.moved(storage)
    copies, named = list(target.replicas.select_related("storage")), policies.storages_of(target.bucket, policy)
    counts = placement.satisfies(policy, target.bucket, copies, named)
    if target.pinned:
        rest = [copy for copy in copies if copy.storage_id != storage.pk]
        counts = counts and placement.durability(rest) == Durability.PERSISTED
    elsewhere = target.replicas.filter(storage=to).exists()
    if made or counts or elsewhere or to == storage:
        return
    # Ephemeral bytes, which the policy wants nowhere else, though perhaps a checkpoint does.
    reason, priority = f"{storage} is being drained", UNSAFE if replica.dirty else MISSING
    if not target.transfers.filter(state__in=replication.LIVE).exists():
        replication.pursue(target, Step(TransferKind.REPLICATE, to, reason, priority))


def unfit(storage: Storage, to: Storage) -> str:
    """Why the one cannot be drained to the other; empty where it can."""
    if to.pk == storage.pk:
        return "this is the storage itself"
    if to.project_id != storage.project_id:
        return "it belongs to another project"
    if registry.is_read_only(to.scheme):
        return "it is read-only"
    if to.state != StorageState.ACTIVE:
        return f"it is {to.state}"
    return ""


def hindrance(storage: Storage, to: Storage) -> str:
    """Why such a drain would never end: copies that would be too little if all of the one lay on the other.

    Empty where it would. What objects have of their own policies is not looked at.
    """
    held = rows_left(storage).filter(object__pinned=True)
    if not placement.persists(to) and placement.persists(storage) and held.exists():
        return f"checkpoints hold versions on {storage}, and nothing persists there"
    unmet = []
    managed = Bucket.objects.filter(project=storage.project_id, mounted=False).select_related("storage__drain_to")
    for bucket in managed.order_by("name"):
        policy = policies.of_bucket(bucket)
        now = placement.places(policy, bucket, policies.storages_of(bucket, policy))
        then = {policy.stand(to if place.pk == storage.pk else place) for place in now}
        if storage in now and len(then) < policy.copies_needed:
            unmet.append(f"{bucket} ({len(then)} of {policy.copies_needed})")
    if not unmet:
        return ""
    named = ", ".join(unmet[:_NAMED])
    return f"it is no further place for the copies that policies ask for; change them first, of {named}"
