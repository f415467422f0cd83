"""Checkpoints: sets of versions that are kept together, and made safe together."""

from django.db import models

from staging.models.api_key import ApiKey
from staging.models.bucket import Bucket
from staging.models.fields import KeyField, state_check, validate_name
from staging.models.object import Object
from staging.models.project import Project
from staging.states import CheckpointState


class Checkpoint(models.Model):
    """The versions that were current at ``created_at`` below ``prefix`` of a bucket, or that a run's aliases wrote.

    ``labels`` are those of the run's aliases; empty where the checkpoint is of a prefix. ``count`` and ``size`` are of
    all members. ``failure`` tells, in words, what was lost, or is waited for. While a restore goes on,
    ``restoring_since`` says since when, and ``place`` behind which member it goes on. From ``released_at`` on the
    checkpoint is being deleted.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="checkpoints")
    name = models.CharField(max_length=63, validators=[validate_name])
    bucket = models.ForeignKey(Bucket, on_delete=models.CASCADE, null=True, blank=True, related_name="checkpoints")
    prefix = KeyField(blank=True, default="")
    labels = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=16, choices=CheckpointState.choices, default=CheckpointState.PENDING)
    count = models.PositiveIntegerField(default=0)
    size = models.BigIntegerField(default=0)
    failure = models.TextField(blank=True, default="")
    created_by = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    restoring_since = models.DateTimeField(null=True, blank=True)
    restored_at = models.DateTimeField(null=True, blank=True)
    place = models.BigIntegerField(default=0)
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="checkpoint_name_once"),
            state_check("state", CheckpointState, "checkpoint_state_known"),
        ]

    def __str__(self) -> str:
        return self.name


class CheckpointMember(models.Model):
    """One version of a checkpoint, and the ``key`` that it had then."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.CASCADE, related_name="members")
    object = models.ForeignKey(Object, on_delete=models.CASCADE, related_name="pins")
    key = KeyField()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["checkpoint", "object"], name="checkpoint_member_once")]

    def __str__(self) -> str:
        return f"{self.key} in {self.checkpoint}"
