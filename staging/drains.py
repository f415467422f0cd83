"""Drains: a storage is emptied of the managed objects' bytes, which stay readable all the while."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Q, Sum

from adapters import registry
from staging import events, placement, policies, replicas, replication
from staging.errors import InvalidRequest
from staging.models import Replica, Storage, Upload
from staging.replication import MISSING, UNSAFE, Step
from staging.states import ReplicaState, StorageState, TransferKind

#: Copies that one pass looks at.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """What is still on a storage: managed copies and their bytes, uploads that run, mounted buckets, which stay."""

    replicas: int
    bytes: int
    uploads: int
    mounted: list[str]


def start(storage: Storage, to: Storage) -> None:
    """Take no new bytes there, and move what lies there ``to`` another storage. Raises InvalidRequest."""
    wrong = _unfit(storage, to)
    if wrong:
        raise InvalidRequest(f"The storage {storage} cannot be drained to {to}.", fields={"to": wrong})
    with transaction.atomic():
        begun = Storage.objects.filter(pk=storage.pk, state__in=[StorageState.ACTIVE, StorageState.CORDONED])
        if not begun.update(state=StorageState.DRAINING, drain_to=to):
            raise InvalidRequest(f"The storage {storage} is {storage.state} and cannot be drained.")
        events.record(storage.project_id, "storage.draining", storage.name, to=to.name)
    storage.state, storage.drain_to = StorageState.DRAINING, to
    advance(storage)


def cancel(storage: Storage) -> None:
    """Stop moving bytes away, and take new ones again. What was moved stays where it is. Raises InvalidRequest."""
    with transaction.atomic():
        leaving = Storage.objects.filter(pk=storage.pk, state__in=[StorageState.DRAINING, StorageState.DRAINED])
        if not leaving.update(state=StorageState.ACTIVE, drain_to=None):
            raise InvalidRequest(f"The storage {storage} is {storage.state}; there is no drain to cancel.")
        events.record(storage.project_id, "storage.active", storage.name)
    storage.state, storage.drain_to = StorageState.ACTIVE, None


def progress(storage: Storage) -> Progress:
    """What is left."""
    left = storage.replicas.filter(object__bucket__mounted=False).aggregate(count=Count("pk"), bytes=Sum("size"))
    mounted = storage.buckets.filter(mounted=True).exclude(name__startswith="~").values_list("name", flat=True)
    uploads = Upload.objects.filter(storage=storage).count()
    return Progress(left["count"], left["bytes"] or 0, uploads, list(mounted))


def left(storage: Storage, limit: int = 1000) -> Iterator[str]:
    """The objects whose copies are still there, by name."""
    rows = storage.replicas.filter(object__bucket__mounted=False).select_related("object__bucket")
    for replica in rows.order_by("object__bucket__name", "object__key")[:limit]:
        yield f"{replica.object.bucket}/{replica.object.key}"


def sweep() -> None:
    """Advance every drain."""
    for storage in Storage.objects.filter(state=StorageState.DRAINING).select_related("drain_to"):
        advance(storage)


def advance(storage: Storage) -> None:
    """Queue the copies that are to be made, dirty bytes first, and let go of those that can be spared."""
    kept = Q(object__current=True) | Q(object__pinned=True)
    here = storage.replicas.filter(kept, object__bucket__mounted=False, state=ReplicaState.AVAILABLE)
    rows = here.select_related("object__bucket__storage__drain_to", "storage").order_by("-dirty", "pk")
    for replica in rows[:_AT_ONCE]:
        if replicas.let_go(replica, reason=f"{storage} is being drained") is None:
            _move(replica, storage)
    if not storage.replicas.filter(object__bucket__mounted=False).exists() and not storage.uploads.exists():
        with transaction.atomic():
            if Storage.objects.filter(pk=storage.pk, state=StorageState.DRAINING).update(state=StorageState.DRAINED):
                storage.buckets.filter(mounted=False).update(storage=storage.drain_to)
                events.record(storage.project_id, "storage.drained", storage.name)


def _move(replica: Replica, storage: Storage) -> None:
    target = replica.object
    policy = policies.of(target)
    made = replication.settle(target)
    counts = placement.satisfies(policy, target.bucket, list(target.replicas.select_related("storage")))
    elsewhere = target.replicas.filter(storage=storage.drain_to).exists()
    if made or counts or elsewhere or storage.drain_to is None:
        return
    # Ephemeral bytes, which the policy wants nowhere else.
    reason, priority = f"{storage} is being drained", UNSAFE if replica.dirty else MISSING
    if not target.transfers.filter(state__in=replication.LIVE).exists():
        replication.ask(target, Step(TransferKind.REPLICATE, storage.drain_to, reason, priority))


def _unfit(storage: Storage, to: Storage) -> str:
    if to.pk == storage.pk:
        return "this is the storage itself"
    if to.project_id != storage.project_id:
        return "it belongs to another project"
    if registry.is_read_only(to.scheme):
        return "it is read-only"
    if to.state != StorageState.ACTIVE:
        return f"it is {to.state}"
    return ""
