"""Filters of objects: by version, by the storage that has a copy, and by the checkpoint that holds them."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from unfold.contrib.filters.admin import DropdownFilter

from gateway.admin import access
from staging.models import Checkpoint, CheckpointMember, Object, Replica, Storage


class VersionFilter(DropdownFilter):
    """The versions that stand now, unless all are asked for."""

    title = "versions"
    parameter_name = "versions"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("", "Current"), ("all", "All, with replaced and deleted ones")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Object]) -> QuerySet[Object]:
        return queryset if self.value() == "all" else queryset.filter(current=True)


class StorageFilter(DropdownFilter):
    """What has a copy on one storage. Not by a join: it would have every row of the list looked for twice."""

    title = "storage"
    parameter_name = "storage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        mine = Storage.objects.filter(project__in=access.projects(request))
        return [(str(row.pk), str(row)) for row in mine]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Object]) -> QuerySet[Object]:
        asked = self.value() or ""
        here = Replica.objects.filter(storage=asked).values("object") if asked.isdecimal() else None
        return queryset if here is None else queryset.filter(pk__in=here)


class CheckpointFilter(DropdownFilter):
    """What one checkpoint holds; its page leads here, and only that one is offered, as there may be thousands."""

    title = "checkpoint"
    parameter_name = "checkpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        asked = request.GET.get(self.parameter_name, "")
        mine = Checkpoint.objects.filter(project__in=access.projects(request))
        return [(asked, str(row)) for row in mine.filter(pk=asked)] if asked.isdecimal() else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Object]) -> QuerySet[Object]:
        asked = self.value() or ""
        held = CheckpointMember.objects.filter(checkpoint=asked).values("object") if asked.isdecimal() else None
        return queryset if held is None else queryset.filter(pk__in=held)


def shown_of(request: HttpRequest) -> list[dict[str, str]]:
    """The checkpoint that holds the objects of the list, or the storage on which they have a copy, with its page."""
    kinds: dict[str, tuple[str, Any]] = {
        "checkpoint": ("Held by the checkpoint", Checkpoint),
        "storage": ("With a copy on the storage", Storage),
    }
    found = []
    for name, (told, model) in kinds.items():
        asked = request.GET.get(name, "")
        row = (
            model.objects.filter(project__in=access.projects(request), pk=asked).first() if asked.isdecimal() else None
        )
        if row is not None:
            url = reverse(f"admin:staging_{model._meta.model_name}_change", args=[row.pk])
            found.append({"words": told, "name": str(row), "url": url})
    return found
