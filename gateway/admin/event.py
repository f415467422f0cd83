"""Events: what happened, newest first."""

from django.contrib import admin
from unfold.contrib.filters.admin import FieldTextFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from gateway.admin import words
from gateway.admin.owned import OwnedAdmin, SeenFilter
from staging.models import Event

_SHORT = 24


@admin.register(Event)
class EventAdmin(OwnedAdmin):
    """Seen only: an event commits with its cause."""

    list_display = ["kind_badge", "subject_code", "project", "created", "gist"]
    list_filter = [("project", SeenFilter), ("kind", FieldTextFilter)]
    list_select_related = ["project"]
    search_fields = ["subject"]
    search_help_text = "Part of what it is about"
    paginator = InfinitePaginator
    show_full_result_count = False
    list_fullwidth = True
    fields = ["kind_badge", "subject_code", "project", "created", "fact_words"]

    @display(description="Event", ordering="kind")
    def kind_badge(self, row: Event) -> str:
        return event_badge(row.kind)

    @display(description="About", ordering="subject")
    def subject_code(self, row: Event) -> str:
        return words.code(row.subject)

    @display(description="When", ordering="created_at")
    def created(self, row: Event) -> str:
        return words.ago(row.created_at)

    @display(description="Facts")
    def gist(self, row: Event) -> str:
        """What fits on a line; ids and digests are on the event's page."""
        short = {name: words.size(value) if name == "size" else str(value) for name, value in row.facts.items()}
        return ", ".join(f"{name} {text}" for name, text in short.items() if len(text) <= _SHORT) or words.NOTHING

    @display(description="Facts")
    def fact_words(self, row: Event) -> str:
        return words.facts(row.facts)


def event_badge(kind: str) -> str:
    """The event's kind, coloured by what it means for somebody's data."""
    deed = kind.rpartition(".")[2]
    colours = {"created": "success", "recovered": "success", "deleted": "warning", "revoked": "warning"}
    colours |= dict.fromkeys(("lost", "failed", "failing"), "danger")
    return words.badge(kind, colours.get(deed, "info"))
