"""Objects: logical data, one row a version."""

import uuid

from django.db import models
from django.db.models import Q

from staging.models.bucket import Bucket
from staging.models.fields import KeyField, is_sha256, state_check
from staging.states import ObjectState

#: The versions whose bytes are kept.
KEPT = Q(current=True) | Q(pinned=True)


class Object(models.Model):
    """One immutable version of the data at a key; at most one version of a key is current.

    A ``pinned`` one is a member of a checkpoint, and keeps its bytes when it is not current any more.
    ``policy`` holds what differs from the bucket's for this version. ``demoting``: somebody asked for its fast copies
    to go, once it is safe without them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bucket = models.ForeignKey(Bucket, on_delete=models.CASCADE, related_name="contents")
    key = KeyField()
    version = models.PositiveIntegerField()
    current = models.BooleanField(default=True)
    pinned = models.BooleanField(default=False, editable=False)
    state = models.CharField(max_length=16, choices=ObjectState.choices, default=ObjectState.AVAILABLE)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    content_type = models.CharField(max_length=255, default="application/octet-stream")
    metadata = models.JSONField(default=dict, blank=True)
    policy = models.JSONField(default=dict, blank=True)
    demoting = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="When its time to live is over.")
    retired_at = models.DateTimeField(null=True, blank=True, help_text="When it was deleted or replaced.")

    class Meta:
        ordering = ["bucket_id", "key", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["bucket", "key", "version"], name="object_version_once"),
            models.UniqueConstraint(fields=["bucket", "key"], condition=Q(current=True), name="object_one_current"),
            models.CheckConstraint(condition=Q(size__gte=0), name="object_size_positive"),
            models.CheckConstraint(condition=is_sha256("sha256"), name="object_sha256_is_whole"),
            models.CheckConstraint(
                condition=Q(current=False) | ~Q(state=ObjectState.DELETING), name="object_deleting_is_not_current"
            ),
            state_check("state", ObjectState, "object_state_known"),
        ]
        indexes = [
            models.Index(fields=["retired_at"], condition=Q(current=False), name="object_tombstones"),
            models.Index(
                fields=["expires_at"], condition=Q(current=True, expires_at__isnull=False), name="object_ends"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} (version {self.version})"

    @property
    def kept(self) -> bool:
        """Whether its bytes are to stay."""
        return self.current or self.pinned
