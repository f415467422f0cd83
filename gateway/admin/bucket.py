"""Buckets: managed by Waybill, or a folder of a storage mounted in place."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import F
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from gateway.admin import access, words
from gateway.admin.owned import OwnedAdmin, SeenFilter
from gateway.admin.service_form import ServiceForm, bind
from gateway.admin.words import NameField, SizeField
from staging import buckets
from staging.buckets import BucketSpec
from staging.models import Bucket, Storage
from staging.policies import Policy
from staging.states import Role


class _PolicyForm(ServiceForm):
    max_object_bytes = SizeField(
        label="Largest object", help_text="Larger uploads are refused. Empty for the gateway's own limit."
    )

    class Meta:
        model = Bucket
        fields: list[str] = []

    def policy(self) -> dict[str, Any]:
        """The policy's fields that were filled in."""
        limit = self.cleaned_data["max_object_bytes"]
        return {"max_object_bytes": limit} if limit else {}


class NewBucketForm(_PolicyForm):
    """A bucket lies on one storage and belongs to that storage's project."""

    storage = forms.ModelChoiceField(Storage.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget())
    name = NameField()
    mounted = forms.TypedChoiceField(
        label="Kind",
        choices=[("", "Managed: Waybill decides where the bytes lie"), ("yes", "Mounted: mirrors a folder, in place")],
        coerce=bool,
        empty_value=False,
        required=False,
        widget=UnfoldAdminSelectWidget(),
    )
    prefix = forms.CharField(
        label="Folder",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "projects/2026/"}),
        help_text="Of a mounted bucket: the folder below the storage's root. Empty for the whole storage.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        mine = Storage.objects.filter(project__in=access.projects(self.request, Role.ADMIN)).select_related("project")
        self.fields["storage"].queryset = mine
        if access.sees_several(self.request):
            self.fields["storage"].label_from_instance = lambda row: f"{row.project} / {row}"

    def serve(self) -> Bucket:
        asked = self.cleaned_data
        spec = BucketSpec(asked["name"], asked["storage"], asked["mounted"], asked["prefix"], self.policy())
        return buckets.create(asked["storage"].project, spec)


class ChangePolicyForm(_PolicyForm):
    """Where a bucket lies never changes, its policy may."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["max_object_bytes"] = self.instance.policy.get("max_object_bytes") or None

    def serve(self) -> Bucket:
        buckets.set_policy(self.instance, self.policy())
        return self.instance


@admin.register(Bucket)
class BucketAdmin(OwnedAdmin):
    """Storages' own root buckets come last in the list."""

    needed = {"add": Role.ADMIN, "change": Role.ADMIN, "delete": Role.ADMIN}
    list_display = ["name", "project", "kind", "place", "limit", "objects_link"]
    list_filter = [("project", SeenFilter), "mounted", ("storage", SeenFilter)]
    list_select_related = ["project", "storage"]
    search_fields = ["name"]
    search_help_text = "Name"
    ordering = ["mounted", "name"]
    readonly_fields = ["name", "project", "kind", "place", "created", "objects_link"]
    add_fieldsets = [
        (None, {"fields": ["storage", "name", "mounted", "prefix"]}),
        ("Policy", {"fields": ["max_object_bytes"]}),
    ]

    def get_form(self, request: HttpRequest, obj: Bucket | None = None, change: bool = False, **options: Any) -> Any:
        if obj is None:
            return bind(NewBucketForm, request)
        if not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change, **options)
        return bind(ChangePolicyForm, request)

    def get_fieldsets(self, request: HttpRequest, obj: Bucket | None = None) -> Any:
        if obj is None:
            return self.add_fieldsets
        policy = ["max_object_bytes"] if self.has_change_permission(request, obj) else ["limit"]
        about = ["name", "project", "kind", "place", "objects_link", "created"]
        return [(None, {"fields": about}), ("Policy", {"fields": policy})]

    def get_readonly_fields(self, request: HttpRequest, obj: Bucket | None = None) -> Any:
        return super().get_readonly_fields(request, obj) if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A storage's root bucket goes with the storage."""
        is_root = isinstance(obj, Bucket) and buckets.is_root(obj)
        return not is_root and super().has_delete_permission(request, obj)

    def delete_model(self, request: HttpRequest, obj: Bucket) -> None:
        buckets.delete(obj)

    @display(description="Kind", ordering=F("mounted").asc())
    def kind(self, row: Bucket) -> str:
        return words.badge("mounted", "info") if row.mounted else words.badge("managed", "primary")

    @display(description="Lies on", ordering="storage__name")
    def place(self, row: Bucket) -> str:
        link = reverse("admin:staging_storage_change", args=[row.storage_id])
        folder = words.code(f"/{row.prefix}") if row.mounted else ""
        return format_html('<a class="text-link" href="{}">{}</a> {}', link, row.storage, folder)

    @display(description="Largest object")
    def limit(self, row: Bucket) -> str:
        most = Policy.parse(row.policy).max_object_bytes
        return words.size(most) if most else "the gateway's limit"

    @display(description="Objects")
    def objects_link(self, row: Bucket) -> str:
        link = f"{reverse('admin:staging_object_changelist')}?{urlencode({'bucket__id__exact': row.pk})}"
        return format_html('<a class="text-link" href="{}">Show objects</a>', link)
