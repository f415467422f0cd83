"""Handing over: what the memory of a node that stops holds alone is flushed first, as far as there is time."""

import threading
import time

import structlog
from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from staging import claims, nodes, placement, policies, replication, transfers
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
        while time.monotonic() < deadline and (due := [one for one in alone()[:_AT_ONCE] if place_for(one)]):
            for replica in due:
                _flush(replica)
                if time.monotonic() >= deadline:
                    break
            else:
                release()
                time.sleep(0 if len(due) == _AT_ONCE else _PAUSE_S)
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
