"""Copies on nodes: those on a lost node do not count, and those on one that is back are read before they do again."""

import structlog
from django.conf import settings
from django.db.models import Exists, OuterRef

from adapters.errors import AdapterError, NotFound
from staging import chores, nodes, planning, replicas, replication, sharing
from staging.models import Replica, Transfer
from staging.models.replica import KEPT_OBJECT
from staging.states import ReplicaState, StorageState, TransferKind
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

#: Copies that one pass looks at.
_AT_ONCE = 500


def look() -> int:
    """Condemn the copies in this node's own memory that are not there; how many. For a process that has just begun.

    A container that was started anew has lost its memory although its machine has not. What is missing must not count
    for a moment: another copy might be let go because of it.
    """
    here = Replica.objects.filter(
        storage__node__name=settings.NODE_NAME,
        storage__tier=nodes.MEMORY_TIER,
        state=ReplicaState.AVAILABLE,
        object__bucket__mounted=False,
    )
    here = here.select_related("object__bucket__storage", "storage__credential", "storage__node").order_by("pk")
    missing, last = 0, 0
    while page := list(here.filter(pk__gt=last)[:_AT_ONCE]):
        last = page[-1].pk
        for replica in page:
            with chores.apart("node_copies.look", replica.object_id):
                if not _is_there(replica) and sharing.condemn(replica, "it is not there", missing=True):
                    missing += 1
                    replication.settle(replica.object)
    if missing:
        log.error("node.memory_lost", node=settings.NODE_NAME, copies=missing)
    return missing


def _is_there(replica: Replica) -> bool:
    """False only where the storage says so."""
    try:
        return adapter_for(replica.storage).stat(replica.key).size == replica.size
    except NotFound:
        return False
    except AdapterError:
        return True


def follow() -> None:
    """One pass: copies on lost storages are doubted and made anew elsewhere; where the storage is back, verified."""
    managed = Replica.objects.filter(KEPT_OBJECT, object__bucket__mounted=False, storage__node__isnull=False)
    managed = managed.select_related("object__bucket__storage", "storage").order_by("pk")
    gone = managed.filter(state=ReplicaState.AVAILABLE, storage__state=StorageState.LOST)
    for replica in gone[:_AT_ONCE]:
        with chores.apart("node_copies.doubt", replica.object_id):
            if replicas.doubt(replica, f"the storage {replica.storage} is lost"):
                replication.settle(replica.object)
    asked = Transfer.objects.filter(kind=TransferKind.VERIFY, source=OuterRef("pk"), state__in=replication.LIVE)
    back = managed.filter(state=ReplicaState.SUSPECT).exclude(storage__state=StorageState.LOST)
    for replica in back.exclude(Exists(asked))[:_AT_ONCE]:
        with chores.apart("node_copies.verify", replica.object_id):
            replication.verify(replica, reason="its node was away", priority=planning.MISSING)
