"""Buckets: managed by Waybill, or a folder of a storage mounted in place."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from gateway.admin import access, policy_form, policy_words, words
from gateway.admin.browse import browse_page
from gateway.admin.owned import OwnedAdmin, SeenFilter
from gateway.admin.policy_form import PolicyForm, shown
from gateway.admin.service_form import bind
from gateway.admin.words import NameField
from staging import buckets
from staging.buckets import BucketSpec
from staging.models import Bucket, Storage
from staging.policies import Policy
from staging.states import Role


class NewBucketForm(PolicyForm):
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
        mine = Storage.objects.filter(project__in=access.projects(self.request, Role.ADMIN))
        mine = mine.select_related("project", "node").order_by("name")
        self.fields["storage"].queryset = mine
        several = access.sees_several(self.request)
        told = policy_form.told
        self.fields["storage"].label_from_instance = lambda row: (
            f"{row.project} / {told(row)}" if several else told(row)
        )
        self.offer(mine, grouped=several)

    def serve(self) -> Bucket:
        asked = self.cleaned_data
        spec = BucketSpec(asked["name"], asked["storage"], asked["mounted"], asked["prefix"], self.policy())
        return buckets.create(asked["storage"].project, spec)


class ChangePolicyForm(PolicyForm):
    """Where a bucket lies never changes, its policy may; a mounted one's says no more than how large objects may be."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        bucket = self.instance
        policy = Policy.parse(bucket.policy)
        self.initial |= shown(policy)
        others = Storage.objects.filter(project=bucket.project_id).exclude(pk=bucket.storage_id)
        self.offer(others, grouped=False, policy=policy)
        if bucket.mounted:
            self.fields = {"max_object_bytes": self.fields["max_object_bytes"]}

    def serve(self) -> Bucket:
        buckets.set_policy(self.instance, self.policy())
        return self.instance


@admin.register(Bucket)
class BucketAdmin(OwnedAdmin):
    """Storages' own root buckets come last in the list."""

    needed = {"add": Role.ADMIN, "change": Role.ADMIN, "delete": Role.ADMIN}
    list_display = ["name", "project", "kind", "place", "policy_gist", "objects_link"]
    list_filter = [("project", SeenFilter), "mounted", ("storage", SeenFilter)]
    list_select_related = ["project", "storage"]
    search_fields = ["name"]
    search_help_text = "Name"
    ordering = ["mounted", "name"]
    actions_detail = ["browse"]
    # What the other write modes do not ask for.
    conditional_fields = {
        "prefix": "mounted === 'yes'",
        "flush_within_s": "write === 'back'",
        "dirty_budget_bytes": "write === 'back'",
        "spill": "write === 'ephemeral'",
    }
    readonly_fields = ["name", "project", "kind", "place", "created", "objects_link"]
    add_fieldsets = [
        (None, {"fields": ["storage", "name", "mounted", "prefix"]}),
        *policy_form.fieldsets(folded=True),
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
        about = (None, {"fields": ["name", "project", "kind", "place", "objects_link", "created"]})
        if not self.has_change_permission(request, obj):
            return [about, ("Policy", {"fields": ["limit" if obj.mounted else "policy_words"]})]
        if obj.mounted:
            return [about, ("Policy", {"fields": ["max_object_bytes"]})]
        return [about, *policy_form.fieldsets(folded=False)]

    def get_readonly_fields(self, request: HttpRequest, obj: Bucket | None = None) -> Any:
        return super().get_readonly_fields(request, obj) if obj else []

    @action(description="Browse", icon="folder_open", permissions=["view"])
    def browse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        bucket = self.seen(request, object_id)
        return browse_page(self, request, bucket, bucket)

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

    @display(description="Policy")
    def policy_gist(self, row: Bucket) -> str:
        return words.NOTHING if row.mounted else policy_words.gist(Policy.parse(row.policy))

    @display(description="Policy")
    def policy_words(self, row: Bucket) -> str:
        return policy_words.table(row)

    @display(description="Largest object")
    def limit(self, row: Bucket) -> str:
        return policy_words.limit(Policy.parse(row.policy))

    @display(description="Objects")
    def objects_link(self, row: Bucket) -> str:
        link = f"{reverse('admin:staging_object_changelist')}?{urlencode({'bucket__id__exact': row.pk})}"
        folders = reverse("admin:staging_bucket_browse", args=[row.pk])
        both = '<a class="text-link" href="{}">List</a> · <a class="text-link" href="{}">Browse</a>'
        return format_html(both, link, folders)
