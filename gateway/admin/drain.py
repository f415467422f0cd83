"""Drains: where a storage's bytes are to go, and what is still there."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.http import urlencode
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminSelectWidget

from adapters import registry
from gateway.admin import words
from staging import drains
from staging.models import Node, Storage
from staging.states import StorageState

#: So many of the objects that are left are named.
_NAMED = 10

LEAVING = (StorageState.DRAINING, StorageState.DRAINED)


class DrainForm(BaseDialogForm):
    """Chooses another storage of the same project, one that takes new bytes."""

    to = forms.ModelChoiceField(
        Storage.objects.none(),
        label="To",
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        error_messages={"required": "There is no other active storage in this project."},
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["to"].queryset = others_of(Storage.objects.get(pk=self.object_id))
        self.fields["to"].label_from_instance = _told


class NodeDrainForm(BaseDialogForm):
    """Chooses one storage off the node for all of its storages, or leaves that to each, and by when."""

    to = forms.ModelChoiceField(
        Storage.objects.none(),
        label="To",
        required=False,
        empty_label="for each storage the one of the highest tier with most room",
        widget=UnfoldAdminSelectWidget(),
    )
    within_h = forms.FloatField(
        label="Within hours",
        required=False,
        min_value=0,
        max_value=366 * 24,
        help_text="An event tells if something is left then; it goes on all the same.",
        widget=UnfoldAdminDecimalFieldWidget(),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        projects = Storage.objects.filter(node=self.object_id).values("project")
        fit = Storage.objects.filter(project__in=projects, state=StorageState.ACTIVE).exclude(node=self.object_id)
        self.fields["to"].queryset = fit.order_by("-tier", "name")
        self.fields["to"].label_from_instance = _told


def node_drain_of(node: Node) -> list[dict[str, Any]]:
    """What ``admin/staging/node/drain.html`` shows of a drain, a row for each storage; none where there is none."""
    if node.draining_since is None:
        return []
    rows = []
    for storage in node.storages.select_related("drain_to"):
        left = drains.progress(storage)
        told = {"copies": left.replicas, "size": words.size(left.bytes), "uploads": left.uploads}
        deadline = words.moment(left.deadline) if left.deadline else ""
        badge = words.badge("late", "danger") if left.is_late else words.badge(storage.state)
        rows.append({"storage": storage, "deadline": deadline, "badge": badge, **told})
    return rows


def others_of(leaving: Storage) -> QuerySet[Storage]:
    """The storages of its project that take new bytes instead of it."""
    others = Storage.objects.filter(project=leaving.project_id, state=StorageState.ACTIVE).exclude(pk=leaving.pk)
    written = {scheme for scheme in registry.schemes() if not registry.is_read_only(scheme)}
    return others.filter(scheme__in=written).order_by("-tier", "name")


def drain_of(storage: Storage) -> dict[str, Any] | None:
    """What ``admin/staging/storage/panel.html`` shows of a drain; None where there is none."""
    if storage.state not in LEAVING:
        return None
    left = drains.progress(storage)
    objects = reverse("admin:staging_object_changelist")
    named = list(drains.left(storage, _NAMED)) if left.replicas else []
    return {
        "to": storage.drain_to,
        "copies": left.replicas,
        "size": words.size(left.bytes),
        "uploads": left.uploads,
        "mounted": left.mounted,
        "objects": [{"name": name, "url": f"{objects}?{urlencode({'q': name})}"} for name in named],
        "more": max(0, left.replicas - len(named)),
    }


def _told(storage: Storage) -> str:
    if storage.capacity_bytes is None:
        return f"{storage}: tier {storage.tier}"
    free = storage.capacity_bytes - storage.used_bytes - storage.reserved_bytes
    return f"{storage}: tier {storage.tier}, {words.size(free)} free"
