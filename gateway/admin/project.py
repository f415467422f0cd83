"""Projects with their members. A project is never deleted here: its objects would lose their catalog."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display

from gateway.admin import access
from gateway.admin.owned import OwnedAdmin
from staging.models import Membership, Project
from staging.states import Role


class MemberInline(TabularInline):
    """Who works in the project, and in which role; its administrators decide."""

    model = Membership
    fields = ["user", "role"]
    extra = 0
    hide_title = True
    verbose_name = "member"

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return access.allows(request, Role.ADMIN, obj.pk if obj else None)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_add_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_add_permission(request, obj)


@admin.register(Project)
class ProjectAdmin(OwnedAdmin):
    """Superusers make projects; a project's administrators choose its members."""

    project_path = "pk"
    needed = {"change": Role.ADMIN}
    list_display = ["name", "title", "storage_count", "bucket_count", "member_count", "created"]
    search_fields = ["name", "title"]
    search_help_text = "Name or title"
    fields = ["name", "title"]
    inlines = [MemberInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        rows = super().get_queryset(request)
        counts = {name: Count(name, distinct=True) for name in ("storages", "buckets", "memberships")}
        return rows.annotate(**{f"{name}_count": count for name, count in counts.items()})

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> list[str]:
        """A name is part of what programs send; it stays."""
        return ["name"] if obj else []

    def save_model(self, request: HttpRequest, obj: Project, form: Any, change: bool) -> None:
        """A project is but its name and title; there is no service to go around."""
        obj.save()

    @display(description="Storages", ordering="storages_count")
    def storage_count(self, row: Any) -> int:
        return row.storages_count

    @display(description="Buckets", ordering="buckets_count")
    def bucket_count(self, row: Any) -> int:
        return row.buckets_count

    @display(description="Members", ordering="memberships_count")
    def member_count(self, row: Any) -> int:
        return row.memberships_count
