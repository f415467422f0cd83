"""Nodes: gateways with storages of their own, and whether they are heard of. They are the installation's."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from gateway.admin import dialogs, words
from gateway.admin.drain import NodeDrainForm, node_drain_of
from staging import node_drains
from staging.errors import InvalidRequest
from staging.models import Node
from staging.states import NodeState

_COLOURS = {"active": "success", "suspect": "warning", "lost": "danger", "draining": "warning", "drained": "info"}
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

    list_display = ["name", "state_badge", "heard", "storage_names", "url"]
    list_filter = ["state"]
    search_fields = ["name"]
    list_fullwidth = True
    fields = ["name", "url", "state_badge", "heard", "began", "leaving", "storage_names", "left"]
    readonly_fields = fields
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
        return super().get_queryset(request).prefetch_related("storages")

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
            hours = form.cleaned_data["within_h"]
            deadline_s = round(hours * 3600) if hours else None
            node_drains.start(node, None, to=form.cleaned_data["to"], deadline_s=deadline_s)
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

    @display(description="Left to drain")
    def left(self, row: Node) -> str:
        left = node_drain_of(row)
        return render_to_string("admin/staging/node/drain.html", {"left": left}) if left else words.NOTHING

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
