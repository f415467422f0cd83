"""Transfers: durable, leased work on bytes."""

import uuid

from django.db import models
from django.db.models import Q

from staging.models.fields import state_check
from staging.models.object import Object
from staging.models.project import Project
from staging.models.replica import Replica
from staging.models.storage import Storage
from staging.states import TransferKind, TransferState


class Transfer(models.Model):
    """The truth about one piece of work; a Celery message only wakes it. ``fence`` makes a late worker harmless."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="transfers")
    kind = models.CharField(max_length=16, choices=TransferKind.choices)
    state = models.CharField(max_length=16, choices=TransferState.choices, default=TransferState.QUEUED)
    object = models.ForeignKey(Object, on_delete=models.SET_NULL, null=True, related_name="transfers")
    source = models.ForeignKey(Replica, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    target = models.ForeignKey(Storage, on_delete=models.CASCADE, related_name="transfers")
    label = models.CharField(max_length=1200, blank=True)
    size = models.BigIntegerField(default=0)
    bytes_done = models.BigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=12)
    not_before = models.DateTimeField()
    fence = models.PositiveIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_detail = models.TextField(blank=True)
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
        ]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="transfer_by_project"),
            models.Index(fields=["not_before"], condition=Q(state=TransferState.QUEUED), name="transfer_next"),
            models.Index(fields=["lease_expires_at"], condition=Q(state=TransferState.RUNNING), name="transfer_leases"),
            models.Index(fields=["finished_at"], condition=Q(state=TransferState.DONE), name="transfer_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.label}"
