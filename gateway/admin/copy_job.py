"""Copies that somebody asked for: how far they are, stopped, and tried again; and the form that asks for one."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from gateway.admin import dialogs, words
from gateway.admin.owned import OwnedAdmin, SeenFilter
from staging import copy_jobs
from staging.copy_specs import CopySpec
from staging.errors import InvalidRequest, StagingError
from staging.models import CopyJob, Object
from staging.states import CopyOnExists, CopyState, Role

_CANCEL = dialogs.confirm(
    "Stop this copy?",
    "What waits ends at once, what runs within seconds. Objects that are copied stay, and it can be gone on with.",
    "Stop it",
)
_RETRY = dialogs.confirm("Go on with this copy?", "The objects that it lacks are tried anew, and no others.", "Go on")
_ON_EXISTS = {
    CopyOnExists.FAIL: "do not copy",
    CopyOnExists.REPLACE: "replace it",
    CopyOnExists.SKIP: "leave both as they are",
}


class CopyForm(BaseDialogForm):
    """Asks where one object is to go."""

    to = forms.CharField(
        max_length=1200,
        label="To",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "bucket/key"}),
        help_text="A bucket of the same project, and the key there.",
    )
    on_exists = forms.ChoiceField(
        choices=[(how.value, told) for how, told in _ON_EXISTS.items()],
        label="Where another stands",
        widget=UnfoldAdminSelectWidget(),
    )
    move = forms.BooleanField(required=False, label="Move it", widget=UnfoldBooleanSwitchWidget())


ASK = dialogs.confirm(
    "Copy or move this object?",
    "Between managed buckets no byte moves; else workers bring it there.",
    "Begin",
    CopyForm,
)


def begin(target: Object, form: forms.Form) -> CopyJob:
    """Begin what the form asks for. Raises StagingError."""
    name, slash, key = form.cleaned_data["to"].partition("/")
    project = target.bucket.project
    bucket = project.buckets.select_related("storage").filter(name=name).first()
    if not slash or bucket is None:
        raise InvalidRequest(f"There is no bucket {name!r} in this project; it is to be bucket/key.")
    how = CopyOnExists(form.cleaned_data["on_exists"])
    spec = CopySpec(target.bucket, target.key, bucket, key, on_exists=how, moves=form.cleaned_data["move"])
    return copy_jobs.create(project, spec)


@admin.register(CopyJob)
class CopyJobAdmin(OwnedAdmin):
    """Workers own these rows; people stop one, or have it gone on with."""

    needed = {"operate": Role.OPERATOR}
    list_display = ["what", "project", "state_badge", "progress", "counts", "created"]
    list_filter = [("project", SeenFilter), ("state", ChoicesDropdownFilter)]
    list_select_related = ["project", "source_bucket", "target_bucket"]
    search_fields = ["source_key", "target_key"]
    search_help_text = "Part of a key"
    paginator = InfinitePaginator
    show_full_result_count = False
    list_fullwidth = True
    actions_detail = ["cancel", "retry"]
    fieldsets = [
        (None, {"fields": ["what", "how", "state_badge", "progress", "counts", "transfer_words"]}),
        ("First error", {"fields": ["error_code", "error_detail"]}),
        ("Times", {"fields": ["created", "finished", "identity"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: CopyJob | None = None) -> list:
        """Without the error where there is none."""
        shown = super().get_fieldsets(request, obj)
        return shown if obj and obj.error_code else [shown[0], shown[2]]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Only what the state leaves sense to."""
        row = self.seen(request, object_id)
        sense = {
            "staging_copyjob_cancel": row.state == CopyState.RUNNING and not row.cancelled_at,
            "staging_copyjob_retry": row.state in (CopyState.FAILED, CopyState.CANCELLED),
        }
        return [deed for deed in super().get_actions_detail(request, object_id) if sense[deed.action_name]]

    @action(description="Cancel", permissions=["operate"], icon="cancel", variant=ActionVariant.DANGER, dialog=_CANCEL)
    def cancel(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        job = self.seen(request, object_id)
        copy_jobs.cancel(job)
        return self.done(request, job, "The copy stops." if job.state == CopyState.RUNNING else f"It is {job.state}.")

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
        verb = "moved to" if row.moves else "copied to"
        return format_html('<div class="wb-cell">{} {} {}</div>', words.code(row.source), verb, words.code(row.target))

    @display(description="Where another stands")
    def how(self, row: CopyJob) -> str:
        return _ON_EXISTS[CopyOnExists(row.on_exists)]

    @display(description="State", ordering="state")
    def state_badge(self, row: CopyJob) -> str:
        stopping = row.state == CopyState.RUNNING and row.cancelled_at
        told = "stopping" if stopping else row.error_code
        return format_html('{} <span class="wb-faint">{}</span>', words.badge(row.state), told)

    @display(description="Progress")
    def progress(self, row: CopyJob) -> str:
        done, found = row.bytes_moved, row.bytes_found
        rate, left = row.bytes_per_s, row.seconds_left
        pace = f"{words.size(rate)}/s" if rate else ""
        pace += f", {words.about(left)} left" if rate and left is not None else ""
        percent = min(100, round(100 * done / found)) if found else 100 * (row.state == CopyState.DONE)
        told = f"{words.size(done)} of {words.size(found)}" + ("" if row.listed else " so far")
        context = {"percent": percent, "words": told, "pace": pace}
        return render_to_string("admin/staging/transfer/progress.html", context)

    @display(description="Objects")
    def counts(self, row: CopyJob) -> str:
        told = [f"{row.objects_done:,} of {row.objects_found:,}" + ("" if row.listed else " so far")]
        told += [f"{row.objects_skipped:,} left as they were"] if row.objects_skipped else []
        told += [f"{failed:,} failed"] if (failed := row.objects_failed) else []
        return ", ".join(told)

    @display(description="Transfers")
    def transfer_words(self, row: CopyJob) -> str:
        link = f"{reverse('admin:staging_transfer_changelist')}?{urlencode({'job': row.pk})}"
        return format_html('<a class="text-link" href="{}">of its objects</a>', link)

    @display(description="Finished")
    def finished(self, row: CopyJob) -> str:
        return words.ago(row.finished_at) if row.finished_at else "not yet"
