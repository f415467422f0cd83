"""API keys: issued, shown once, revoked."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from gateway.admin import dialogs, words
from gateway.admin.owned import OwnedAdmin, SeenFilter
from gateway.admin.service_form import InProjectForm, bind
from staging import api_keys
from staging.models import ApiKey
from staging.states import Role


class ApiKeyForm(InProjectForm):
    """What a new key is for. ``text`` is the key itself, which is known only now."""

    label = forms.CharField(
        max_length=100,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Which program will use it, such as nextflow-prod.",
    )
    role = forms.ChoiceField(
        choices=Role.choices,
        initial=Role.OPERATOR,
        widget=UnfoldAdminSelectWidget(),
        help_text="Viewers read, operators make and revoke aliases, admins change everything in the project.",
    )
    lifetime_s = forms.TypedChoiceField(
        label="Valid for",
        coerce=int,
        empty_value=None,
        required=False,
        choices=[("", "Until it is revoked"), *((n * 86400, f"{n} days") for n in (1, 7, 30, 90, 365))],
        widget=UnfoldAdminSelectWidget(),
    )
    text = ""

    class Meta:
        model = ApiKey
        fields: list[str] = []

    def serve(self) -> ApiKey:
        asked = self.cleaned_data
        lifetime_s = asked["lifetime_s"]
        key, self.text = api_keys.issue_key(
            asked["project"],
            Role(asked["role"]),
            label=asked["label"],
            created_by=self.request.user,
            expires_at=timezone.now() + timedelta(seconds=lifetime_s) if lifetime_s else None,
        )
        return key


@admin.register(ApiKey)
class ApiKeyAdmin(OwnedAdmin):
    """A key's text is on the page that answers its creation, and nowhere else, ever."""

    needed = {"add": Role.ADMIN, "operate": Role.ADMIN}
    list_display = ["name", "project", "role_badge", "state", "expiry", "last_used", "created"]
    list_filter = [("project", SeenFilter), "role"]
    list_select_related = ["project", "created_by"]
    search_fields = ["label", "public_id"]
    search_help_text = "Label or id"
    add_fieldsets = [(None, {"fields": ["project", "label", "role", "lifetime_s"]})]
    fieldsets = [
        (None, {"fields": ["label", "public", "project", "role_badge", "state"]}),
        ("Life", {"fields": ["created", "created_by", "expiry", "last_used"]}),
    ]
    actions_detail = ["revoke"]
    actions_row = ["revoke"]

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **options: Any) -> Any:
        return super().get_form(request, obj, change, **options) if obj else bind(ApiKeyForm, request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return super().add_view(request, form_url, {"title": "New API key", **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        request._issued_key = form.text

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The one page that ever shows the key; admin pages are not cached."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Copy the new API key",
            "key": obj,
            "text": request._issued_key,
            "url": self.url_of(obj),
        }
        return TemplateResponse(request, "admin/staging/apikey/issued.html", context)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """None once it is revoked, which is for good."""
        revoked = self.seen(request, object_id).revoked_at is not None
        return [] if revoked else super().get_actions_detail(request, object_id)

    @action(
        description="Revoke",
        permissions=["operate"],
        icon="block",
        variant=ActionVariant.DANGER,
        dialog=dialogs.confirm(
            "Revoke this API key?", "Programs that use it are refused from now on, for good.", "Revoke"
        ),
    )
    def revoke(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        key = self.seen(request, object_id)
        if not api_keys.revoke_key(key):
            self.message_user(request, f"The API key {key} had been revoked already.", messages.WARNING)
            return self.back_to(key)
        return self.done(request, key, f"The API key {key} was revoked.")

    @display(description="Label", ordering="label")
    def name(self, row: ApiKey) -> str:
        return str(row)

    @display(description="Id")
    def public(self, row: ApiKey) -> str:
        return words.code(row.public_id)

    @display(description="Role", ordering="role")
    def role_badge(self, row: ApiKey) -> str:
        return words.badge(row.role)

    @display(description="State")
    def state(self, row: ApiKey) -> str:
        if row.revoked_at:
            return words.ended("revoked")
        expired = row.expires_at is not None and row.expires_at <= timezone.now()
        return words.badge("expired" if expired else "active")

    @display(description="Expires", ordering="expires_at")
    def expiry(self, row: ApiKey) -> str:
        return words.ago(row.expires_at)

    @display(description="Last used", ordering="last_used_at")
    def last_used(self, row: ApiKey) -> str:
        return words.ago(row.last_used_at)
