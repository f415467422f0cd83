"""Nodes: gateways with storages of their own, and whether they are heard of. They are the installation's."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display

from gateway.admin import words
from staging.models import Node
from staging.states import NodeState

_COLOURS = {"active": "success", "suspect": "warning", "lost": "danger", "draining": "warning", "drained": "info"}


@admin.register(Node)
class NodeAdmin(ModelAdmin):
    """For superusers: a node registers by itself, its storages have pages of their own. A lost one can be removed."""

    list_display = ["name", "state_badge", "heard", "storage_names", "url"]
    list_filter = ["state"]
    search_fields = ["name"]
    list_fullwidth = True
    fields = ["name", "url", "state_badge", "heard", "began", "leaving", "storage_names"]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        return super().get_queryset(request).prefetch_related("storages")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """One that does not come back; Django tells of storages that are in the way."""
        return self.has_view_permission(request) and (obj is None or obj.state == NodeState.LOST)

    @display(description="State", ordering="state")
    def state_badge(self, row: Node) -> str:
        return words.badge(row.standing, _COLOURS[row.standing])

    @display(description="Last heard of", ordering="seen_at")
    def heard(self, row: Node) -> str:
        return words.ago(row.seen_at)

    @display(description="Started", ordering="started_at")
    def began(self, row: Node) -> str:
        return words.ago(row.started_at)

    @display(description="Told to stop")
    def leaving(self, row: Node) -> str:
        return words.ago(row.leaving_at) if row.leaving_at else words.NOTHING

    @display(description="Storages")
    def storage_names(self, row: Node) -> str:
        return ", ".join(str(storage) for storage in row.storages.all()) or words.NOTHING
