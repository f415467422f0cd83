"""Planning: what an object's policy asks for beyond what there is, as steps to take and as words. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from staging import placement
from staging.models import Object, Replica, Storage
from staging.policies import Policy
from staging.states import ReplicaState, StorageState, TransferKind, WritePolicy

#: A lower number goes first: somebody waits for it, bytes are not safe yet, a copy is missing, somebody asked for
#: another object, a copy would be faster.
URGENT, UNSAFE, MISSING, ASKED, FASTER, ROUTINE = 10, 30, 50, 60, 70, 90

#: A copy that was read whole within this time is good.
_LATELY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Step:
    """One transfer to make: a copy to ``storage``, or work on ``replica``; ``reason`` says why in words."""

    kind: TransferKind
    storage: Storage
    reason: str
    priority: int
    replica: Replica | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for an object now, in words what it asks for that cannot be done now, and which copies are
    more than it may have.
    """

    steps: list[Step] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    surplus: list[Replica] = field(default_factory=list)


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
    _replace_bad(found, copies, good)
    if policy.write != WritePolicy.EPHEMERAL:
        _persist(found, target, policy, copies, named)
    _be_fast(found, policy, copies, named, is_new=is_new)
    found.surplus.extend(_surplus(target, policy, good, named))
    return found


def too_many(policy: Policy) -> str:
    """Why a copy goes that is more than the policy lets an object have."""
    return f"the policy allows {policy.max_replicas} {'copy' if policy.max_replicas == 1 else 'copies'}"


def _persist(found: Plan, target: Object, policy: Policy, copies: Sequence[Replica], named: Sequence[Storage]) -> None:
    bucket = target.bucket
    have = placement.counted(policy, bucket, copies, named)
    wanted = policy.min_replicas - len(have)
    if wanted <= 0:
        return
    taken = {policy.stand(copy.storage) for copy in have}
    for storage in placement.places(policy, bucket, named):
        if wanted <= 0:
            break
        if not _is_free(storage, copies) or policy.stand(storage) in taken:
            continue
        first = not have and wanted == policy.min_replicas
        kind = TransferKind.FLUSH if first else TransferKind.REPLICATE
        reason = _why(policy, copies, first)
        found.steps.append(Step(kind, storage, reason, UNSAFE if first else MISSING))
        wanted -= 1
        taken.add(policy.stand(storage))
    if wanted > 0:
        found.missing.append(f"{wanted} of {policy.min_replicas} copies lack a storage that takes them now")


def _be_fast(found: Plan, policy: Policy, copies: Sequence[Replica], named: Sequence[Storage], *, is_new: bool) -> None:
    """The copy for readers that the policy pins, or keeps of what is new, while it may have so many."""
    fast = next((storage for storage in named if storage.name == policy.lands_on), None)
    if fast is None or not (policy.pin or (is_new and policy.write == WritePolicy.THROUGH)):
        return
    there = [copy for copy in copies if copy.state in (ReplicaState.AVAILABLE, ReplicaState.COPYING)]
    coming = [step for step in found.steps if step.kind.copies]
    within = not policy.max_replicas or len(there) + len(coming) < policy.max_replicas
    if not within or not _is_free(fast, copies):
        return
    if policy.pin and not _has_room(fast, there[0].size, settings.HARD_WATER):
        found.missing.append(f"{fast} has no room for the copy that is pinned there")
    else:
        found.steps.append(Step(TransferKind.PROMOTE, fast, _why_fast(policy), FASTER))


def _has_room(storage: Storage, size: int, percent: int) -> bool:
    """Whether so many bytes more fit below a mark, in percent of the storage's capacity, as it was last looked at."""
    if storage.capacity_bytes is None:
        return True
    return storage.used_bytes + storage.reserved_bytes + size <= storage.capacity_bytes * percent // 100


def _surplus(target: Object, policy: Policy, good: Sequence[Replica], named: Sequence[Storage]) -> list[Replica]:
    """The good copies beyond the most that the policy lets it have, those first for which it has no use."""
    if not policy.max_replicas or len(good) <= policy.max_replicas:
        return []
    places = placement.places(policy, target.bucket, named)
    spare = [copy for copy in good if copy.storage not in places and not copy.dirty]
    if policy.pin:
        spare = [copy for copy in spare if copy.storage.name != policy.lands_on]
    spare.sort(key=lambda copy: copy.storage.name == policy.lands_on)
    return spare[: len(good) - policy.max_replicas]


def _replace_bad(found: Plan, copies: Sequence[Replica], good: Sequence[Replica]) -> None:
    """What is bad makes way for a good copy, once one was seen to be good: even a bad one has some right bytes."""
    reached = (StorageState.ACTIVE, StorageState.DRAINING)
    bad = [copy for copy in copies if copy.state == ReplicaState.BAD and copy.storage.state in reached]
    now = timezone.now()
    seen = any(copy.verified_at and now - copy.verified_at < _LATELY for copy in good)
    if bad and not seen:
        reason = "it is to stand for a damaged copy"
        found.steps.append(Step(TransferKind.VERIFY, good[0].storage, reason, UNSAFE, replica=good[0]))
    elif bad:
        found.steps.extend(
            Step(TransferKind.DELETE, copy.storage, "it is damaged", MISSING, replica=copy) for copy in bad
        )


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
