"""Replication: what an object's policy still asks for, as transfers. It may be planned any time, and again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from staging import placement, policies, queue, replicas
from staging.models import Object, Replica, Storage, Transfer
from staging.policies import Policy
from staging.states import ReplicaState, StorageState, TransferKind, TransferState, WritePolicy

#: A lower number goes first: somebody waits for it, bytes are not safe yet, a copy is missing, a copy would be faster.
URGENT, UNSAFE, MISSING, FASTER, ROUTINE = 10, 30, 50, 70, 90

LIVE = (TransferState.QUEUED, TransferState.RUNNING)


@dataclass(frozen=True, slots=True)
class Step:
    """One transfer to make: a copy to ``storage``, or the removal of ``replica``; ``reason`` says why in words."""

    kind: TransferKind
    storage: Storage
    reason: str
    priority: int
    replica: Replica | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for an object now, and in words what it asks for that cannot be done now."""

    steps: list[Step] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def plan(
    target: Object, policy: Policy, copies: Sequence[Replica], named: Iterable[Storage], *, is_new: bool = False
) -> Plan:
    """What the policy asks for beyond what there is.

    ``copies`` are all replicas of the object with their storages, ``named`` the storages that its policy names.
    ``is_new``: the version has just been written, so that the fast copy of a policy that keeps one is to be made.
    """
    found, named = Plan(), list(named)
    good = placement.reading_order(copies)
    if not good:
        found.missing.append("no copy can be read, so that nothing can be copied")
        return found
    _replace_bad(found, copies)
    if policy.write != WritePolicy.EPHEMERAL:
        _persist(found, target, policy, copies, named)
    fast = next((storage for storage in named if storage.name == policy.lands_on), None)
    if fast and (policy.pin or (is_new and policy.write == WritePolicy.THROUGH)) and _is_free(fast, copies):
        found.steps.append(Step(TransferKind.PROMOTE, fast, _why_fast(policy), FASTER))
    return found


def settle(target: Object, *, is_new: bool = False) -> list[Transfer]:
    """Queue what the object's policy asks for and nobody does yet; returns what was queued. Idempotent."""
    with transaction.atomic():
        locked = Object.objects.select_for_update().filter(pk=target.pk, current=True).first()
        if locked is None or target.bucket.mounted:
            return []
        locked.bucket = target.bucket
        policy = policies.of(locked)
        copies = list(locked.replicas.select_related("storage__drain_to"))
        planned = plan(locked, policy, copies, storages_of(locked, policy), is_new=is_new)
        return [queue_step(locked, step) for step in planned.steps if not _under_way(locked, step).exists()]


def storages_of(target: Object, policy: Policy) -> list[Storage]:
    """The storages that the policy names."""
    if not policy.names:
        return []
    named = Storage.objects.filter(project=target.bucket.project_id, name__in=policy.names)
    return list(named.select_related("drain_to"))


def queue_step(target: Object, step: Step) -> Transfer:
    """The row of a step, and a worker told of it."""
    if step.replica is not None:
        return replicas.schedule_removal(step.replica, target, timezone.now(), kind=step.kind, reason=step.reason)
    transfer = Transfer.objects.create(
        project_id=target.bucket.project_id,
        kind=step.kind,
        object=target,
        target=step.storage,
        label=f"{target.bucket}/{target.key}",
        size=target.size,
        reason=step.reason,
        priority=step.priority,
        not_before=timezone.now(),
    )
    queue.enqueue_transfer(transfer)
    return transfer


def ask(target: Object, step: Step) -> Transfer:
    """The transfer that does the step: one that is under way, or a new one."""
    under_way = _under_way(target, step)
    try:
        with transaction.atomic():
            return under_way.first() or queue_step(target, step)
    except IntegrityError:  # Somebody asked at the same moment.
        return under_way.get(kind=step.kind)


