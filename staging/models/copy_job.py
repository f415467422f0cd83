"""Copy jobs: an object, or all below a prefix, is brought to another bucket or key."""

import uuid

from django.db import models
from django.db.models import Q, Sum
from django.utils import timezone

from staging.models.alias import Alias
from staging.models.bucket import Bucket
from staging.models.fields import KeyField, state_check
from staging.models.project import Project
from staging.states import CopyOnExists, CopyState, TransferState


class CopyJob(models.Model):
    """One order to copy or move. ``source_key`` and ``target_key`` are keys, or folders: empty, or ending in ``/``.

    What is found below a folder is worked on a page at a time: ``place`` is behind which key the next page begins, and
    ``listed`` says that there is none. Counts are of objects and bytes that were found, done and left as they were.
    ``start_bytes`` were done when it was started last, so that progress tells the rate. What moves bytes writes through
    ``alias``. The error that is kept is the first.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="copy_jobs")
    source_bucket = models.ForeignKey(Bucket, on_delete=models.CASCADE, related_name="+")
    source_key = KeyField(blank=True)
    target_bucket = models.ForeignKey(Bucket, on_delete=models.CASCADE, related_name="+")
    target_key = KeyField(blank=True)
    moves = models.BooleanField(default=False)
    on_exists = models.CharField(max_length=16, choices=CopyOnExists.choices, default=CopyOnExists.FAIL)
    alias = models.ForeignKey(Alias, on_delete=models.SET_NULL, null=True, related_name="+")
    state = models.CharField(max_length=16, choices=CopyState.choices, default=CopyState.RUNNING)
    place = KeyField(blank=True)
    listed = models.BooleanField(default=False)
    objects_found = models.PositiveIntegerField(default=0)
    bytes_found = models.BigIntegerField(default=0)
    objects_done = models.PositiveIntegerField(default=0)
    bytes_done = models.BigIntegerField(default=0)
    objects_skipped = models.PositiveIntegerField(default=0)
    start_bytes = models.BigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField()
    fence = models.PositiveIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_detail = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            state_check("state", CopyState, "copy_job_state_known"),
            state_check("on_exists", CopyOnExists, "copy_job_on_exists_known"),
        ]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="copy_job_by_project"),
            models.Index(fields=["not_before"], condition=Q(state=CopyState.RUNNING), name="copy_job_running"),
        ]

    def __str__(self) -> str:
        return f"{self.source} to {self.target}"

    @property
    def source(self) -> str:
        """What is copied, as its bucket and key."""
        return f"{self.source_bucket}/{self.source_key}"

    @property
    def target(self) -> str:
        """Where to, as its bucket and key."""
        return f"{self.target_bucket}/{self.target_key}"

    @property
    def is_folder(self) -> bool:
        """Whether all below a prefix is copied."""
        return not self.source_key or self.source_key.endswith("/")

    @property
    def objects_failed(self) -> int:
        """How many objects were given up, until they are tried again."""
        if self.state == CopyState.DONE:
            return 0
        # Lists have both of these counted for all rows at once: copy_progress.with_counts.
        counted: int | None = getattr(self, "counted_failed", None)
        return counted if counted is not None else self.transfers.filter(state=TransferState.FAILED).count()

    @property
    def bytes_moved(self) -> int:
        """The bytes that are done, with those of objects that are on their way."""
        if self.state != CopyState.RUNNING:
            return self.bytes_done
        counted: int | None = getattr(self, "counted_bytes", None)
        if counted is not None:
            return self.bytes_done + counted
        live = self.transfers.filter(state=TransferState.RUNNING).aggregate(bytes=Sum("bytes_done"))["bytes"]
        return self.bytes_done + (live or 0)

    @property
    def bytes_per_s(self) -> int | None:
        """How fast it has been since it was started last; None where it does not run."""
        if self.state != CopyState.RUNNING:
            return None
        seconds = (timezone.now() - self.started_at).total_seconds()
        return round(max(0, self.bytes_moved - self.start_bytes) / max(seconds, 0.001))

    @property
    def seconds_left(self) -> int | None:
        """How long the rest would take at this rate; None where nothing tells, as before all is listed."""
        rate = self.bytes_per_s
        return round(max(0, self.bytes_found - self.bytes_moved) / rate) if rate and self.listed else None
