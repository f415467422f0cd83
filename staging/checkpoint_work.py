"""The work on checkpoints, in short transactions: whoever does a step may be killed, and the next sweep goes on."""

from collections.abc import Iterable

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from staging import chores, events, placement, policies, replication, reservations, retiring, transfers, versions
from staging.errors import StagingError
from staging.models import Bucket, Checkpoint, CheckpointMember, Object, Replica, Storage, Transfer
from staging.models.replica import STANDING
from staging.planning import FASTER, UNSAFE, Step
from staging.states import CheckpointState, ReplicaState, StorageState, TransferKind

log = structlog.get_logger(__name__)

#: Members that one step looks at, and how many steps of a kind one pass takes.
_AT_ONCE, _STEPS = 200, 10
#: Names that are told of members that were lost.
_NAMED = 20


def sweep() -> int:
    """Advance every checkpoint that has something to be done; returns how many."""
    open_ones = Q(state=CheckpointState.PENDING) | Q(restoring_since__isnull=False) | Q(released_at__isnull=False)
    found = list(Checkpoint.objects.filter(open_ones).order_by("pk"))
    for checkpoint in found:
        with chores.apart("checkpoint_work.advance", checkpoint):
            _try(checkpoint, _STEPS)
    return len(found)


def look(checkpoint_id: str) -> None:
    """Take the next step of one, which may be complete now."""
    for checkpoint in Checkpoint.objects.filter(pk=checkpoint_id):
        _try(checkpoint, 1)


def _try(checkpoint: Checkpoint, steps: int) -> None:
    try:
        advance(checkpoint, steps=steps)
    except StagingError as exc:
        log.warning("checkpoint.not_advanced", checkpoint=checkpoint.name, error=exc.code, detail=str(exc))


def advance(checkpoint: Checkpoint, *, steps: int) -> None:
    """Take the next steps of it, each of which is a bounded number of members."""
    found = Checkpoint.objects.filter(pk=checkpoint.pk).first()
    if found is None:  # Somebody has let go of all of it.
        return
    step = _release if found.released_at else _restore if found.restoring_since else _make_safe
    for _ in range(steps):
        try:
            if not step(checkpoint):
                break
        except IntegrityError:  # Somebody came to write one of the keys: the next sweep sees what.
            log.warning("checkpoint.overtaken", checkpoint=checkpoint.name)
            told = "One of its keys was being written by others; it is tried again."
            Checkpoint.objects.filter(pk=checkpoint.pk).exclude(state=CheckpointState.FAILED).update(failure=told)
            break
    if Checkpoint.objects.filter(pk=checkpoint.pk).exists():
        checkpoint.refresh_from_db()


def unsafe(checkpoint: Checkpoint) -> QuerySet[CheckpointMember]:
    """The members that are not persisted now."""
    storages = Storage.objects.filter(project=checkpoint.project_id)
    safe = [storage.pk for storage in storages if placement.persists(storage)]
    good = Replica.objects.filter(object=OuterRef("object"), state=ReplicaState.AVAILABLE, storage__in=safe)
    return checkpoint.members.exclude(Exists(good))


def place_of(target: Object, named: Iterable[Storage]) -> Storage | None:
    """Where the version is to persist: the first place of its policy that persists and takes bytes now, else any
    that persists; None where there is none.
    """
    places = [one for one in placement.places(policies.of(target), target.bucket, named) if placement.persists(one)]
    return next((one for one in places if one.state == StorageState.ACTIVE), places[0] if places else None)


def _make_safe(checkpoint: Checkpoint) -> bool:
    """See whether all is there, or some can never be; else ask for the copies that are missing of the next members."""
    with transaction.atomic():
        mine = Checkpoint.objects.select_for_update().filter(pk=checkpoint.pk, state=CheckpointState.PENDING).first()
        if mine is None:
            return False
        if not unsafe(mine).exists():
            mine.failure = ""
            _end(mine, CheckpointState.COMPLETE, members=mine.count, size=mine.size)
            return False
        if fail_if_lost(mine):
            return False
        next_ones = _waiting_for_nobody(mine).filter(pk__gt=mine.place).order_by("pk")
        rows = list(next_ones.select_related("object__bucket__storage__drain_to")[:_AT_ONCE])
        # Those that cannot be helped now come again once all others had their turn.
        mine.place = rows[-1].pk if len(rows) == _AT_ONCE else 0
        away = without(mine, *STANDING)
        mine.failure = f"On storages that are lost, and may come back: {_named(away)}" if away else ""
        mine.save(update_fields=["place", "failure"])
    hindered = []
    for member in rows:
        with chores.apart("checkpoint_work.flush", member.object_id):
            if why := _flush(checkpoint, member.object):
                hindered.append(why)
    if hindered and not away:
        Checkpoint.objects.filter(pk=mine.pk, state=CheckpointState.PENDING).update(failure=hindered[0])
    return mine.place > 0


def fail_if_lost(checkpoint: Checkpoint) -> bool:
    """Whether some member has no copy left that can be read, now, once it was repaired or once its node is back.

    Then the checkpoint has failed, and says which. In a transaction.
    """
    lost = without(checkpoint, *STANDING, may_return=True)
    if lost:
        checkpoint.failure = f"Lost: {_named(lost)}"
        _end(checkpoint, CheckpointState.FAILED, lost=_names(lost))
    return bool(lost)


def _names(members: list[CheckpointMember]) -> list[str]:
    return [f"{member.object.bucket}/{member.key}" for member in members[:_NAMED]]


def _named(members: list[CheckpointMember]) -> str:
    return ", ".join(_names(members)) + (" and more" if len(members) > _NAMED else "")


