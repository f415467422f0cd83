"""Replication: what an object's policy still asks for, as transfers. It may be planned any time, and again."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from staging import chores, claims, placement, policies, queue, replicas, versions
from staging.claims import REMOVING
from staging.models import Object, Replica, Storage, Transfer
from staging.models.object import KEPT
from staging.planning import ROUTINE, URGENT, Step, plan, too_many
from staging.policies import SLOWEST_FAST_TIER, Policy
from staging.states import ReplicaState, TransferKind, TransferState

#: So long nobody but a person has a transfer tried again that failed for good.
REST = timedelta(hours=6)
COPYING = [kind for kind in TransferKind if kind.copies]
LIVE = (TransferState.QUEUED, TransferState.RUNNING)


def settle(target: Object, *, is_new: bool = False) -> list[Transfer]:
    """Queue what the object's policy asks for and nobody does yet; returns what was queued. Idempotent."""
    with transaction.atomic():
        locked = Object.objects.select_for_update().filter(KEPT, pk=target.pk).first()
        if locked is None or target.bucket.mounted:
            return []
        locked.bucket = target.bucket
        policy = policies.of(locked)
        copies, named = (
            list(locked.replicas.select_related("storage__drain_to")),
            policies.storages_of(locked.bucket, policy),
        )
        if replicas.is_needlessly_dirty(locked, policy, copies, named):
            replicas.clean(locked)
        planned = plan(locked, policy, copies, named, is_new=is_new)
        made = [made for step in planned.steps if (made := _do(locked, step))]
        made += [gone for copy in planned.surplus if (gone := replicas.let_go(copy, reason=too_many(policy)))]
        return made + (_demote(locked, policy, copies) if locked.demoting else [])


def _demote(target: Object, policy: Policy, copies: Sequence[Replica]) -> list[Transfer]:
    """Let the fast copies go that the object can do without, and make those that it cannot do without safe."""
    places = placement.places(policy, target.bucket, policies.storages_of(target.bucket, policy))
    fast = [copy for copy in copies if copy.storage.tier <= SLOWEST_FAST_TIER and copy.storage not in places]
    if not fast:
        versions.set_demoting(target, demoting=False)
        return []
    reason = "somebody asked for it to be demoted"
    if all(copy in fast for copy in copies):
        flush = _do(target, Step(TransferKind.FLUSH, placement.home(target.bucket), reason, URGENT))
        return [flush] if flush else []
    return [gone for copy in fast if (gone := replicas.let_go(copy, reason=reason))]


def queue_step(target: Object, step: Step) -> Transfer:
    """The row of a step, and a worker told of it."""
    if step.replica is not None and step.kind.removes:
        return replicas.schedule_removal(step.replica, target, timezone.now(), kind=step.kind, reason=step.reason)
    return _queue(target, step)


def under_way(target: Object, kind: TransferKind, storage: Storage) -> Transfer | None:
    """The transfer that does this already: two copies to one storage are one, whatever they are for."""
    alike = COPYING if kind.copies else [kind]
    return target.transfers.filter(kind__in=alike, target=storage, state__in=LIVE).first()


def failed(target: Object, kind: TransferKind, storage: Storage) -> Transfer | None:
    """The transfer that was to do this and failed for good; one that would fail alike is not made beside it."""
    alike = COPYING if kind.copies else [kind]
    ended = target.transfers.filter(kind__in=alike, target=storage, state=TransferState.FAILED)
    return ended.order_by("-finished_at").first()


def resting() -> Q:
    """Those that failed for good not long ago and would fail alike: their storage has got no new credential since."""
    credential = "target__credential__rotated_at"
    alike = Q(**{credential: None}) | Q(**{f"{credential}__lt": F("finished_at")})
    return alike & Q(state=TransferState.FAILED, finished_at__gte=timezone.now() - REST)


