"""Storages: configured endpoints with a root, a credential and a tier."""

from django.db import models
from django.db.models import F, Q

from staging.models.credential import Credential
from staging.models.fields import state_check, validate_name
from staging.models.node import Node
from staging.models.project import Project
from staging.states import StorageState


class Storage(models.Model):
    """Where bytes lie. ``used_bytes`` and ``reserved_bytes`` count what Waybill put there or is about to.

    ``test_steps`` is what the last test of the connection found: ``{"step", "ok", "detail"}`` in order. While some
    process leaves the storage alone, ``failing_since`` and the last failure say why. Where there is a ``node``, the
    bytes are on that machine's disk or in its memory; ``returns_to`` is the state before the node fell silent. A
    LOST one that returns to nothing was given up by a person. ``drain_replicas`` and ``drain_bytes`` were there when
    the drain began.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="storages")
    name = models.CharField(max_length=63, validators=[validate_name])
    scheme = models.CharField(max_length=16)
    options = models.JSONField(default=dict, blank=True)
    credential = models.ForeignKey(Credential, on_delete=models.PROTECT, null=True, blank=True, related_name="storages")
    tier = models.PositiveSmallIntegerField(
        default=2, choices=[(0, "0: memory"), (1, "1: fast disk"), (2, "2: persistent")]
    )
    state = models.CharField(max_length=16, choices=StorageState.choices, default=StorageState.ACTIVE)
    capacity_bytes = models.BigIntegerField(null=True, blank=True, help_text="Empty: no limit known to Waybill.")
    used_bytes = models.BigIntegerField(default=0, editable=False)
    reserved_bytes = models.BigIntegerField(default=0, editable=False)
    node = models.ForeignKey(
        Node,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="storages",
        help_text="The node whose disk or memory it is; empty: every process reaches it by itself.",
    )
    returns_to = models.CharField(max_length=16, blank=True, db_default="", default="", editable=False)
    site = models.CharField(max_length=63, blank=True, help_text="Where it stands, for policies that spread copies.")
    max_transfers = models.PositiveSmallIntegerField(default=4, help_text="How many transfers may run here at once.")
    drain_to = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Where a drain moves copies.",
    )
    drain_deadline = models.DateTimeField(null=True, blank=True, editable=False)
    drain_is_late = models.BooleanField(default=False, db_default=False, editable=False)
    drain_began_at = models.DateTimeField(null=True, blank=True, editable=False)
    drain_replicas = models.BigIntegerField(default=0, db_default=0, editable=False)
    drain_bytes = models.BigIntegerField(default=0, db_default=0, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)
    tested_at = models.DateTimeField(null=True, blank=True, editable=False)
    test_steps = models.JSONField(default=list, blank=True, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    failing_code = models.CharField(max_length=32, blank=True, db_default="", default="", editable=False)
    failing_detail = models.TextField(blank=True, db_default="", default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="storage_name_once"),
            state_check("state", StorageState, "storage_state_known"),
            models.CheckConstraint(condition=Q(tier__in=[0, 1, 2]), name="storage_tier_known"),
            models.CheckConstraint(
                condition=Q(used_bytes__gte=0, reserved_bytes__gte=0), name="storage_counts_positive"
            ),
            models.CheckConstraint(
                condition=Q(capacity_bytes__isnull=True) | Q(capacity_bytes__gte=F("used_bytes") + F("reserved_bytes")),
                name="storage_within_capacity",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_given_up(self) -> bool:
        """Whether somebody has said that it is gone for good."""
        return self.state == StorageState.LOST and not self.returns_to

    @property
    def test_passed(self) -> bool:
        """Whether every step of the last test went well; False where there was none."""
        return bool(self.test_steps) and all(step["ok"] for step in self.test_steps)
