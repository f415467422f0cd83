"""Replicas: the copies of object versions on storages."""

from django.db import models
from django.db.models import Case, IntegerField, Q, Value, When
from django.db.models.functions import Coalesce

from staging.models.fields import KeyField, state_check
from staging.models.object import Object
from staging.models.storage import Storage
from staging.states import ReplicaState

#: What was read so often is hot: a pass over many objects, each read once, evicts only what was read once.
HOT_READS = 2
#: By these two the copies of a storage make room, the first one first; an index has them ready.
IS_HOT = Case(When(reads__gte=HOT_READS, then=Value(1)), default=Value(0), output_field=IntegerField())
LAST_READ = Coalesce("read_at", "created_at")
#: A copy whose bytes are there, may be, or may be made right again.
STANDING = (ReplicaState.AVAILABLE, ReplicaState.SUSPECT, ReplicaState.BAD)
#: Copies of versions whose bytes are to stay.
KEPT_OBJECT = Q(object__current=True) | Q(object__pinned=True)


class Replica(models.Model):
    """One copy of one version. A ``dirty`` one is not yet where the bucket's policy wants its bytes to be safe.

    ``storage_version`` is what the storage called this content when it was published. Versions that are copies of each
    other have their bytes at one place; all rows of a place but one are marked ``shares``, so that it counts once.
    """

    object = models.ForeignKey(Object, on_delete=models.CASCADE, related_name="replicas")
    storage = models.ForeignKey(Storage, on_delete=models.PROTECT, related_name="replicas")
    key = KeyField()
    size = models.BigIntegerField()
    state = models.CharField(max_length=16, choices=ReplicaState.choices, default=ReplicaState.AVAILABLE)
    dirty = models.BooleanField(default=False)
    shares = models.BooleanField(default=False, editable=False)
    storage_version = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True, help_text="About when it was last read.")

    reads = models.PositiveIntegerField(default=0, help_text="About how often it was read.")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["storage", "key"], condition=Q(shares=False), name="replica_place_counts_once"
            ),
            models.UniqueConstraint(fields=["object", "storage"], name="replica_once_a_storage"),
            models.CheckConstraint(condition=Q(size__gte=0), name="replica_size_positive"),
            state_check("state", ReplicaState, "replica_state_known"),
        ]
        indexes = [
            models.Index(fields=["storage", "state"], name="replica_by_storage_state"),
            models.Index(fields=["storage"], condition=Q(dirty=True), name="replica_by_dirty"),
            models.Index(
                "storage",
                IS_HOT,
                LAST_READ,
                condition=Q(state=ReplicaState.AVAILABLE, dirty=False),
                name="replica_to_evict",
            ),
            models.Index(
                fields=["storage", "created_at"], condition=Q(state=ReplicaState.AVAILABLE), name="replica_to_flush"
            ),
            models.Index(fields=["storage", "key"], name="replica_by_place"),
            models.Index(fields=["verified_at"], condition=Q(state=ReplicaState.AVAILABLE), name="replica_by_verified"),
        ]

    def __str__(self) -> str:
        return f"{self.key} on {self.storage}"
