"""Events: what happened, newest first."""

from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.contrib.filters.admin import FieldTextFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from gateway.admin import words
from gateway.admin.owned import OwnedAdmin, SeenFilter
from staging.models import Event

_SHORT = 24
#: By what happened.
_COLOURS = {
    **dict.fromkeys(("created", "recovered", "complete", "done", "drained", "back", "restored", "good"), "success"),
    **dict.fromkeys(("deleted", "revoked", "suspect", "leaving", "draining", "cancelled"), "warning"),
    **dict.fromkeys(("lost", "failed", "failing", "bad", "drain_late"), "danger"),
}
#: The list in which the subject of such events is found.
_LISTS = {
    "object": "object",
    "replica": "object",
    "storage": "storage",
    "checkpoint": "checkpoint",
    "credential": "credential",
    "bucket": "bucket",
}


@admin.register(Event)
class EventAdmin(OwnedAdmin):
    """Seen only: an event commits with its cause."""

    list_display = ["kind_badge", "subject_code", "project", "created", "gist"]
    list_filter = [("project", SeenFilter), ("kind", FieldTextFilter)]
    list_select_related = ["project"]
    search_fields = ["subject"]
    search_help_text = "Part of what it is about"
    none_yet = "What happens to objects, storages, aliases and copies is noted here."
    paginator = InfinitePaginator
    show_full_result_count = False
    list_fullwidth = True
    fields = ["kind_badge", "subject_code", "project", "created", "fact_words"]

    @display(description="Event", ordering="kind")
    def kind_badge(self, row: Event) -> str:
        return event_badge(row.kind)

    @display(description="About", ordering="subject")
    def subject_code(self, row: Event) -> str:
        model = _LISTS.get(row.kind.partition(".")[0])
        if model is None:
            return words.code(row.subject)
        link = f"{reverse(f'admin:staging_{model}_changelist')}?{urlencode({'q': row.subject})}"
        return format_html('<a class="text-link" href="{}">{}</a>', link, words.code(row.subject))

    @display(description="When", ordering="created_at")
    def created(self, row: Event) -> str:
        return words.ago(row.created_at)

    @display(description="Facts")
    def gist(self, row: Event) -> str:
        """What fits on a line; ids and digests are on the event's page."""
        short = {name: _fact(name, value) for name, value in row.facts.items()}
        return ", ".join(f"{name} {text}" for name, text in short.items() if len(text) <= _SHORT) or words.NOTHING

    @display(description="Facts")
    def fact_words(self, row: Event) -> str:
        return words.facts(row.facts)


def event_badge(kind: str) -> str:
    """The event's kind, coloured by what it means for somebody's data."""
    deed = kind.rpartition(".")[2]
    return words.badge(kind, _COLOURS.get(deed, "info"))


def _fact(name: str, value: Any) -> str:
    if name in ("size", "bytes"):
        return words.size(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
