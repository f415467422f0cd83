"""Checkpoints: what is kept together, how safe it is, and the way back to it."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from gateway.admin import dialogs, words
from gateway.admin.owned import OwnedAdmin, SeenFilter
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
    """The engine makes them by the API; people look, restore and let go."""

    needed = {"operate": Role.OPERATOR}
    list_display = ["name_code", "project", "of", "state_badge", "amount", "created"]
    list_filter = [("project", SeenFilter), ("state", ChoicesDropdownFilter)]
    list_select_related = ["project", "bucket"]
    search_fields = ["name", "prefix"]
    search_help_text = "Part of the name or of the prefix"
    actions_detail = ["restore", "release"]
    fields = ["name_code", "of", "state_badge", "amount", "persisted", "failure", "created", "completed", "restored"]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Only what the checkpoint's state leaves sense to."""
        row = self.seen(request, object_id)
        sense = {
            "staging_checkpoint_restore": row.state == CheckpointState.COMPLETE and row.released_at is None,
            "staging_checkpoint_release": row.released_at is None,
        }
        return [deed for deed in super().get_actions_detail(request, object_id) if sense[deed.action_name]]

    @action(description="Restore", permissions=["operate"], icon="restore", dialog=_RESTORE)
    def restore(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        row = self.seen(request, object_id)
        try:
            checkpoints.restore(row)
        except InvalidRequest as exc:
            return self.done(request, row, str(exc), level=messages.ERROR)
        return self.done(request, row, "The restore was begun.")

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

    @display(description="Of")
    def of(self, row: Checkpoint) -> str:
        labels = " ".join(f"{name}={value}" for name, value in row.labels.items())
        place = f"{row.bucket}/{row.prefix}" if row.bucket else ""
        return words.code(" ".join(filter(None, [place, labels])))

    @display(description="State", ordering="state")
    def state_badge(self, row: Checkpoint) -> str:
        if row.released_at:
            return words.badge("being deleted", "warning")
        colours = {CheckpointState.COMPLETE: "success", CheckpointState.FAILED: "danger"}
        return words.badge(row.state, colours.get(CheckpointState(row.state), "info"))

    @display(description="Objects", ordering="count")
    def amount(self, row: Checkpoint) -> str:
        return f"{row.count:,}, {words.size(row.size)}"

    @display(description="Persisted")
    def persisted(self, row: Checkpoint) -> str:
        found = checkpoints.progress(row)
        return f"{found.persisted:,} of {found.members:,}, {words.size(found.persisted_bytes)}"

    @display(description="Complete, or failed")
    def completed(self, row: Checkpoint) -> str:
        return words.ago(row.completed_at)

    @display(description="Restored")
    def restored(self, row: Checkpoint) -> str:
        return "under way" if row.restoring_since else words.ago(row.restored_at)
