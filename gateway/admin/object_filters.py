"""Filters of objects: by version, and by the checkpoint that holds them."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from gateway.admin import access
from staging.models import Checkpoint, Object


class VersionFilter(DropdownFilter):
    """The versions that stand now, unless all are asked for."""

    title = "versions"
    parameter_name = "versions"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("", "Current"), ("all", "All, with replaced and deleted ones")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Object]) -> QuerySet[Object]:
        return queryset if self.value() == "all" else queryset.filter(current=True)


class CheckpointFilter(DropdownFilter):
    """What one checkpoint holds; its page leads here, and only that one is offered, as there may be thousands."""

    title = "checkpoint"
    parameter_name = "checkpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        asked = request.GET.get(self.parameter_name, "")
        mine = Checkpoint.objects.filter(project__in=access.projects(request))
        return [(asked, str(row)) for row in mine.filter(pk=asked)] if asked.isdecimal() else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Object]) -> QuerySet[Object]:
        return queryset.filter(pins__checkpoint=self.value()) if self.value() else queryset
