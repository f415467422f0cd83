"""Cached blocks: parts of objects that lie on a fast storage for their readers."""

from django.db import models
from django.db.models import Q

from staging.models.fields import KeyField, state_check
from staging.models.object import Object
from staging.models.storage import Storage
from staging.states import BlockState


class CachedBlock(models.Model):
    """One attempt to keep the ``size`` bytes of a version from ``start`` on, on one storage at a key of its own.

    While it is ``filling``, the space is reserved and a living filler prolongs the lease. One that is ``removing`` is
    read by nobody; its lease tells until when a filler that was given up may still be at it, none that it was ready.
    """

    object = models.ForeignKey(Object, on_delete=models.SET_NULL, null=True, related_name="cached_blocks")
    storage = models.ForeignKey(Storage, on_delete=models.PROTECT, related_name="cached_blocks")
    start = models.BigIntegerField()
    size = models.BigIntegerField()
    key = KeyField()
    state = models.CharField(max_length=16, choices=BlockState.choices, default=BlockState.FILLING)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(auto_now_add=True, help_text="About when it was last read.")
    reads = models.PositiveIntegerField(default=0, help_text="About how often it was read after it came.")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["storage", "key"], name="cached_block_place_once"),
            models.UniqueConstraint(
                fields=["object", "storage", "start"],
                condition=~Q(state=BlockState.REMOVING),
                name="cached_block_once",
            ),
            models.CheckConstraint(condition=Q(start__gte=0, size__gt=0), name="cached_block_has_bytes"),
            models.CheckConstraint(
                condition=~Q(state=BlockState.FILLING) | Q(lease_expires_at__isnull=False),
                name="cached_block_filling_has_lease",
            ),
            state_check("state", BlockState, "cached_block_state_known"),
        ]
        indexes = [
            models.Index(
                fields=["storage", "read_at"], condition=Q(state=BlockState.READY), name="cached_block_by_reading"
            ),
            models.Index(fields=["state"], condition=~Q(state=BlockState.READY), name="cached_block_passing"),
        ]

    def __str__(self) -> str:
        return f"{self.key} on {self.storage}"
