"""Nodes: machines whose disks and memory hold copies, which their own gateways serve."""

from django.db import models

from staging.models.fields import state_check, validate_name
from staging.states import NodeState, StorageState


class Node(models.Model):
    """One gateway with storages of its own; it registers by itself and says every few seconds that it is there.

    Peers reach it under ``url``. ``boot_id`` tells a machine that was started anew, whose memory is empty.
    ``changed_at`` is when its state changed last. A node that was told to stop is ``leaving_at`` that moment, one that
    is being emptied ``draining_since``.
    """

    name = models.CharField(max_length=63, unique=True, validators=[validate_name])
    url = models.CharField(max_length=255)
    state = models.CharField(max_length=16, choices=NodeState.choices, default=NodeState.ACTIVE)
    boot_id = models.CharField(max_length=64, blank=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    leaving_at = models.DateTimeField(null=True, blank=True)
    draining_since = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [state_check("state", NodeState, "node_state_known")]

    def __str__(self) -> str:
        return self.name

    @property
    def standing(self) -> str:
        """Its state in one word; one that is heard of may be draining, or drained."""
        if self.state != NodeState.ACTIVE or self.draining_since is None:
            return str(self.state)
        is_empty = all(one.state in (StorageState.DRAINED, StorageState.LOST) for one in self.storages.all())
        return str(StorageState.DRAINED if is_empty else StorageState.DRAINING)
