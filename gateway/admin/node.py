"""Nodes: gateways with storages of their own, and whether they are heard of. They are the installation's."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from gateway.admin import words
from gateway.admin.drain import drain_of
from gateway.admin.usage import bar
from staging.models import Node, Storage
from staging.states import NodeState, StorageState

#: Until then its silence is told in seconds.
_MINUTELY_S = 3600


@admin.register(Node)
class NodeAdmin(ModelAdmin):
    """For superusers: a node registers by itself, its storages have pages of their own. A lost one can be removed."""

    list_display = ["name", "state_badge", "heard", "storage_names", "address"]
    list_filter = [("state", ChoicesDropdownFilter)]
    list_filter_submit = True
    search_fields = ["name", "url", "storages__name"]
    search_help_text = "Part of a name, of the address, or of a storage's name"
    list_fullwidth = True
    none_yet = "A gateway that has a WAYBILL_NODE_NAME registers itself within seconds of its start."
    fieldsets = [
        (None, {"fields": ["name", "state_words", "heard", "address", "storage_table"]}),
        ("Times", {"fields": ["began", "changed", "leaving", "draining"]}),
    ]
    readonly_fields = [name for _, content in fieldsets for name in content["fields"]]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        there = Prefetch("storages", Storage.objects.select_related("drain_to"))
        return super().get_queryset(request).prefetch_related(there)

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
        return words.badge(row.standing)

    @display(description="State")
    def state_words(self, row: Node) -> str:
        """With what comes of its silence, and when."""
        lost = words.duration(settings.NODE_LOST_S)
        told = {
            NodeState.ACTIVE: "",
            NodeState.SUSPECT: f"takes nothing new, and is lost after {lost} of silence",
            NodeState.LOST: "what lies there is not read, and counts no more, until the node is heard of again",
        }
        return format_html("{} {}", words.badge(row.standing), told[NodeState(row.state)])

    @display(description="Last heard of", ordering="seen_at")
    def heard(self, row: Node) -> str:
        """In seconds at first: a node is suspect after some of them."""
        silent = max(0, int((timezone.now() - row.seen_at).total_seconds()))
        told = f"{words.about(silent)} ago" if silent < _MINUTELY_S else words.ago(row.seen_at)
        return format_html('<span class="wb-nowrap" title="{}">{}</span>', words.moment(row.seen_at), told)

    @display(description="Address", ordering="url")
    def address(self, row: Node) -> str:
        return words.code(row.url)

    @display(description="Started", ordering="started_at")
    def began(self, row: Node) -> str:
        return words.ago(row.started_at)

    @display(description="In this state")
    def changed(self, row: Node) -> str:
        return format_html("since {}", words.ago(row.changed_at))

    @display(description="Told to stop")
    def leaving(self, row: Node) -> str:
        return words.ago(row.leaving_at) if row.leaving_at else "no"

    @display(description="Told to be emptied")
    def draining(self, row: Node) -> str:
        return words.ago(row.draining_since) if row.draining_since else "no"

    @display(description="Storages")
    def storage_names(self, row: Node) -> str:
        """With the state of those that do not just work."""
        lines = [(_page(one), one, _unusual(one)) for one in row.storages.all()]
        told = format_html_join("", '<div><a class="text-link" href="{}">{}</a> {}</div>', lines)
        return format_html('<div class="wb-cell">{}</div>', told) if lines else words.NOTHING

    @display(description="Storages")
    def storage_table(self, row: Node) -> str:
        """How full each is, and what a drain has left there."""
        rows = [
            {"name": one, "url": _page(one), "state": words.badge(one.state), "bar": bar(one), "drain": drain_of(one)}
            for one in row.storages.all()
        ]
        return render_to_string("admin/staging/node/storages.html", {"storages": rows})


def _page(storage: Storage) -> str:
    return reverse("admin:staging_storage_change", args=[storage.pk])


def _unusual(storage: Storage) -> str:
    return words.badge(storage.state) if storage.state != StorageState.ACTIVE else ""