def revive(transfer: Transfer) -> bool:
    """Queue a transfer anew that failed for good. False where it did not, or is queued already."""
    failed_for_good = Transfer.objects.filter(pk=transfer.pk, state=TransferState.FAILED)
    again = failed_for_good.update(not_before=timezone.now(), **claims.ANEW)
    if again:
        transfer.refresh_from_db()
        queue.enqueue_transfer(transfer)
    return bool(again)


def revive_removals(limit: int) -> int:
    """Try removals again that failed for good and have rested: nothing else would ever free their bytes."""
    rested = Transfer.objects.filter(~resting(), state=TransferState.FAILED)
    removals = rested.filter(kind__in=REMOVING, source__state=ReplicaState.DELETING)
    return sum(map(revive, removals.order_by("finished_at")[:limit]))


def _do(target: Object, step: Step) -> Transfer | None:
    """Queue the step, unless somebody does it, or it failed for good not long ago."""
    if under_way(target, step.kind, step.storage):
        return None
    if past := failed(target, step.kind, step.storage):
        rests = Transfer.objects.filter(resting(), pk=past.pk).exists()
        return past if not rests and revive(past) else None
    return queue_step(target, step)


def _queue(target: Object, step: Step) -> Transfer:
    transfer = Transfer.objects.create(
        project_id=target.bucket.project_id,
        kind=step.kind,
        object=target,
        source=step.replica,
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
    """The transfer that does the step: one that is under way, one that failed for good, or a new one."""
    with transaction.atomic():
        Object.objects.select_for_update().get(pk=target.pk)
        found = under_way(target, step.kind, step.storage) or failed(target, step.kind, step.storage)
        return found or queue_step(target, step)


def pursue(target: Object, step: Step) -> Transfer | None:
    """The transfer that does the step: one that is under way, or a new one; None for a time where it failed for good.

    Unlike what a person asks for, it is tried again by itself once it has rested.
    """
    with transaction.atomic():
        Object.objects.select_for_update().get(pk=target.pk)
        return under_way(target, step.kind, step.storage) or _do(target, step)


def verify(replica: Replica, *, reason: str, priority: int = ROUTINE) -> Transfer:
    """Have a worker read the copy whole. One that could not be read is tried anew."""
    target, kind = replica.object, TransferKind.VERIFY
    with transaction.atomic():
        Object.objects.select_for_update().get(pk=target.pk)
        found = under_way(target, kind, replica.storage) or failed(target, kind, replica.storage)
        if found is None:
            return _queue(target, Step(kind, replica.storage, reason, priority, replica=replica))
        # It may have been asked for of an earlier copy there, which has made way for this one since.
        Transfer.objects.filter(pk=found.pk).exclude(state=TransferState.RUNNING).update(source=replica)
        revive(found)
        return found


def reconcile(after: str, *, limit: int) -> tuple[int, str]:
    """Settle the next objects behind the id ``after``; returns how many transfers that made, and where to go on.

    Their times to live follow their policies. An empty place is the beginning, and the end. Objects that lack nothing
    cost no query of their own.
    """
    rows = Object.objects.filter(KEPT, bucket__mounted=False).order_by("pk")
    rows = rows.select_related("bucket__storage__drain_to").prefetch_related("replicas__storage__drain_to")
    chosen = list((rows.filter(pk__gt=after) if after else rows)[:limit])
    projects = {target.bucket.project_id for target in chosen}
    storages = list(Storage.objects.filter(project__in=projects).select_related("drain_to"))
    made = 0
    for target in chosen:
        with chores.apart("replication.settle", target.pk):
            if target.current:
                versions.correct_end(target, policies.of(target))
            made += len(settle(target)) if _lacks_something(target, storages) else 0
    return made, str(chosen[-1].pk) if len(chosen) == limit else ""


def _lacks_something(target: Object, storages: Iterable[Storage]) -> bool:
    policy, project_id = policies.of(target), target.bucket.project_id
    named = [one for one in storages if one.project_id == project_id and one.name in policy.names]
    copies = list(target.replicas.all())
    if target.demoting or replicas.is_needlessly_dirty(target, policy, copies, named):
        return True
    planned = plan(target, policy, copies, named)
    return bool(planned.steps or planned.surplus)