def verify(replica: Replica, *, reason: str, priority: int = ROUTINE, not_before: datetime | None = None) -> Transfer:
    """Have a worker read the copy whole."""
    target = replica.object
    under_way = target.transfers.filter(kind=TransferKind.VERIFY, target=replica.storage, state__in=LIVE)
    if found := under_way.first():
        return found
    transfer = Transfer.objects.create(
        project_id=target.bucket.project_id,
        kind=TransferKind.VERIFY,
        object=target,
        source=replica,
        target=replica.storage,
        label=f"{target.bucket}/{target.key}",
        size=replica.size,
        reason=reason,
        priority=priority,
        not_before=not_before or timezone.now(),
    )
    queue.enqueue_transfer(transfer)
    return transfer


def reconcile(after: str, *, limit: int) -> tuple[int, str]:
    """Settle the next objects behind the id ``after``; returns how many transfers that made, and where to go on.

    An empty place is the beginning, and the end.
    """
    rows = Object.objects.filter(current=True, bucket__mounted=False).order_by("pk").select_related("bucket__storage")
    chosen = list((rows.filter(pk__gt=after) if after else rows)[:limit])
    made = sum(len(settle(target)) for target in chosen)
    return made, str(chosen[-1].pk) if len(chosen) == limit else ""


def is_late(policy: Policy, transfer: Transfer) -> bool:
    """Whether a flush has not been done in the time that the policy gives it."""
    return timezone.now() > transfer.created_at + timedelta(seconds=policy.flush_within_s)


def _under_way(target: Object, step: Step) -> QuerySet[Transfer]:
    """What does the step already. A copy is a copy, whatever it is made for: two to one storage would meet there."""
    kinds = [kind for kind in TransferKind if kind.copies] if step.kind.copies else [step.kind]
    return Transfer.objects.filter(object=target, kind__in=kinds, target=step.storage, state__in=LIVE)


def _persist(found: Plan, target: Object, policy: Policy, copies: Sequence[Replica], named: Sequence[Storage]) -> None:
    bucket = target.bucket
    have = placement.counted(policy, bucket, copies)
    wanted = policy.min_replicas - len(have)
    if wanted <= 0:
        return
    sites = {placement.site(copy.storage) for copy in have} if policy.spread != "none" else set()
    for storage in placement.places(policy, bucket, named):
        if wanted <= 0:
            break
        if not _is_free(storage, copies) or placement.site(storage) in sites:
            continue
        first = not have and wanted == policy.min_replicas
        kind = TransferKind.FLUSH if first else TransferKind.REPLICATE
        reason = _why(policy, copies, first)
        found.steps.append(Step(kind, storage, reason, UNSAFE if first else MISSING))
        wanted -= 1
    if wanted > 0:
        found.missing.append(f"{wanted} of {policy.min_replicas} copies lack a storage that takes them now")


def _replace_bad(found: Plan, copies: Sequence[Replica]) -> None:
    """What is bad makes way for a good copy, once there is a good one."""
    for copy in copies:
        if copy.state == ReplicaState.BAD and copy.storage.state == StorageState.ACTIVE:
            found.steps.append(Step(TransferKind.DELETE, copy.storage, "it is damaged", MISSING, replica=copy))


def _is_free(storage: Storage, copies: Sequence[Replica]) -> bool:
    return storage.state == StorageState.ACTIVE and all(copy.storage_id != storage.pk for copy in copies)


def _why(policy: Policy, copies: Sequence[Replica], first: bool) -> str:
    if drained := [copy.storage.name for copy in copies if copy.storage.state == StorageState.DRAINING]:
        return f"the storage {drained[0]} is being drained"
    if first:
        return "the first copy where the policy wants the bytes to be safe"
    return f"the policy asks for {policy.min_replicas} copies"


def _why_fast(policy: Policy) -> str:
    return "the policy pins a fast copy" if policy.pin else "the policy keeps a fast copy of new objects"
