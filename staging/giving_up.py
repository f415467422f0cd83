"""Giving up: a storage is gone for good, and its copies with it; what has others is made anew, the rest is lost.

The storage is LOST from one moment on and returns to nothing (``Storage.is_given_up``), whatever is heard of it later.
Its rows go behind that, some at a time: whoever does it may be killed, and the next sweep goes on. No byte there is
asked for, nor removed.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from staging import cached_blocks, chores, drains, events, replicas, replication, reservations, tally
from staging.errors import InvalidRequest, NoSpace
from staging.models import Replica, Storage, Transfer
from staging.models.replica import KEPT_OBJECT, STANDING
from staging.states import ReplicaState, StorageState, TransferState

#: Rows that are given up together, and how many times one pass does so.
_AT_ONCE, _BATCHES = 500, 10
#: So many of the objects that are lost are named in the event.
_NAMED = 1000


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a storage still has, and what of it would be lost: objects that can be read nowhere else."""

    replicas: int
    bytes: int
    uploads: int
    mounted: list[str]
    lost_objects: int
    lost_bytes: int


def outlook(storage: Storage) -> Outlook:
    """As it is now; changes nothing."""
    left, gone = drains.progress(storage), rows_lost(storage)
    lost_bytes = gone.aggregate(bytes=Sum("size", default=0))["bytes"]
    return Outlook(left.replicas, left.bytes, left.uploads, left.mounted, gone.count(), lost_bytes)


def rows_lost(storage: Storage) -> QuerySet[Replica]:
    """The copies whose objects can be read nowhere else; those too that cannot be read here now, but perhaps later."""
    others = Replica.objects.filter(object=OuterRef("object"), state=ReplicaState.AVAILABLE)
    others = others.exclude(storage=storage).exclude(storage__state=StorageState.LOST)
    here = drains.rows_left(storage).filter(KEPT_OBJECT)
    return here.filter(state__in=STANDING).exclude(Exists(others))


def lost(storage: Storage, limit: int = _NAMED) -> Iterator[str]:
    """The first of the objects that would be lost, by name."""
    rows = rows_lost(storage).select_related("object__bucket")
    for replica in rows.order_by("object__bucket__name", "object__key")[:limit]:
        yield f"{replica.object.bucket}/{replica.object.key}"


def all_lost(storage: Storage) -> Iterator[str]:
    """The names of all that would be lost, as they were stored; few of them are in memory at a time."""
    rows, last = rows_lost(storage).order_by("pk").values_list("pk", "object__bucket__name", "object__key"), 0
    # Page by page: where the database's cursors may not be used, it sends all rows of a query at once.
    while page := list(rows.filter(pk__gt=last)[:_AT_ONCE]):
        yield from (f"{bucket}/{key}" for _, bucket, key in page)
        last = page[-1][0]


def start(storage: Storage, *, to: Storage | None = None, lose: int = 0) -> None:
    """Give the storage up for good; its managed buckets, and policies that name it, have ``to`` instead. Idempotent.

    Raises InvalidRequest where more than ``lose`` objects would be lost, or buckets lie there and ``to`` takes nothing.
    """
    if not storage.is_given_up:
        _start(storage, to, lose)
    advance(storage)


def _start(storage: Storage, to: Storage | None, lose: int) -> None:
    if to is not None and (wrong := drains.unfit(storage, to)):
        raise InvalidRequest(f"The storage {to} cannot stand for {storage}.", fields={"to": wrong})
    managed = storage.buckets.filter(mounted=False)
    if to is None and managed.exists():
        taken = ", ".join(managed.values_list("name", flat=True)[:5])
        raise InvalidRequest(
            f"Buckets lie on the storage {storage}.", fields={"to": f"another storage has to take them: {taken}"}
        )
    with transaction.atomic():
        Storage.objects.select_for_update(no_key=True).get(pk=storage.pk)
        found, names = outlook(storage), list(lost(storage))
        if found.lost_objects > lose:
            problem = f"{found.lost_objects} objects can be read nowhere else and would be lost for good"
            raise InvalidRequest(f"The storage {storage} is not given up.", fields={"lose": problem})
        managed.update(storage=to)
        Storage.objects.filter(drain_to=storage, state=StorageState.DRAINING).update(drain_to=to)
        Storage.objects.filter(pk=storage.pk).update(
            state=StorageState.LOST, returns_to="", drain_to=to, drain_deadline=None, drain_is_late=False
        )
        counts = {"replicas": found.replicas, "lost_objects": found.lost_objects}
        instead = to.name if to else None
        events.record(storage.project_id, "storage.given_up", storage.name, to=instead, **counts, lost=names)
    with suppress(NoSpace):
        tally.correct(storage)  # Counts that are off would keep rows from going.
    storage.refresh_from_db()


def sweep() -> None:
    """Go on with every storage that is given up and has rows left."""
    for storage in Storage.objects.filter(state=StorageState.LOST, returns_to=""):
        with chores.apart("giving_up.advance", storage):
            advance(storage, batches=_BATCHES)


def advance(storage: Storage, *, batches: int = 1) -> None:
    """Give up the next of what the catalog has there, and queue the copies that objects lack then."""
    _stop_transfers(storage)
    for upload in storage.uploads.all()[:_AT_ONCE]:
        reservations.drop(upload)
    cached_blocks.leave(storage)
    for block in storage.cached_blocks.all()[:_AT_ONCE]:
        cached_blocks.forget(block)
    rows = drains.rows_left(storage).select_related("object__bucket__storage__drain_to", "storage").order_by("pk")
    last = 0
    for _ in range(batches):
        page = list(rows.filter(pk__gt=last)[:_AT_ONCE])
        for replica in page:
            last = replica.pk
            with chores.apart("giving_up.lose", replica.object_id):
                replicas.lose(replica)
                replication.settle(replica.object)
        if len(page) < _AT_ONCE:
            return


def _stop_transfers(storage: Storage) -> None:
    """Nobody copies to it or reads it any more. A worker that is at it has lost its claim, and changes nothing."""
    copies = Q(target=storage, kind__in=replication.COPYING)
    here = Transfer.objects.filter(copies | Q(source__storage=storage), state__in=replication.LIVE)
    here.update(
        state=TransferState.CANCELLED,
        fence=F("fence") + 1,
        lease_expires_at=None,
        finished_at=timezone.now(),
        cancelled_at=timezone.now(),
    )
