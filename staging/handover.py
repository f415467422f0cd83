"""Handing over: what the memory of a node that stops holds alone is flushed first, as far as there is time."""

import threading
import time
from collections.abc import Set

import structlog
from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from staging import chores, claims, nodes, placement, policies, replication, transfers
from staging.connections import release
from staging.models import Replica, Storage, Transfer
from staging.models.replica import KEPT_OBJECT
from staging.planning import URGENT, Step
from staging.states import ReplicaState, StorageState, TransferKind, TransferState

log = structlog.get_logger(__name__)

_AT_ONCE = 200
#: Between two passes over what others have taken and failed with: they cannot reach this gateway any more.
_PAUSE_S = 0.5


def hand_over(within_s: float) -> int:
    """Flush, for so many seconds at most, and log what is left object by object; how many those are.

    The bytes are copied by this process, which has them: nobody else reaches them once it refuses connections.
    """
    deadline = time.monotonic() + within_s
    # A copy that takes too long is handed back as a worker's is that stops; another goes on once the node is back.
    limit = threading.Timer(within_s, claims.stopping.set)
    limit.daemon = True
    limit.start()
    try:
        _flush_all(deadline)
    finally:
        limit.cancel()
    left = 0
    for replica in alone().iterator():
        left += 1
        name = f"{replica.object.bucket}/{replica.object.key}"
        log.error("node.left_behind", object=str(replica.object_id), name=name, storage=str(replica.storage))
    log.info("node.handed_over", node=settings.NODE_NAME, left=left)
    release()
    return left


def _flush_all(deadline: float) -> None:
    """Each has its turn before any has another, as some may fail."""
    tried = set[int]()
    while time.monotonic() < deadline:
        due = _due(tried)
        if not due and not tried:
            return
        if not due:
            tried.clear()
            release()
            time.sleep(_PAUSE_S)
        for replica in due:
            tried.add(replica.pk)
            with chores.apart("handover.flush", replica.object_id):
                _flush(replica)
            if time.monotonic() >= deadline:
                return


def _due(tried: Set[int]) -> list[Replica]:
    """The next copies that can go somewhere and were not tried."""
    due = list[Replica]()
    for replica in alone().iterator():
        with chores.apart("handover.place", replica.object_id):
            if replica.pk not in tried and place_for(replica):
                due.append(replica)
        if len(due) == _AT_ONCE:
            break
    return due


def alone() -> QuerySet[Replica]:
    """The copies in this node's memory that are dirty, or the only good ones; small ones first."""
    memory = Storage.objects.filter(node__name=settings.NODE_NAME, tier=nodes.MEMORY_TIER)
    others = Replica.objects.filter(object=OuterRef("object"), state=ReplicaState.AVAILABLE)
    others = others.exclude(storage__state=StorageState.LOST).exclude(storage__in=memory)
    here = Replica.objects.filter(
        KEPT_OBJECT,
        Q(dirty=True) | ~Exists(others),
        storage__in=memory,
        state=ReplicaState.AVAILABLE,
        object__bucket__mounted=False,
    )
    return here.select_related("object__bucket__storage__drain_to", "storage").order_by("-dirty", "size", "pk")


def place_for(replica: Replica) -> Storage | None:
    """Where the bytes may go: the first place of the policy that takes them and is not this node's; None for none."""
    target = replica.object
    policy = policies.of(target)
    if policy.stays_fast:
        return None
    for storage in placement.places(policy, target.bucket, policies.storages_of(target.bucket, policy)):
        is_here = storage.node_id is not None and storage.node_id == replica.storage.node_id
        taken = target.replicas.filter(storage=storage).exclude(state=ReplicaState.COPYING).exists()
        if storage.state == StorageState.ACTIVE and not is_here and not taken:
            return storage
    return None


def _flush(replica: Replica) -> None:
    place = place_for(replica)
    if place is None:
        return
    reason = f"the node {settings.NODE_NAME} stops"
    transfer = replication.ask(replica.object, Step(TransferKind.FLUSH, place, reason, URGENT))
    replication.revive(transfer)
    mine = Transfer.objects.filter(pk=transfer.pk, state=TransferState.QUEUED)
    mine.update(not_before=timezone.now(), priority=URGENT)
    transfers.run(str(transfer.pk))
