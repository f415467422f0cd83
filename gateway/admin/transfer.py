"""Transfers: what moves, what waits, and what failed and why."""

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from gateway.admin import words
from gateway.admin.owned import OwnedAdmin, SeenFilter
from staging.models import Transfer


@admin.register(Transfer)
class TransferAdmin(OwnedAdmin):
    """Seen only: workers own these rows."""

    list_display = ["what", "project", "kind", "state_badge", "progress", "target", "tries", "error_code", "created"]
    list_filter = [
        ("project", SeenFilter),
        ("state", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("target", SeenFilter),
    ]
    list_select_related = ["project", "target"]
    search_fields = ["label", "error_code"]
    search_help_text = "Part of the object's name, or an error code"
    paginator = InfinitePaginator
    show_full_result_count = False
    list_fullwidth = True
    fieldsets = [
        (None, {"fields": ["what", "kind", "state_badge", "progress", "target", "tries"]}),
        ("Error", {"fields": ["error_code", "error_detail"]}),
        ("Times", {"fields": ["created", "due", "started", "finished", "lease", "identity"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Transfer | None = None) -> list:
        """Without the error where there is none."""
        shown = super().get_fieldsets(request, obj)
        return shown if obj and obj.error_code else [shown[0], shown[2]]

    @display(description="What", ordering="label")
    def what(self, row: Transfer) -> str:
        return words.code(row.label)

    @display(description="State", ordering="state")
    def state_badge(self, row: Transfer) -> str:
        return words.badge(row.state)

    @display(description="Progress")
    def progress(self, row: Transfer) -> str:
        percent = min(100, round(100 * row.bytes_done / row.size)) if row.size else 100 * (row.state == "done")
        context = {"percent": percent, "words": f"{words.size(row.bytes_done)} of {words.size(row.size)}"}
        return render_to_string("admin/staging/transfer/progress.html", context)

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
