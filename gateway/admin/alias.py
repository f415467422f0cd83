"""Aliases: made, copied, extended, revoked."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from gateway import links
from gateway.admin import dialogs, words
from gateway.admin.alias_form import ExtendForm, NewAliasForm
from gateway.admin.confirmation import confirmed
from gateway.admin.owned import OwnedAdmin, SeenFilter
from gateway.admin.service_form import bind
from staging import aliases, failures
from staging.errors import AliasRevoked, AliasUnknown, InvalidRequest
from staging.models import Alias, Object
from staging.states import AliasMode, AliasState, Role

_EXTEND = dialogs.confirm(
    "Extend this alias?", "Its URL stays the same. An expired one works again.", "Extend", ExtendForm
)
_REVOKING = "The URL is refused from now on, for good. Transfers that run already finish."
_REVOKE = dialogs.confirm("Revoke this alias?", _REVOKING, "Revoke")
_FAILING = (
    "Readers that wait for the objects are told at once that they will not come, and their jobs fail. Read aliases are "
    "left as they are."
)


class StateFilter(DropdownFilter):
    """By what has become of the alias, which is derived and no column."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, state.value.capitalize()) for state in AliasState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alias]) -> QuerySet[Alias]:
        value = self.value()
        return queryset.filter(aliases.in_state(AliasState(value))) if value in AliasState.values else queryset


