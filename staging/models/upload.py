"""Upload reservations: the row that comes before the bytes."""

import uuid

from django.db import models
from django.db.models import Q

from staging.models.alias import Alias
from staging.models.fields import KeyField
from staging.models.storage import Storage


class Upload(models.Model):
    """One body on its way: its space, the key its bytes will have, and a lease that a living writer renews.

    ``id`` becomes the object's id. Once the lease has run out, the janitor owns the row and what lies at the key;
    ``size`` and ``sha256`` are filled in just before publish so that it can tell whether to adopt the bytes.

    ``key`` is where the bytes lie on the storage, ``target_key`` the object's in its bucket. An upload that broke off
    and may be resumed is ``suspended_at`` with ``offset`` safe bytes; ``promised`` are the digests announced for the
    whole, in hexadecimal by hashlib's names. Uploads of one ``batch`` become objects together or not at all, so that
    the janitor adopts none of them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    alias = models.ForeignKey(Alias, on_delete=models.CASCADE, related_name="uploads")
    storage = models.ForeignKey(Storage, on_delete=models.PROTECT, related_name="uploads")
    key = KeyField()
    target_key = KeyField()
    token = models.CharField(max_length=1400, blank=True)
    declared_size = models.BigIntegerField(null=True)
    offset = models.BigIntegerField(default=0)
    suspended_at = models.DateTimeField(null=True)
    batch = models.UUIDField(null=True, editable=False)
    promised = models.JSONField(default=dict)
    reserved_bytes = models.BigIntegerField(default=0)
    size = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    content_type = models.CharField(max_length=255, default="application/octet-stream")
    fence = models.PositiveIntegerField(default=1)
    lease_expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(condition=Q(reserved_bytes__gte=0), name="upload_reserved_positive"),
            models.CheckConstraint(condition=Q(offset__gte=0), name="upload_offset_positive"),
        ]
        indexes = [models.Index(fields=["lease_expires_at"], name="upload_by_lease")]

    def __str__(self) -> str:
        return f"upload of {self.key}"
