"""Objects with their replicas: seen, and deleted with their bytes."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.paginator import InfinitePaginator

from adapters.errors import AdapterError
from gateway.admin import access, copy_form, dialogs, words
from gateway.admin.alias import aliases_of
from gateway.admin.object_filters import CheckpointFilter, StorageFilter, VersionFilter, shown_of
from gateway.admin.owned import OwnedAdmin, ReadOnlyInline, SeenFilter
from gateway.admin.transfer import transfers_of
from staging import explaining, objects, placement
from staging.errors import StagingError
from staging.models import Bucket, Checkpoint, Object, Replica
from staging.models.fields import behind
from staging.states import ObjectState, Role

_VERIFY = dialogs.confirm(
    "Read back every copy?",
    "Workers compare each with the digest of the object. A damaged one is read by nobody any more, and made anew from "
    "another.",
    "Verify copies",
)

_DEMOTE = dialogs.confirm(
    "Let the fast copies go?",
    "They stay until the bytes are where the bucket's policy has them persist. Reading the object may bring one back.",
    "Demote",
)


#: So many of them are named.
_CHECKPOINTS = 20


class ReplicaInline(ReadOnlyInline, TabularInline):
    """Where the copies of the version are."""

    model = Replica
    fields = readonly_fields = ["place", "tier", "state_badge", "location", "verified"]
    verbose_name_plural = "replicas"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Replica]:
        return super().get_queryset(request).select_related("storage")

    @display(description="Storage")
    def place(self, row: Replica) -> str:
        link = reverse("admin:staging_storage_change", args=[row.storage_id])
        return format_html('<a class="text-link" href="{}">{}</a>', link, row.storage)

    @display(description="Tier")
    def tier(self, row: Replica) -> str:
        return row.storage.get_tier_display()

    @display(description="State")
    def state_badge(self, row: Replica) -> str:
        dirty = words.badge("dirty", "warning") if row.dirty else ""
        return format_html("{} {}", words.badge(row.state), dirty)

    @display(description="Key on the storage")
    def location(self, row: Replica) -> str:
        return words.code(row.key)

    @display(description="Verified")
    def verified(self, row: Replica) -> str:
        return words.ago(row.verified_at)


@admin.register(Object)
class ObjectAdmin(OwnedAdmin):
    """Searched by bucket and prefix, as in ``scratch/results/2026``."""

    project_path = "bucket__project_id"
    needed = {"delete": Role.OPERATOR, "operate": Role.OPERATOR}
    list_display = ["path", "version", "size_words", "state_badge", "durability", "created"]
    list_filter = [
        ("bucket", SeenFilter),
        VersionFilter,
        ("state", ChoicesDropdownFilter),
        StorageFilter,
        CheckpointFilter,
    ]
    list_select_related = ["bucket__storage"]
    search_fields = ["key"]
    search_help_text = "bucket/prefix, or a prefix"
    none_yet = "Objects come through write aliases, by copies, or as files of mounted buckets."
    paginator = InfinitePaginator
    show_full_result_count = False
    list_fullwidth = True
    list_before_template = "admin/staging/object/shown.html"
    inlines = [ReplicaInline]
    actions_detail = ["verify", "demote", "copy"]
    change_form_outer_after_template = "admin/staging/object/explain.html"
    fieldsets = [
        (None, {"fields": ["path", "version_words", "state_badge", "durability", "size_words_exact", "created"]}),
        ("Content", {"fields": ["sha256_code", "content_type", "metadata_words", "identity"]}),
        ("Uses", {"fields": ["alias_words", "transfer_words", "checkpoint_words"]}),
    ]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Also what a drain has left, which the page of its storage leads to."""
        return lookup == "bucket__mounted__exact" or super().lookup_allowed(lookup, value, request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """What other pages lead to says whose objects they are."""
        return super().changelist_view(request, {"shown_of": shown_of(request), **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Object]:
        return super().get_queryset(request).prefetch_related("replicas__storage")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Object], search_term: str
    ) -> tuple[QuerySet[Object], bool]:
        """Keys that begin with the term; its first part may name the bucket."""
        term = search_term.strip()
        name, slash, rest = term.partition("/")
        buckets = Bucket.objects.filter(name=name, project__in=access.projects(request)) if slash else []
        if slash and buckets:
            queryset, term = queryset.filter(bucket__in=buckets), rest
        return (queryset.filter(key__gte=term, key__lt=behind(term)) if term else queryset), False

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """None for what Waybill does not move, or not any more."""
        return super().get_actions_detail(request, object_id) if _is_kept(self.seen(request, object_id)) else []

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        target = self.seen(request, object_id)
        context = _explained(target) if _is_kept(target) else {}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    @action(description="Verify copies", permissions=["operate"], icon="fact_check", dialog=_VERIFY)
    def verify(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        target = self.seen(request, object_id)
        try:
            asked = objects.verify(target.bucket, target.key)
        except StagingError as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return self.back_to(target)
        if not asked:
            self.message_user(request, "There is no copy that could be read.", messages.WARNING)
            return self.back_to(target)
        count = "The copy is" if len(asked) == 1 else f"{len(asked)} copies are"
        return self.done(request, target, f"{count} to be read back; what comes of it is shown with the copies.")

    @action(description="Demote", permissions=["operate"], icon="vertical_align_bottom", dialog=_DEMOTE)
    def demote(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        target = self.seen(request, object_id)
        try:
            asked = objects.demote(target.bucket, target.key)
        except StagingError as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return self.back_to(target)
        return self.done(request, target, "Its fast copies go." if asked else "It has no fast copies.")

    @action(description="Copy or move", permissions=["operate"], icon="content_copy", dialog=copy_form.ASK)
    def copy(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        target = self.seen(request, object_id)
        try:
            job = copy_form.begin(target, form)
        except StagingError as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return self.back_to(target)
        self.log_change(request, target, f"A copy to {job.target} was begun.")
        self.message_user(request, f"The copy is {job.state}.", messages.SUCCESS)
        return HttpResponse(headers={"HX-Redirect": reverse("admin:staging_copyjob_change", args=[job.pk])})

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Of the current version; the others go by themselves."""
        gone = isinstance(obj, Object) and not obj.current
        return not gone and super().has_delete_permission(request, obj)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Outside a transaction, unlike Django's own: a mounted file is deleted on its storage meanwhile."""
        target = self.seen(request, object_id)
        try:
            return self._delete_view(request, object_id, extra_context)
        except (StagingError, AdapterError) as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return HttpResponseRedirect(self.url_of(target))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What will happen to each."""
        _, counts, refused, protected = super().get_deleted_objects(objs, request)
        return [_fate(obj) for obj in objs], counts, refused, protected

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        """Django calls this before the deletion, which may yet fail; ``delete_model`` logs."""

    def delete_model(self, request: HttpRequest, obj: Object) -> None:
        objects.delete(obj.bucket, obj.key)
        super().log_deletions(request, [obj])

    @display(description="Object", ordering="key")
    def path(self, row: Object) -> str:
        return words.code(f"{row.bucket}/{row.key}")

    @display(description="Size", ordering="size")
    def size_words(self, row: Object) -> str:
        return words.size(row.size)

    @display(description="Size")
    def size_words_exact(self, row: Object) -> str:
        return words.exact_size(row.size)

    @display(description="Version")
    def version_words(self, row: Object) -> str:
        query = urlencode({"bucket__id__exact": row.bucket_id, "q": row.key, "versions": "all"})
        link = f"{reverse('admin:staging_object_changelist')}?{query}"
        kind = "current" if row.current else "not current any more"
        return format_html('{} ({}) · <a class="text-link" href="{}">all versions</a>', row.version, kind, link)

    @display(description="State", ordering="state")
    def state_badge(self, row: Object) -> str:
        if row.state == ObjectState.DELETING:
            retired = "being removed" if row.replicas.all() else "removed"
            return format_html('{} <span class="wb-faint">{}</span>', words.badge(retired), words.ago(row.retired_at))
        if not row.current:
            held = "kept by a checkpoint" if row.pinned else "not current any more"
            return format_html('{} <span class="wb-faint">{}</span>', words.badge(row.state), held)
        return words.badge(row.state)

    @display(description="Durability")
    def durability(self, row: Object) -> str:
        return words.badge(placement.durability(row.replicas.all())) if row.kept else words.NOTHING

    @display(description="SHA-256")
    def sha256_code(self, row: Object) -> str:
        return words.code(row.sha256)

    @display(description="Metadata")
    def metadata_words(self, row: Object) -> str:
        return words.facts(row.metadata)

    @display(description="Aliases")
    def alias_words(self, row: Object) -> str:
        return aliases_of(row)

    @display(description="Transfers")
    def transfer_words(self, row: Object) -> str:
        return transfers_of(row)

    @display(description="Held by checkpoints")
    def checkpoint_words(self, row: Object) -> str:
        held = Checkpoint.objects.filter(members__object=row).order_by("-created_at")[:_CHECKPOINTS]
        links = [(reverse("admin:staging_checkpoint_change", args=[one.pk]), one) for one in held]
        return format_html_join(", ", '<a class="text-link" href="{}">{}</a>', links) or "none"


def _is_kept(target: Object) -> bool:
    """Whether Waybill looks after the version's copies."""
    return target.current and not target.bucket.mounted


def _explained(target: Object) -> dict[str, Any]:
    told = explaining.explain(target)
    parts = {"What the policy asks for": told.policy, "Its copies": told.replicas, "What comes next": told.next}
    return {
        "explained": [{"title": title, "sentences": sentences} for title, sentences in parts.items()],
        "durability": words.badge(told.durability),
        "own_policy": words.facts(target.policy) if target.policy else "",
    }


def _fate(target: Object) -> str:
    name = f"{target.bucket}/{target.key}, version {target.version}, {words.size(target.size)}"
    if target.bucket.mounted:
        return f"{name}: the file on the storage {target.bucket.storage} is deleted."
    return f"{name}: gone for readers at once, its bytes are removed from every storage."
