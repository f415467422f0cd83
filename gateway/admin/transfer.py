"""Transfers: what moves, what waits, and what failed and why; stopped, and tried again."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.paginator import InfinitePaginator

from gateway.admin import dialogs, progress, words
from gateway.admin.confirmation import confirmed
from gateway.admin.owned import OwnedAdmin, SeenFilter
from staging import planning, replication, transfers
from staging.errors import InvalidRequest
from staging.models import Object, Transfer
from staging.states import Role, TransferKind, TransferState

_STOPPING = (
    "What waits ends at once, what runs within seconds, and nothing of a copy stays. What a policy asks for is queued "
    "again, so change the policy first."
)
_TRYING = "What failed is queued as if it had never been tried: its errors are forgotten."
_CANCEL = dialogs.confirm("Stop this transfer?", _STOPPING, "Stop it")
_RETRY = dialogs.confirm("Try this transfer again?", _TRYING, "Try again")

_PRIORITIES = {
    planning.URGENT: "somebody waits for it",
    planning.UNSAFE: "bytes are not safe yet",
    planning.MISSING: "a copy is missing",
    planning.ASKED: "somebody asked for another object",
    planning.FASTER: "a copy would be faster",
    planning.ROUTINE: "routine",
}


@admin.register(Transfer)
class TransferAdmin(OwnedAdmin):
    """Workers own these rows; people stop one, or have one that failed for good tried again."""

    needed = {"operate": Role.OPERATOR}
    list_display = ["what", "project", "kind", "state_badge", "progress_bar", "target_link", "created"]
    list_filter = [
        ("project", SeenFilter),
        ("state", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("target", SeenFilter),
    ]
    list_select_related = ["project", "target"]
    search_fields = ["label", "error_code", "last_error_code"]
    search_help_text = "Part of the object's name, or an error code"
    none_yet = "Waybill makes them by itself: what policies, copies and drains ask for."
    paginator = InfinitePaginator
    show_full_result_count = False
    list_fullwidth = True
    actions = ["cancel_chosen", "retry_chosen"]
    actions_detail = ["cancel", "retry"]
    fieldsets = [
        (None, {"fields": ["object_link", "kind", "reason", "state_words", "progress_bar", "target_link", "job_link"]}),
        ("First error", {"fields": ["error_code", "error_detail"]}),
        ("Last error", {"fields": ["last_error_code", "last_error_detail"]}),
        ("Its turn", {"fields": ["urgency", "tries", "due"]}),
        ("Times", {"fields": ["created", "started", "finished", "lease", "identity"]}),
    ]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Also those of one copy, which its page leads to."""
        return lookup == "job" or super().lookup_allowed(lookup, value, request)

    def get_fieldsets(self, request: HttpRequest, obj: Transfer | None = None) -> list:
        """Without an error, or a copy that it is part of, where there is none; the last where it is not the first."""
        shown = super().get_fieldsets(request, obj)
        if obj is None or obj.job_id is None:
            shown = [(None, {"fields": [name for name in shown[0][1]["fields"] if name != "job_link"]}), *shown[1:]]
        if obj is None or not obj.error_code:
            return [part for part in shown if part[0] not in ("First error", "Last error")]
        if not obj.ended_otherwise:
            return [part for part in shown if part[0] != "Last error"]
        return [
            (f"Last error of {obj.attempts} attempts" if part[0] == "Last error" else part[0], part[1])
            for part in shown
        ]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Only what the transfer's state leaves sense to."""
        row = self.seen(request, object_id)
        sense = {
            "staging_transfer_cancel": (
                row.state in replication.LIVE and not row.cancelled_at and not TransferKind(row.kind).removes
            ),
            "staging_transfer_retry": row.state == TransferState.FAILED,
        }
        return [deed for deed in super().get_actions_detail(request, object_id) if sense[deed.action_name]]

    @action(description="Stop", permissions=["operate"], icon="cancel", variant=ActionVariant.DANGER, dialog=_CANCEL)
    def cancel(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        return self._do(request, object_id, _stop)

    @action(description="Try again", permissions=["operate"], icon="replay", dialog=_RETRY)
    def retry(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        return self._do(request, object_id, _retry)

    @admin.action(description="Stop", permissions=["operate"])
    @confirmed("Stop {rows}?", _STOPPING, "Stop them")
    def cancel_chosen(self, request: HttpRequest, rows: QuerySet[Transfer]) -> None:
        self._do_all(request, rows, _stop)

    @admin.action(description="Try again", permissions=["operate"])
    @confirmed("Try {rows} again?", _TRYING, "Try again")
    def retry_chosen(self, request: HttpRequest, rows: QuerySet[Transfer]) -> None:
        self._do_all(request, rows, _retry)

    @display(description="What", ordering="label")
    def what(self, row: Transfer) -> str:
        why = format_html('<div class="wb-faint">{}</div>', row.reason) if row.reason else ""
        return format_html('<div class="wb-cell">{}{}</div>', words.code(row.label), why)

    @display(description="Object")
    def object_link(self, row: Transfer) -> str:
        if row.object_id is None:
            return words.code(row.label)
        link = reverse("admin:staging_object_change", args=[row.object_id])
        return format_html('<a class="text-link" href="{}">{}</a>', link, words.code(row.label))

    @display(description="State", ordering="state")
    def state_badge(self, row: Transfer) -> str:
        lines = [("wb-faint wb-alarm", row.error_code)] if row.error_code else []
        if row.last_error_code not in ("", row.error_code):
            lines.append(("wb-faint wb-alarm", f"last: {row.last_error_code}"))
        lines += [("wb-faint wb-nowrap", f"{self.tries(row)} attempts")] if row.attempts > 1 else []
        if row.state == TransferState.QUEUED and row.not_before > timezone.now():
            lines.append(("wb-faint wb-nowrap", format_html("again {}", words.ago(row.not_before))))
        told = format_html_join("", '<div class="{}">{}</div>', lines)
        badge = format_html('<div class="wb-cell">{}{}</div>', words.badge(row.state), told)
        return progress.live(f"state-{row.pk}", badge)

    @display(description="State")
    def state_words(self, row: Transfer) -> str:
        asked = row.cancelled_at if row.state in replication.LIVE else None
        told = format_html("asked to stop {}", words.ago(asked)) if asked else ""
        return progress.live(f"state-{row.pk}", format_html("{} {}", words.badge(row.state), told))

    @display(description="Progress")
    def progress_bar(self, row: Transfer) -> str:
        return progress.bar(progress.of_transfer(row))

    @display(description="To", ordering="target__name")
    def target_link(self, row: Transfer) -> str:
        link = reverse("admin:staging_storage_change", args=[row.target_id])
        return format_html('<a class="text-link" href="{}">{}</a>', link, row.target)

    @display(description="Part of")
    def job_link(self, row: Transfer) -> str:
        link = reverse("admin:staging_copyjob_change", args=[row.job_id])
        return format_html('<a class="text-link" href="{}">the copy to {}</a>', link, words.code(row.job.target))

    @display(description="Priority", ordering="priority")
    def urgency(self, row: Transfer) -> str:
        told = _PRIORITIES.get(row.priority)
        return f"{row.priority}: {told}" if told else str(row.priority)

    @display(description="Attempts", ordering="attempts")
    def tries(self, row: Transfer) -> str:
        return f"{row.attempts} of {row.max_attempts}"

    @display(description="Not before")
    def due(self, row: Transfer) -> str:
        return words.ago(row.not_before)

    @display(description="Started")
    def started(self, row: Transfer) -> str:
        return words.ago(row.started_at)

    @display(description="Finished")
    def finished(self, row: Transfer) -> str:
        return words.ago(row.finished_at) if row.finished_at else "not yet"

    @display(description="Lease ends")
    def lease(self, row: Transfer) -> str:
        return words.ago(row.lease_expires_at) if row.lease_expires_at else "no worker has it"

    def _do(self, request: HttpRequest, object_id: str, deed: Callable[[Transfer], str]) -> HttpResponse:
        transfer = self.seen(request, object_id)
        try:
            told = deed(transfer)
        except InvalidRequest as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return self.back_to(transfer)
        return self.done(request, transfer, f"The transfer {told}.")

    def _do_all(self, request: HttpRequest, rows: QuerySet[Transfer], deed: Callable[[Transfer], str]) -> None:
        told, refused = Counter(), Counter()
        for transfer in self.chosen(request, rows):
            try:
                outcome = deed(transfer)
            except InvalidRequest as exc:
                refused[str(exc)] += 1
                continue
            told[outcome] += 1
            self.log_change(request, transfer, f"The transfer {outcome}.")
        for outcome, count in told.items():
            self.message_user(request, f"{count} of them {outcome}.", messages.SUCCESS)
        for reason, count in refused.items():
            self.message_user(request, f"{count} of them not: {reason}", messages.ERROR)


def transfers_of(target: Object) -> str:
    """Where to see the transfers of an object's key, with how many this version has."""
    count = target.transfers.count()
    if not count:
        return "none"
    query = urlencode({"q": f"{target.bucket}/{target.key}"})
    link = f"{reverse('admin:staging_transfer_changelist')}?{query}"
    return format_html('<a class="text-link" href="{}">{} of this version</a>', link, count)


def _stop(transfer: Transfer) -> str:
    """What became of it, in words. Raises InvalidRequest where there is nothing to stop any more."""
    transfers.cancel(transfer)
    if transfer.state == TransferState.CANCELLED:
        return "was cancelled"
    if transfer.state in replication.LIVE:
        return "will stop within seconds"
    raise InvalidRequest(f"A transfer that is {transfer.state} cannot be cancelled any more.")


def _retry(transfer: Transfer) -> str:
    transfers.retry(transfer)
    return "is queued anew"
