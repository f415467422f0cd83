"""Uploads that are under way, or broke off and wait for the janitor."""

from django.contrib import admin
from django.utils import timezone
from unfold.decorators import display

from gateway.admin import words
from gateway.admin.owned import OwnedAdmin, SeenFilter
from staging.models import Upload


@admin.register(Upload)
class UploadAdmin(OwnedAdmin):
    """Seen only: the writer owns the row, and the janitor once its lease has run out."""

    project_path = "alias__project_id"
    list_display = ["target", "storage", "declared", "reserved", "state_badge", "began"]
    list_filter = [("storage", SeenFilter)]
    list_select_related = ["alias__bucket", "storage"]
    search_fields = ["alias__key"]
    search_help_text = "Part of the key"
    none_yet = "Uploads are shown while they run, and until what broke off is cleared away."
    fields = ["target", "storage", "location", "declared", "reserved", "state_badge", "began", "lease", "identity"]

    @display(description="To", ordering="alias__key")
    def target(self, row: Upload) -> str:
        return words.code(f"{row.alias.bucket}/{row.alias.key}")

    @display(description="Key on the storage")
    def location(self, row: Upload) -> str:
        return words.code(row.key)

    @display(description="Declared", ordering="declared_size")
    def declared(self, row: Upload) -> str:
        return "not declared" if row.declared_size is None else words.size(row.declared_size)

    @display(description="Reserved", ordering="reserved_bytes")
    def reserved(self, row: Upload) -> str:
        return words.size(row.reserved_bytes)

    @display(description="State")
    def state_badge(self, row: Upload) -> str:
        alive = row.lease_expires_at > timezone.now()
        return words.badge("running") if alive else words.badge("for the janitor", "warning")

    @display(description="Began", ordering="created_at")
    def began(self, row: Upload) -> str:
        return words.ago(row.created_at)

    @display(description="Lease ends", ordering="lease_expires_at")
    def lease(self, row: Upload) -> str:
        return words.ago(row.lease_expires_at)
