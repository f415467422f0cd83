"""Explaining: why each copy of an object is where it is, and what will happen next, in words."""

from dataclasses import dataclass

from django.utils import timezone

from staging import cached_blocks, placement, policies, replication
from staging.models import Object, Replica, Transfer
from staging.policies import Policy
from staging.states import CacheMode, Durability, ReplicaState, StorageState, TransferKind, TransferState, WritePolicy

_DONE_BY = {
    TransferKind.FLUSH: "bring it to",
    TransferKind.REPLICATE: "copy it to",
    TransferKind.PROMOTE: "copy it to the faster storage",
    TransferKind.VERIFY: "read back the copy on",
    TransferKind.EVICT: "remove the copy on",
    TransferKind.DELETE: "remove the copy on",
    TransferKind.COPY: "make a copy on",
    TransferKind.MOVE: "move it to",
}
_WRITTEN = {
    WritePolicy.THROUGH: "New objects are answered for once they are on {home}; a copy goes to {fast}.",
    WritePolicy.AROUND: "New objects are answered for once they are on {home}, and no fast copy is kept.",
    WritePolicy.BACK: "New objects are answered for once they are on {fast}, and flushed to {home} within {flush} s.",
    WritePolicy.EPHEMERAL: "New objects stay on {fast} and are not made safe elsewhere.",
}
_CACHED = {CacheMode.READ: "once", CacheMode.PROMOTE: "again"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Sentences: of the policy, one of each copy and of each storage with cached blocks, and of what is to come.

    ``durability`` is the truth now.
    """

    durability: Durability
    policy: list[str]
    replicas: list[str]
    next: list[str]


def explain(target: Object) -> Explanation:
    """What the catalog knows and would do of a version in a managed bucket."""
    policy = policies.of(target)
    copies = list(target.replicas.select_related("storage__drain_to"))
    live = (
        target.transfers.filter(state__in=replication.LIVE).select_related("target").order_by("priority", "created_at")
    )
    planned = replication.plan(target, policy, copies, policies.storages_of(target.bucket, policy))
    coming = [_of_transfer(transfer) for transfer in live]
    coming += [
        f"Waybill will {_DONE_BY[step.kind]} {step.storage}: {step.reason}."
        for step in planned.steps
        if not replication.under_way(target, step.kind, step.storage)
        and not replication.failed(target, step.kind, step.storage)
    ]
    coming += [f"The policy is not met: {missing}." for missing in planned.missing]
    failed = target.transfers.filter(state=TransferState.FAILED).select_related("target")
    coming += [f"Waybill could not {_DONE_BY[TransferKind(one.kind)]} {one.target}: {_failure(one)}" for one in failed]
    if target.expires_at:
        coming.append(f"Its time to live ends at {target.expires_at:%Y-%m-%d %H:%M:%S} UTC; then it is deleted.")
    if placement.is_lost(target.state, copies):
        coming = ["Nothing: every copy is gone for good. It has to be uploaded again, or deleted."]
    told = [_of_replica(target, policy, copy, copies) for copy in copies]
    return Explanation(
        durability=placement.durability(copies),
        policy=_of_policy(target, policy),
        replicas=[*told, *map(str, cached_blocks.shares(target))],
        next=coming or ["Nothing: all that the policy asks for is done."],
    )


def _of_policy(target: Object, policy: Policy) -> list[str]:
    home, fast = placement.home(target.bucket).name, policy.lands_on
    if policy.write == WritePolicy.THROUGH and not fast:
        said = [f"New objects are answered for once they are on {home}."]
    else:
        said = [_WRITTEN[policy.write].format(home=home, fast=fast, flush=policy.flush_within_s)]
    if policy.write == WritePolicy.BACK and policy.dirty_budget_bytes:
        said.append(f"Once {policy.dirty_budget_bytes:,} bytes of the bucket wait for that, further ones go to {home}.")
    if policy.cache != CacheMode.NONE:
        said.append(
            f"What is read of them {_CACHED[policy.cache]} is kept on {fast}, block by block, while there is room."
        )
    if policy.min_replicas > 1:
        spread = "" if policy.spread == "none" else f", each on another {policy.spread.removesuffix('s')}"
        places = ", ".join([home, *policy.replicate_to])
        said.append(f"{policy.min_replicas} copies persist, on {places}{spread}.")
    if target.policy:
        said.append(f"The object has settings of its own: {', '.join(sorted(target.policy))}.")
    return said


def _of_replica(target: Object, policy: Policy, copy: Replica, copies: list[Replica]) -> str:
    storage = copy.storage
    said = f"{storage} (tier {storage.tier}): {_why_there(target, policy, copy)}"
    if copy.state == ReplicaState.COPYING:
        return f"{said}; it is being written."
    if copy.state == ReplicaState.BAD:
        return f"{said}; it is damaged, so that nobody reads it."
    if copy.state == ReplicaState.SUSPECT:
        return f"{said}; its node was away, so that nobody reads it before it was read back."
    if copy.state == ReplicaState.DELETING:
        return f"{said}; it is being removed."
    if storage.state == StorageState.LOST:
        return f"{said}; the storage is lost."
    if copy.dirty:
        return f"{said}; it is not safe elsewhere yet, so that it stays."
    rest = [other for other in copies if other.pk != copy.pk]
    if policy.pin and storage.name == policy.lands_on:
        return f"{said}; the policy pins it."
    if placement.satisfies(policy, target.bucket, rest, policies.storages_of(target.bucket, policy)):
        return f"{said}; it may be evicted when its storage fills up."
    return f"{said}; the policy needs it, so that it stays."


def _why_there(target: Object, policy: Policy, copy: Replica) -> str:
    if copy.storage_id == placement.home(target.bucket).pk:
        return "the storage on which the bucket's objects persist"
    if copy.storage.name in policy.replicate_to:
        return "a further copy that the policy asks for"
    if copy.storage.name == policy.lands_on:
        return "where new bytes land" if policy.lands_fast else "a fast copy for readers"
    return "from a former policy or a drain"


def _failure(transfer: Transfer) -> str:
    first = transfer.error_detail or transfer.error_code
    last = transfer.last_error_detail or transfer.last_error_code
    return f"{first}; at last, after {transfer.attempts} attempts: {last}" if transfer.ended_otherwise else first


def _of_transfer(transfer: Transfer) -> str:
    done = f"Waybill is to {_DONE_BY[TransferKind(transfer.kind)]} {transfer.target}"
    why = f": {transfer.reason}" if transfer.reason else ""
    if transfer.state == "running":
        return f"{done}{why}; {transfer.bytes_done:,} of {transfer.size:,} bytes are done."
    tried = f"; {transfer.attempts} attempts failed, first with {transfer.error_code}" if transfer.error_code else ""
    until = f", not before {transfer.not_before:%H:%M:%S} UTC" if transfer.not_before > timezone.now() else ""
    return f"{done}{why}; it waits for a worker{until}{tried}."
