"""Copies that somebody asked for: begun, watched, stopped, and gone on with."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.paginator import InfinitePaginator

from gateway.admin import dialogs, progress, words
from gateway.admin.copy_form import ON_EXISTS, NewCopyForm
from gateway.admin.owned import OwnedAdmin, SeenFilter
from gateway.admin.service_form import bind
from staging import copy_jobs, copy_progress
from staging.errors import StagingError
from staging.models import Bucket, CopyJob
from staging.states import CopyOnExists, CopyState, Role, TransferState

_CANCEL = dialogs.confirm(
    "Stop this copy?",
    "What waits ends at once, what runs within seconds. Objects that are copied stay, and it can be gone on with.",
    "Stop it",
)
_RETRY = dialogs.confirm("Go on with this copy?", "The objects that it lacks are tried anew, and no others.", "Go on")


@admin.register(CopyJob)
class CopyJobAdmin(OwnedAdmin):
    """Workers own these rows; people stop one, or have it gone on with."""

    needed = {"add": Role.OPERATOR, "operate": Role.OPERATOR}
    list_display = ["what", "project", "state_badge", "progress_bar", "counts", "created"]
    list_filter = [
        ("project", SeenFilter),
        ("state", ChoicesDropdownFilter),
        ("source_bucket", SeenFilter),
        ("target_bucket", SeenFilter),
    ]
    list_select_related = ["project", "source_bucket", "target_bucket"]
    search_fields = ["source_key", "target_key", "error_code"]
    search_help_text = "Part of a key, or an error code"
    none_yet = "Copies and moves between buckets, of objects or whole folders."
    paginator = InfinitePaginator
    show_full_result_count = False
    list_fullwidth = True
    actions_detail = ["cancel", "retry"]
    add_fieldsets = [
        (None, {"fields": ["moves", "source_bucket", "source_key", "target_bucket", "target_key", "on_exists"]}),
    ]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "source_link",
                    "target_link",
                    "verb",
                    "how",
                    "state_badge",
                    "progress_bar",
                    "counts",
                    "transfer_words",
                ]
            },
        ),
        ("First error", {"fields": ["error_code", "error_detail"]}),
        ("Times", {"fields": ["created", "finished", "identity"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[CopyJob]:
        return copy_progress.with_counts(super().get_queryset(request))

    def get_form(self, request: HttpRequest, obj: CopyJob | None = None, change: bool = False, **options: Any) -> Any:
        return super().get_form(request, obj, change, **options) if obj else bind(NewCopyForm, request)

    def get_fieldsets(self, request: HttpRequest, obj: CopyJob | None = None) -> Any:
        """Without the error where there is none."""
        shown = super().get_fieldsets(request, obj)
        return [shown[0], shown[2]] if obj and not obj.error_code else shown

    def response_add(self, request: HttpRequest, obj: CopyJob, post_url_continue: str | None = None) -> HttpResponse:
        """On to where it is watched; a small one between managed buckets has ended by then."""
        level = messages.WARNING if obj.state == CopyState.FAILED else messages.SUCCESS
        self.message_user(request, f"The copy is {obj.state}.", level)
        return HttpResponseRedirect(self.url_of(obj))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Only what the state leaves sense to."""
        row = self.seen(request, object_id)
        sense = {
            "staging_copyjob_cancel": row.state == CopyState.RUNNING and not row.cancelled_at,
            "staging_copyjob_retry": row.state in (CopyState.FAILED, CopyState.CANCELLED),
        }
        return [deed for deed in super().get_actions_detail(request, object_id) if sense[deed.action_name]]

    @action(description="Stop", permissions=["operate"], icon="cancel", variant=ActionVariant.DANGER, dialog=_CANCEL)
    def cancel(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        job = self.seen(request, object_id)
        copy_jobs.cancel(job)
        told = "stops within seconds" if job.state == CopyState.RUNNING else f"is {job.state}"
        return self.done(request, job, f"The copy {told}.")

    @action(description="Go on", permissions=["operate"], icon="replay", dialog=_RETRY)
    def retry(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        job = self.seen(request, object_id)
        try:
            copy_jobs.retry(job)
        except StagingError as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return self.back_to(job)
        return self.done(request, job, "The copy goes on.")

    @display(description="What", ordering="source_key")
    def what(self, row: CopyJob) -> str:
        verb = "Move" if row.moves else "Copy"
        cell = '<div class="wb-cell"><span class="wb-faint">{}</span> {} <span class="wb-faint">to</span> {}</div>'
        return format_html(cell, verb, words.code(row.source), words.code(row.target))

    @display(description="From")
    def source_link(self, row: CopyJob) -> str:
        return _folder(row.source_bucket, row.source_key, row.source)

    @display(description="To")
    def target_link(self, row: CopyJob) -> str:
        return _folder(row.target_bucket, row.target_key, row.target)

    @display(description="What becomes of the source")
    def verb(self, row: CopyJob) -> str:
        return "moved: each object is deleted there once its copy stands" if row.moves else "copied: it stays as it is"

    @display(description="Where another stands")
    def how(self, row: CopyJob) -> str:
        return ON_EXISTS[CopyOnExists(row.on_exists)]

    @display(description="State", ordering="state")
    def state_badge(self, row: CopyJob) -> str:
        stopping = row.state == CopyState.RUNNING and row.cancelled_at
        told = "stopping" if stopping else row.error_code
        badge = format_html('{} <span class="wb-faint">{}</span>', words.badge(row.state), told)
        return progress.live(f"state-{row.pk}", badge)

    @display(description="Progress")
    def progress_bar(self, row: CopyJob) -> str:
        return progress.bar(progress.of_copy(row))

    @display(description="Objects")
    def counts(self, row: CopyJob) -> str:
        told = [f"{row.objects_done:,} of {row.objects_found:,}{progress.so_far(row)}"]
        told += [f"{row.objects_skipped:,} left as they were"] if row.objects_skipped else []
        told += [f"{failed:,} failed"] if (failed := row.objects_failed) else []
        return progress.live(f"counts-{row.pk}", ", ".join(told))

    @display(description="Transfers")
    def transfer_words(self, row: CopyJob) -> str:
        every = {"job": row.pk}
        shown = {"of all its objects": every}
        if row.state == CopyState.RUNNING:
            shown["under way"] = {**every, "state__exact": TransferState.RUNNING}
        if row.objects_failed:
            shown["failed"] = {**every, "state__exact": TransferState.FAILED}
        address = reverse("admin:staging_transfer_changelist")
        links = [(f"{address}?{urlencode(query)}", told) for told, query in shown.items()]
        return format_html_join(" · ", '<a class="text-link" href="{}">{}</a>', links)

    @display(description="Finished")
    def finished(self, row: CopyJob) -> str:
        return words.ago(row.finished_at) if row.finished_at else "not yet"


def _folder(bucket: Bucket, key: str, told: str) -> str:
    """A link to the folder in which it is."""
    folder = key[: key.rfind("/") + 1]
    link = f"{reverse('admin:staging_bucket_browse', args=[bucket.pk])}?{urlencode({'prefix': folder})}"
    return format_html('<a class="text-link" href="{}">{}</a>', link, words.code(told))
