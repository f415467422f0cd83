"""Nodes: gateways with storages of their own, and whether they are heard of. They are the installation's."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from gateway.admin import dialogs, words
from gateway.admin.drain import NodeDrainForm, drain_of
from gateway.admin.usage import bar
from staging import node_drains
from staging.errors import InvalidRequest
from staging.models import Node, Storage
from staging.states import NodeState, StorageState

#: Until then its silence is told in seconds.
_MINUTELY_S = 3600
_DRAIN = dialogs.confirm(
    "Drain this node?",
    "Its storages take no new data, and workers move the copies of managed objects off the node, those that lie "
    "nowhere else first. All stay readable. It can be cancelled; what was moved stays where it is.",
    "Drain",
    NodeDrainForm,
)
_CANCEL = dialogs.confirm(
    "Cancel the drain?", "Its storages take new data again. What was moved stays where it is.", "Take new data again"
)


@admin.register(Node)
class NodeAdmin(ModelAdmin):
    """For superusers: a node registers by itself, its storages have pages of their own. It is drained here, and a lost
    one can be removed.
    """

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

    actions_detail = ["drain", "cancel_drain"]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Without what the node's state leaves no sense to."""
        node = self.get_object(request, object_id)
        drains = node is not None and node.draining_since is not None
        senseless = {
            "staging_node_drain": node is None or drains or node.state != NodeState.ACTIVE,
            "staging_node_cancel_drain": not drains,
        }
        offered = super().get_actions_detail(request, object_id)
        return [deed for deed in offered if not senseless.get(deed.action_name)]

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

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What its buttons ask for."""
        return self.has_view_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """One that does not come back; Django tells of storages that are in the way."""
        return self.has_view_permission(request) and (obj is None or obj.state == NodeState.LOST)

    @action(description="Drain…", permissions=["operate"], icon="output", dialog=_DRAIN)
    def drain(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        def start(node: Node) -> str:
            given = form.cleaned_data
            node_drains.start(node, None, to=given["to"], deadline_s=given["deadline_s"])
            return f"The node {node} is being drained."

        return self._done(request, object_id, start)

    @action(description="Cancel drain", permissions=["operate"], icon="undo", dialog=_CANCEL)
    def cancel_drain(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        def cancel(node: Node) -> str:
            node_drains.cancel(node, None)
            return f"The node {node} takes new data again."

        return self._done(request, object_id, cancel)

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

    def _done(self, request: HttpRequest, object_id: str, work: Callable[[Node], str]) -> HttpResponse:
        """Do the work of a dialog, say how it went, and show the node's page."""
        node = get_object_or_404(Node, pk=object_id)
        try:
            said = work(node)
        except InvalidRequest as exc:
            self.message_user(request, " ".join([str(exc), *exc.fields.values()]), messages.ERROR)
        else:
            self.log_change(request, node, said)
            self.message_user(request, said, messages.SUCCESS)
        return HttpResponse(headers={"HX-Redirect": reverse("admin:staging_node_change", args=[node.pk])})


def _page(storage: Storage) -> str:
    return reverse("admin:staging_storage_change", args=[storage.pk])


def _unusual(storage: Storage) -> str:
    return words.badge(storage.state) if storage.state != StorageState.ACTIVE else ""
