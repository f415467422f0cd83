"""Transfers: durable, leased work on bytes."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from staging.models.copy_job import CopyJob
from staging.models.fields import KeyField, state_check
from staging.models.object import Object
from staging.models.project import Project
from staging.models.replica import Replica
from staging.models.storage import Storage
from staging.states import TransferKind, TransferState


class Transfer(models.Model):
    """The truth about one piece of work; a Celery message only wakes it. ``fence`` makes a late worker harmless.

    ``source`` is the replica that is removed or verified; a copy reads from any good one. Transfers of a lower
    ``priority`` number go first. ``start_offset`` is how many bytes were there when this attempt began, so that
    progress tells the rate; ``token`` is the storage's name for a copy that was suspended. The first error is kept, and
    the last besides. One that is part of a copy ``job`` has no object: it brings ``source_key`` of the job's one bucket
    to ``target_key`` of the other, and ``token`` says which version it began with.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="transfers")
    kind = models.CharField(max_length=16, choices=TransferKind.choices)
    state = models.CharField(max_length=16, choices=TransferState.choices, default=TransferState.QUEUED)
    object = models.ForeignKey(Object, on_delete=models.SET_NULL, null=True, related_name="transfers")
    source = models.ForeignKey(Replica, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    target = models.ForeignKey(Storage, on_delete=models.CASCADE, related_name="transfers")
    job = models.ForeignKey(CopyJob, on_delete=models.CASCADE, null=True, blank=True, related_name="transfers")
    source_key = KeyField(blank=True, default="")
    target_key = KeyField(blank=True, default="")
    label = models.CharField(max_length=1200, blank=True)
    size = models.BigIntegerField(default=0)
    bytes_done = models.BigIntegerField(default=0)
    start_offset = models.BigIntegerField(default=0)
    token = models.CharField(max_length=1400, blank=True)
    priority = models.PositiveSmallIntegerField(default=50)
    reason = models.CharField(max_length=200, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=12)
    not_before = models.DateTimeField()
    fence = models.PositiveIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True, help_text="When somebody asked for it to stop.")
    error_code = models.CharField(max_length=40, blank=True)
    error_detail = models.TextField(blank=True)
    last_error_code = models.CharField(max_length=40, blank=True, default="", db_default="")
    last_error_detail = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            state_check("kind", TransferKind, "transfer_kind_known"),
            state_check("state", TransferState, "transfer_state_known"),
            models.CheckConstraint(
                condition=~Q(state=TransferState.RUNNING) | Q(lease_expires_at__isnull=False),
                name="transfer_running_has_lease",
            ),
            models.UniqueConstraint(
                fields=["object", "target"],
                condition=Q(
                    state__in=[TransferState.QUEUED, TransferState.RUNNING],
                    kind__in=[TransferKind.FLUSH, TransferKind.REPLICATE, TransferKind.PROMOTE],
                ),
                name="transfer_one_copy",
            ),
            models.UniqueConstraint(
                fields=["job", "source_key"], condition=Q(job__isnull=False), name="transfer_once_a_job"
            ),
            models.UniqueConstraint(
                fields=["object", "target", "kind"],
                condition=Q(state__in=[TransferState.QUEUED, TransferState.RUNNING]),
                name="transfer_one_live",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="transfer_by_project"),
            models.Index(
                fields=["priority", "not_before"], condition=Q(state=TransferState.QUEUED), name="transfer_next"
            ),
            models.Index(
                fields=["target", "priority", "not_before"],
                condition=Q(state=TransferState.QUEUED),
                name="transfer_next_at",
            ),
            models.Index(
                fields=["project", "-created_at", "-id"],
                condition=Q(state=TransferState.FAILED),
                name="transfer_failed",
            ),
            models.Index(fields=["target"], condition=Q(state=TransferState.RUNNING), name="transfer_running_at"),
            models.Index(fields=["lease_expires_at"], condition=Q(state=TransferState.RUNNING), name="transfer_leases"),
            models.Index(
                fields=["finished_at"],
                condition=Q(state__in=[TransferState.DONE, TransferState.CANCELLED]),
                name="transfer_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.label}"

    @property
    def ended_otherwise(self) -> bool:
        """Whether the last error says something else than the first."""
        last = self.last_error_code, self.last_error_detail
        return bool(self.last_error_code) and last != (self.error_code, self.error_detail)

    @property
    def bytes_per_s(self) -> int | None:
        """How fast the attempt that runs has been so far; None where none runs."""
        if self.state != TransferState.RUNNING or self.started_at is None:
            return None
        seconds = (timezone.now() - self.started_at).total_seconds()
        return round(max(0, self.bytes_done - self.start_offset) / max(seconds, 0.001))

    @property
    def seconds_left(self) -> int | None:
        """How long the rest would take at this rate; None where nothing tells."""
        rate = self.bytes_per_s
        return round((self.size - self.bytes_done) / rate) if rate else None
