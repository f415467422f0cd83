"""Copies on nodes: those on a lost node do not count, and those on one that is back are read before they do again."""

from django.db.models import Exists, OuterRef

from staging import replicas, replication
from staging.models import Replica, Transfer
from staging.models.replica import KEPT_OBJECT
from staging.states import ReplicaState, StorageState, TransferKind

#: Copies that one pass looks at.
_AT_ONCE = 500


def follow() -> None:
    """One pass: copies on lost storages are doubted and made anew elsewhere; where the storage is back, verified."""
    managed = Replica.objects.filter(KEPT_OBJECT, object__bucket__mounted=False, storage__node__isnull=False)
    managed = managed.select_related("object__bucket__storage", "storage").order_by("pk")
    gone = managed.filter(state=ReplicaState.AVAILABLE, storage__state=StorageState.LOST)
    for replica in gone[:_AT_ONCE]:
        if replicas.doubt(replica, f"the storage {replica.storage} is lost"):
            replication.settle(replica.object)
    asked = Transfer.objects.filter(kind=TransferKind.VERIFY, source=OuterRef("pk"), state__in=replication.LIVE)
    back = managed.filter(state=ReplicaState.SUSPECT).exclude(storage__state=StorageState.LOST)
    for replica in back.exclude(Exists(asked))[:_AT_ONCE]:
        replication.verify(replica, reason="its node was away", priority=replication.MISSING)
