"""Aliases: expiring, revocable names of one object, or of all below a prefix, and of one direction."""

import uuid

from django.db import models
from django.db.models import Q

from staging.models.api_key import ApiKey
from staging.models.bucket import Bucket
from staging.models.fields import KeyField, is_sha256, state_check
from staging.models.project import Project
from staging.states import AliasMode, OnExists


class Alias(models.Model):
    """What a token stands for. It stores times and counts, never a status.

    ``token_sha256`` finds the row; the token itself is made from the row's id by a key that is not in the database
    (``staging/aliases.py``). Of a prefix alias ``key`` is the prefix: empty, or ending in ``/``.

    ``lifetime_s`` is set where the lifetime begins with the first use; ``idle_until`` moves ahead by ``idle_s`` with
    each use, where disuse ends the alias too.
    ``max_bytes`` bounds one body, ``max_total_bytes`` all that was written through the alias (``written_bytes``).
    ``delivered`` holds the ranges ``[start, stop)`` of the version ``delivered_version`` that partial reads have
    brought, as long as they do not make a whole delivery. ``failed_at`` is when the producer gave up.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    token_key_id = models.CharField(max_length=8, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="aliases")
    bucket = models.ForeignKey(Bucket, on_delete=models.CASCADE, related_name="aliases")
    key = KeyField()
    checkpoint = models.ForeignKey(
        "staging.Checkpoint",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="aliases",
        help_text="The version that this checkpoint holds is read, not the current one.",
    )
    mode = models.CharField(max_length=16, choices=AliasMode.choices)
    on_exists = models.CharField(max_length=16, choices=OnExists.choices, default=OnExists.FAIL)
    allow_empty_stream = models.BooleanField(default=False)
    redirect = models.BooleanField(default=False, help_text="A request may be sent on to the storage itself.")
    expires_at = models.DateTimeField()
    lifetime_s = models.PositiveIntegerField(null=True, blank=True)
    idle_s = models.PositiveIntegerField(null=True, blank=True)
    idle_until = models.DateTimeField(null=True, blank=True, editable=False)
    first_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    failure = models.CharField(max_length=255, blank=True, default="")
    max_uses = models.PositiveIntegerField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0, editable=False)
    max_bytes = models.BigIntegerField(null=True, blank=True)
    max_total_bytes = models.BigIntegerField(null=True, blank=True)
    written_bytes = models.BigIntegerField(default=0, editable=False)
    max_rate = models.BigIntegerField(null=True, blank=True, help_text="Bytes a second of one request.")
    max_requests = models.PositiveIntegerField(null=True, blank=True, help_text="Streams at a time.")
    networks = models.JSONField(default=list, blank=True, help_text="The client networks it may be used from.")
    delivered = models.JSONField(default=list, blank=True, editable=False)
    delivered_version = models.CharField(max_length=64, blank=True, default="", editable=False)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    size = models.BigIntegerField(null=True, blank=True)
    content_type = models.CharField(max_length=255, blank=True, default="")
    labels = models.JSONField(default=dict, blank=True)
    created_by = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True, related_name="aliases")
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name_plural = "aliases"
        ordering = ["-created_at", "-id"]
        constraints = [
            state_check("mode", AliasMode, "alias_mode_known"),
            state_check("on_exists", OnExists, "alias_on_exists_known"),
            models.CheckConstraint(condition=Q(sha256="") | is_sha256("sha256"), name="alias_sha256_is_whole"),
            models.CheckConstraint(condition=Q(size__isnull=True) | Q(size__gte=0), name="alias_size_positive"),
            models.CheckConstraint(
                condition=Q(max_bytes__isnull=True) | Q(max_bytes__gte=0), name="alias_max_bytes_positive"
            ),
            models.CheckConstraint(
                condition=Q(checkpoint=None) | Q(mode=AliasMode.READ), name="alias_of_checkpoint_reads"
            ),
            models.CheckConstraint(condition=Q(written_bytes__gte=0), name="alias_written_positive"),
            models.CheckConstraint(
                condition=~Q(mode__in=[AliasMode.READ_PREFIX, AliasMode.WRITE_PREFIX])
                | Q(key="")
                | Q(key__endswith="/"),
                name="alias_prefix_is_a_folder",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="alias_by_project"),
            models.Index(fields=["bucket", "key", "mode"], name="alias_by_target"),
            models.Index(fields=["expires_at"], name="alias_by_expiry"),
            models.Index(fields=["revoked_at"], condition=Q(revoked_at__isnull=False), name="alias_revoked"),
        ]

    def __str__(self) -> str:
        return f"{self.mode} {self.bucket}/{self.key}"