def _waiting_for_nobody(checkpoint: Checkpoint) -> QuerySet[CheckpointMember]:
    """The members that are not persisted, and that no urgent transfer brings to where they would be."""
    coming = Transfer.objects.filter(
        object=OuterRef("object"),
        state__in=replication.LIVE,
        kind__in=replication.COPYING,
        target__tier=2,
        priority__lte=UNSAFE,
    )
    return unsafe(checkpoint).exclude(Exists(coming))


def _flush(checkpoint: Checkpoint, target: Object) -> str:
    """Have one version brought where it persists, if anything there takes it now; else returns why not."""
    place = place_of(target, policies.storages_of(target.bucket, policies.of(target)))
    if place is None:
        return f"Nothing persists in the bucket {target.bucket} any more."
    if place.state != StorageState.ACTIVE:
        return f"The storage {place} takes no bytes: it is {place.state}."
    step = Step(TransferKind.FLUSH, place, f"the checkpoint {checkpoint} holds it", UNSAFE)
    asked = replication.pursue(target, step)
    if asked is None:
        failed = replication.failed(target, step.kind, place)
        named = f"{target.bucket}/{target.key}"
        return f"{named} did not come to {place}, and is tried again later: {failed.error_detail}" if failed else ""
    if asked.priority > UNSAFE:
        transfers.hasten(asked)
    return ""


def without(checkpoint: Checkpoint, *states: ReplicaState, may_return: bool = False) -> list[CheckpointMember]:
    """Some of the members that have no copy in these states on a storage that is there, or ``may_return``."""
    copies = Replica.objects.filter(object=OuterRef("object"), state__in=states)
    left = copies if may_return else copies.exclude(storage__state=StorageState.LOST)
    rows = unsafe(checkpoint).exclude(Exists(left)).select_related("object__bucket")
    return list(rows.order_by("pk")[: _NAMED + 1])


def _end(checkpoint: Checkpoint, state: CheckpointState, **facts: object) -> None:
    checkpoint.state, checkpoint.completed_at = state, timezone.now()
    checkpoint.save(update_fields=["state", "completed_at", "failure"])
    events.record(checkpoint.project_id, f"checkpoint.{state}", checkpoint.name, **facts)


def _restore(checkpoint: Checkpoint) -> bool:
    """Restore the next members; what was written to a key since it was asked stays."""
    with transaction.atomic():
        mine = Checkpoint.objects.select_for_update().get(pk=checkpoint.pk)
        since = mine.restoring_since
        if since is None or mine.released_at:
            return False
        rows = list(mine.members.filter(pk__gt=mine.place).order_by("pk")[:_AT_ONCE])
        ids = [row.object_id for row in rows]
        buckets = Bucket.objects.filter(contents__in=ids).distinct().values_list("pk", flat=True)
        # Alone in its buckets, as those are who replace versions by uploads.
        list(Bucket.objects.select_for_update(no_key=True).filter(pk__in=list(buckets)).order_by("pk"))
        found = Object.objects.select_for_update(of=("self",)).select_related("bucket__storage")
        targets = {target.pk: target for target in found.filter(pk__in=ids).order_by("bucket_id", "key")}
        for row in rows:
            target = targets[row.object_id]
            if target.current and target.key == row.key:
                reservations.outdate(target.bucket, [row.key], since)
                continue
            standing = Object.objects.filter(bucket=target.bucket, key=row.key, current=True).first()
            if standing and standing.created_at > since:
                continue
            if standing:
                standing.bucket = target.bucket
                retiring.retire(standing, keep_s=0)
            left = target.key
            versions.reinstate(target, row.key)
            events.record_restored(target, left)
        mine.place = rows[-1].pk if rows else mine.place
        if len(rows) < _AT_ONCE:
            mine.restoring_since, mine.restored_at = None, timezone.now()
            events.record(mine.project_id, "checkpoint.restored", mine.name, members=mine.count)
        mine.failure = ""
        mine.save(update_fields=["place", "restoring_since", "restored_at", "failure"])
    for target in targets.values():
        if target.current:
            with chores.apart("checkpoint_work.promote", target.pk):
                _bring_near(target)
    return mine.restoring_since is not None


def _bring_near(target: Object) -> None:
    policy = policies.of(target)
    named = policies.storages_of(target.bucket, policy)
    fast = next((one for one in named if one.name == policy.lands_on and one.state == StorageState.ACTIVE), None)
    if fast and not target.replicas.filter(storage=fast).exists():
        replication.ask(target, Step(TransferKind.PROMOTE, fast, "a checkpoint was restored", FASTER))


def _release(checkpoint: Checkpoint) -> bool:
    """Let go of the next members; of the checkpoint itself with the last."""
    with transaction.atomic():
        mine = Checkpoint.objects.select_for_update().filter(pk=checkpoint.pk).first()
        if mine is None:
            return False
        rows = list(mine.members.order_by("pk")[:_AT_ONCE])
        ids = [row.object_id for row in rows]
        targets = list(
            Object.objects.select_for_update(of=("self",))
            .select_related("bucket")
            .filter(pk__in=ids)
            .order_by("bucket_id", "key")
        )
        CheckpointMember.objects.filter(pk__in=[row.pk for row in rows]).delete()
        held = set(CheckpointMember.objects.filter(object__in=ids).values_list("object_id", flat=True))
        for target in targets:
            if target.pk not in held:
                retiring.unpin(target)
        if len(rows) < _AT_ONCE:
            events.record(mine.project_id, "checkpoint.deleted", mine.name)
            mine.delete()
    return len(rows) == _AT_ONCE