@admin.register(Alias)
class AliasAdmin(OwnedAdmin):
    """The page of an alias shows its URL to those who may make aliases, and to nobody else."""

    needed = {"add": Role.OPERATOR, "operate": Role.OPERATOR}
    list_display = ["target", "project", "mode_badge", "state_badge", "expiry", "use_count", "created"]
    list_filter = [("project", SeenFilter), StateFilter, ("mode", ChoicesDropdownFilter), ("bucket", SeenFilter)]
    list_select_related = ["project", "bucket", "created_by"]
    search_fields = ["key"]
    search_help_text = "Part of the key"
    list_fullwidth = True
    actions = ["extend_chosen", "fail_chosen", "revoke_chosen"]
    actions_detail = ["extend", "revoke"]
    actions_row = ["extend", "revoke"]
    change_form_outer_before_template = "admin/staging/alias/panel.html"
    add_fieldsets = [
        (None, {"fields": ["bucket", "key", "mode"]}),
        ("Life", {"fields": ["lifetime_s", "starts_on_use", "idle_s", "max_uses", "labels"]}),
        (
            "Bounds",
            {
                "fields": ["max_rate", "max_requests", "networks", "redirect"],
                "description": "How fast, by how many and from where it may be used.",
                "classes": ["collapse"],
            },
        ),
        (
            "What an upload must be",
            {
                "fields": [
                    "on_exists",
                    "max_bytes",
                    "max_total_bytes",
                    "size",
                    "sha256",
                    "content_type",
                    "allow_empty_stream",
                ],
                "description": "Of write aliases only.",
                "classes": ["collapse"],
            },
        ),
    ]
    fieldsets = [
        (None, {"fields": ["target", "mode_badge", "state_badge", "expiry", "use_count", "last_used", "bounds"]}),
        ("What an upload must be", {"fields": ["taken", "limits", "failed"]}),
        ("Origin", {"fields": ["label_words", "created", "made_by", "identity"]}),
    ]

    def get_form(self, request: HttpRequest, obj: Alias | None = None, change: bool = False, **options: Any) -> Any:
        return super().get_form(request, obj, change, **options) if obj else bind(NewAliasForm, request)

    def get_fieldsets(self, request: HttpRequest, obj: Alias | None = None) -> Any:
        """A read alias has nothing to say of uploads."""
        shown = super().get_fieldsets(request, obj)
        return [shown[0], shown[2]] if obj and AliasMode(obj.mode).reads else shown

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        alias = self.seen(request, object_id)
        context = {"title": f"Alias: {alias}", "alias": alias, "dead": aliases.state_of(alias) != AliasState.LIVE}
        if self.has_operate_permission(request, alias):
            try:
                context |= {"url": links.alias_url(alias), "curl": links.curl_line(alias)}
            except AliasUnknown as exc:
                context["problem"] = str(exc)
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """None once it is revoked, which is for good."""
        revoked = self.seen(request, object_id).revoked_at is not None
        return [] if revoked else super().get_actions_detail(request, object_id)

    @action(description="Extend", permissions=["operate"], icon="more_time", dialog=_EXTEND)
    def extend(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        alias = self.seen(request, object_id)
        try:
            until = aliases.extend(alias, form.cleaned_data["lifetime_s"])
        except (AliasRevoked, InvalidRequest) as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return self.back_to(alias)
        return self.done(request, alias, f"The alias was extended to {words.moment(until)}.")

    @action(description="Revoke", permissions=["operate"], icon="block", variant=ActionVariant.DANGER, dialog=_REVOKE)
    def revoke(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        alias = self.seen(request, object_id)
        if not aliases.revoke(alias):
            self.message_user(request, "The alias had been revoked already.", messages.WARNING)
            return self.back_to(alias)
        return self.done(request, alias, "The alias was revoked.")

    @admin.action(description="Extend by the usual lifetime", permissions=["operate"])
    def extend_chosen(self, request: HttpRequest, rows: QuerySet[Alias]) -> None:
        extended = 0
        for alias in self.chosen(request, rows):
            try:
                aliases.extend(alias, settings.ALIAS_LIFETIME_S)
            except AliasRevoked:
                continue
            extended += 1
            self.log_change(request, alias, "The alias was extended.")
        self.message_user(request, f"{extended} extended; revoked ones stay revoked.")

    @admin.action(description="Revoke", permissions=["operate"])
    @confirmed("Revoke {rows}?", _REVOKING, "Revoke them")
    def revoke_chosen(self, request: HttpRequest, rows: QuerySet[Alias]) -> None:
        revoked = [alias for alias in self.chosen(request, rows) if aliases.revoke(alias)]
        for alias in revoked:
            self.log_change(request, alias, "The alias was revoked.")
        self.message_user(request, f"{len(revoked)} revoked.")

    @admin.action(description="Mark the producer as failed", permissions=["operate"])
    @confirmed("Mark the producers behind {rows} as failed?", _FAILING, "Mark as failed")
    def fail_chosen(self, request: HttpRequest, rows: QuerySet[Alias]) -> None:
        marked = 0
        for alias in self.chosen(request, rows):
            if not alias.mode.startswith("read") and failures.fail(alias, "told by an operator"):
                marked += 1
                self.log_change(request, alias, "The producer was marked as failed.")
        self.message_user(request, f"{marked} marked; readers that wait for their objects are told.")

    @display(description="Target", ordering="key")
    def target(self, row: Alias) -> str:
        return words.code(f"{row.bucket}/{row.key}")

    @display(description="Direction", ordering="mode")
    def mode_badge(self, row: Alias) -> str:
        return words.badge(row.mode)

    @display(description="State")
    def state_badge(self, row: Alias) -> str:
        state = aliases.state_of(row)
        return words.ended(state) if state == AliasState.REVOKED else words.badge(state)

    @display(description="Expires", ordering="expires_at")
    def expiry(self, row: Alias) -> str:
        return words.ago(aliases.ends_at(row))

    @display(description="Uses", ordering="uses")
    def use_count(self, row: Alias) -> str:
        return f"{row.uses} of {row.max_uses}" if row.max_uses else str(row.uses)

    @display(description="Last used", ordering="last_used_at")
    def last_used(self, row: Alias) -> str:
        return words.ago(row.last_used_at)

    @display(description="Bounds")
    def bounds(self, row: Alias) -> str:
        rows = [
            ("Starts", "with its first use" if row.lifetime_s is not None and row.first_used_at is None else ""),
            ("Unused for", f"{row.idle_s} s at most" if row.idle_s is not None else ""),
            ("A second", words.exact_size(row.max_rate) if row.max_rate is not None else ""),
            ("Streams at a time", str(row.max_requests or "")),
            ("From", ", ".join(row.networks)),
            ("Direct reads", "where a request asks for them" if row.redirect else ""),
        ]
        return words.table((name, value) for name, value in rows if value)

    @display(description="If the key is taken")
    def taken(self, row: Alias) -> str:
        return "Other content is refused" if row.on_exists == "fail" else "It is replaced by a new version"

    @display(description="Limits")
    def limits(self, row: Alias) -> str:
        rows = [
            ("At most", words.exact_size(row.max_bytes) if row.max_bytes is not None else ""),
            ("In all", words.exact_size(row.max_total_bytes) if row.max_total_bytes is not None else ""),
            ("Exactly", words.exact_size(row.size) if row.size is not None else ""),
            ("SHA-256", words.code(row.sha256) if row.sha256 else ""),
            ("Content type", row.content_type),
            ("Empty stream", "allowed" if row.allow_empty_stream else ""),
        ]
        return words.table((name, value) for name, value in rows if value)

    @display(description="Producer failed")
    def failed(self, row: Alias) -> str:
        return (
            format_html("{}: {}", words.ago(row.failed_at), row.failure or "no reason given") if row.failed_at else "no"
        )

    @display(description="Labels")
    def label_words(self, row: Alias) -> str:
        return words.facts(row.labels)

    @display(description="Made by")
    def made_by(self, row: Alias) -> str:
        return f"API key {row.created_by}" if row.created_by else "a person, see History"


def aliases_of(target: Object) -> str:
    """Where to see the aliases of an object, with how many there are."""
    count = Alias.objects.filter(bucket=target.bucket_id, key=target.key).count()
    if not count:
        return "none"
    query = urlencode({"bucket__id__exact": target.bucket_id, "q": target.key})
    link = f"{reverse('admin:staging_alias_changelist')}?{query}"
    return format_html('<a class="text-link" href="{}">{} for this key</a>', link, count)
