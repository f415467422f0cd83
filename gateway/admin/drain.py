"""Drains: where a storage's bytes are to go, and what is still there."""

from typing import Any

from django import forms
from django.db.models import Count, QuerySet
from django.urls import reverse
from django.utils.http import urlencode
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget

from adapters import registry
from gateway.admin import progress, words
from gateway.admin.words import DurationField
from staging import drains
from staging.models import Storage
from staging.states import StorageState, TransferState

#: So many of the objects that are left are named.
_NAMED = 10
_LONGEST_S = 366 * 86400


class _DrainForm(BaseDialogForm):
    """Where to, a field ``to`` of each kind's own, and by when."""

    deadline_s = DurationField(
        label="Deadline",
        help_text="From now on. What is left then is told by an event and here; the drain goes on. Empty: none.",
    )

    def offer(self, others: QuerySet[Storage]) -> None:
        """Where the bytes may go."""
        self.fields["to"].queryset = others.order_by("-tier", "name")
        self.fields["to"].label_from_instance = _told

    def clean_deadline_s(self) -> int | None:
        """At most a year, as by the API."""
        given: int | None = self.cleaned_data["deadline_s"]
        if given is not None and given > _LONGEST_S:
            raise forms.ValidationError("At most 366 d.")
        return given


class DrainForm(_DrainForm):
    """Chooses another storage of the same project, one that takes new bytes."""

    to = forms.ModelChoiceField(
        Storage.objects.none(),
        label="To",
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        error_messages={"required": "There is no other active storage in this project."},
    )
    field_order = ["to", "deadline_s"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.offer(others_of(Storage.objects.get(pk=self.object_id)))


class NodeDrainForm(_DrainForm):
    """Chooses one storage off the node for all of its storages, or leaves that to each, and by when."""

    to = forms.ModelChoiceField(
        Storage.objects.none(),
        label="To",
        required=False,
        empty_label="for each storage the one of the highest tier with most room",
        widget=UnfoldAdminSelectWidget(),
    )
    field_order = ["to", "deadline_s"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        projects = Storage.objects.filter(node=self.object_id).values("project")
        self.offer(_written(Storage.objects.filter(project__in=projects).exclude(node=self.object_id)))


def others_of(leaving: Storage) -> QuerySet[Storage]:
    """The storages of its project that take new bytes instead of it."""
    return _written(Storage.objects.filter(project=leaving.project_id).exclude(pk=leaving.pk)).order_by("-tier", "name")


def _written(found: QuerySet[Storage]) -> QuerySet[Storage]:
    written = {scheme for scheme in registry.schemes() if not registry.is_read_only(scheme)}
    return found.filter(state=StorageState.ACTIVE, scheme__in=written)


def drain_of(storage: Storage) -> dict[str, Any] | None:
    """What ``admin/staging/storage/drain.html`` shows of a drain; None where there is none."""
    if storage.state not in drains.LEAVING:
        return None
    left = drains.progress(storage)
    objects = reverse("admin:staging_object_changelist")
    here = {"storage": storage.pk, "bucket__mounted__exact": 0, "versions": "all"}
    # Those that come first by number: to find the first by name takes a look at all.
    some = drains.rows_left(storage).select_related("object__bucket").order_by("pk")[:_NAMED]
    named = [f"{replica.object.bucket}/{replica.object.key}" for replica in some]
    return {
        "to": storage.drain_to,
        "copies": left.replicas,
        "size": words.size(left.bytes),
        "uploads": left.uploads,
        "mounted": left.mounted,
        "is_over": storage.state == StorageState.DRAINED,
        "deadline": words.ago(left.deadline) if left.deadline else "",
        "is_late": left.is_late or storage.drain_is_late,
        "objects": [{"name": name, "url": f"{objects}?{urlencode({'q': name, 'versions': 'all'})}"} for name in named],
        "all_url": f"{objects}?{urlencode(here)}",
        "progress": progress.bar(progress.of_drain(storage, left.measure)) if left.measure else "",
        "transfers": _transfers(storage) if left.replicas else [],
    }


def _transfers(storage: Storage) -> list[dict[str, Any]]:
    """Those that bring what lies there elsewhere, by state."""
    shown = {TransferState.RUNNING: "under way", TransferState.QUEUED: "waiting", TransferState.FAILED: "failed"}
    bringing = drains.bringing(storage).filter(state__in=shown)
    counts = dict(bringing.values_list("state").annotate(count=Count("pk")))
    address = reverse("admin:staging_transfer_changelist")
    return [
        {
            "count": counts[state],
            "words": told,
            "alarm": state == TransferState.FAILED,
            "url": f"{address}?{urlencode({'target__id__exact': storage.drain_to_id, 'state__exact': state})}",
        }
        for state, told in shown.items()
        if counts.get(state)
    ]


def _told(storage: Storage) -> str:
    if storage.capacity_bytes is None:
        return f"{storage}: tier {storage.tier}"
    free = storage.capacity_bytes - storage.used_bytes - storage.reserved_bytes
    return f"{storage}: tier {storage.tier}, {words.size(free)} free"
