"""Checkpoints: what is kept together, how safe it is, and the way back to it."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from gateway.admin import dialogs, progress, words
from gateway.admin.checkpoint_form import NewCheckpointForm
from gateway.admin.owned import OwnedAdmin, SeenFilter
from gateway.admin.service_form import bind
from staging import checkpoints
from staging.errors import InvalidRequest
from staging.models import Checkpoint
from staging.states import CheckpointState, Role

_RESTORE = dialogs.confirm(
    "Restore this checkpoint?",
    "Each of its versions becomes the current one of its key again; what stands there now is retired.",
    "Restore it",
)
_RELEASE = dialogs.confirm(
    "Delete this checkpoint?", "Bytes that it alone has kept are removed, and cannot be brought back.", "Delete it"
)


@admin.register(Checkpoint)
class CheckpointAdmin(OwnedAdmin):
    """Made by the engine or by people; workers make them safe, restore them and let go."""

    needed = {"add": Role.OPERATOR, "operate": Role.OPERATOR}
    list_display = ["name_code", "project", "of", "state_badge", "amount", "restored", "created"]
    list_filter = [("project", SeenFilter), ("state", ChoicesDropdownFilter), ("bucket", SeenFilter)]
    list_select_related = ["project", "bucket"]
    search_fields = ["name", "prefix"]
    search_help_text = "Part of the name or of the folder"
    none_yet = "A checkpoint keeps a set of versions, has them made safe, and brings them back whenever it is asked."
    list_fullwidth = True
    actions_detail = ["restore", "release"]
    add_fieldsets = [(None, {"fields": ["project", "name", "bucket", "prefix", "labels"]})]
    fieldsets = [
        (None, {"fields": ["name_code", "of", "state_badge", "persisted", "failure_words", "members_link"]}),
        ("Times", {"fields": ["created", "completed", "restored"]}),
    ]

    def get_form(self, request: HttpRequest, obj: Checkpoint | None = None, change: bool = False, **how: Any) -> Any:
        return super().get_form(request, obj, change, **how) if obj else bind(NewCheckpointForm, request)

    def get_fieldsets(self, request: HttpRequest, obj: Checkpoint | None = None) -> Any:
        """Without a failure where there is none."""
        shown = super().get_fieldsets(request, obj)
        if obj is None or obj.failure:
            return shown
        named = [name for name in shown[0][1]["fields"] if name != "failure_words"]
        return [(None, {"fields": named}), *shown[1:]]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Only what the checkpoint's state leaves sense to."""
        row = self.seen(request, object_id)
        sense = {
            "staging_checkpoint_restore": row.state == CheckpointState.COMPLETE and row.released_at is None,
            "staging_checkpoint_release": row.released_at is None,
        }
        return [deed for deed in super().get_actions_detail(request, object_id) if sense[deed.action_name]]

    @action(description="Restore", permissions=["operate"], icon="settings_backup_restore", dialog=_RESTORE)
    def restore(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        row = self.seen(request, object_id)
        try:
            checkpoints.restore(row)
        except InvalidRequest as exc:
            return self.done(request, row, str(exc), level=messages.ERROR)
        told = "has begun" if row.restoring_since else "is done: all that it holds is current again"
        return self.done(request, row, f"The restore {told}.")

    @action(description="Delete", permissions=["operate"], icon="delete", variant=ActionVariant.DANGER, dialog=_RELEASE)
    def release(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        row = self.seen(request, object_id)
        self.log_change(request, row, "Deleted.")
        checkpoints.release(row)
        self.message_user(request, f"The checkpoint {row} lets go of its objects.")
        return HttpResponse(headers={"HX-Redirect": reverse("admin:staging_checkpoint_changelist")})

    @display(description="Name", ordering="name")
    def name_code(self, row: Checkpoint) -> str:
        return words.code(row.name)

    @display(description="Of", ordering="bucket__name")
    def of(self, row: Checkpoint) -> str:
        labels = " ".join(f"{name}={value}" for name, value in row.labels.items())
        place = f"{row.bucket}/{row.prefix}" if row.bucket else ""
        return words.code(" ".join(filter(None, [place, labels])))

    @display(description="State", ordering="state")
    def state_badge(self, row: Checkpoint) -> str:
        if row.released_at:
            return words.badge("being deleted", "warning")
        restoring = words.badge("being restored", "info") if row.restoring_since else ""
        return progress.live(f"state-{row.pk}", format_html("{} {}", words.badge(row.state), restoring))

    @display(description="Objects", ordering="count")
    def amount(self, row: Checkpoint) -> str:
        return f"{row.count:,}, {words.size(row.size)}"

    @display(description="Persisted")
    def persisted(self, row: Checkpoint) -> str:
        return progress.bar(progress.of_checkpoint(row))

    @display(description="What is in the way")
    def failure_words(self, row: Checkpoint) -> str:
        return format_html('<span class="wb-alarm wb-break">{}</span>', row.failure)

    @display(description="Holds")
    def members_link(self, row: Checkpoint) -> str:
        query = urlencode({"checkpoint": row.pk, "versions": "all"})
        link = f"{reverse('admin:staging_object_changelist')}?{query}"
        noun = "object" if row.count == 1 else "objects"
        return format_html('<a class="text-link" href="{}">{} {}</a>', link, f"{row.count:,}", noun)

    @display(description="Complete, or failed", ordering="completed_at")
    def completed(self, row: Checkpoint) -> str:
        return words.ago(row.completed_at) if row.completed_at else "not yet"

    @display(description="Restored", ordering="restored_at")
    def restored(self, row: Checkpoint) -> str:
        if row.restoring_since:
            return format_html("under way since {}", words.ago(row.restoring_since))
        return words.ago(row.restored_at)
