"""Credentials: which secrets are set, and new ones in their place; never their values."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html_join
from unfold.decorators import display

from adapters import registry
from gateway.admin import option_fields, words
from gateway.admin.option_fields import SECRET
from gateway.admin.owned import OwnedAdmin, SeenFilter
from gateway.admin.service_form import InProjectForm, ServiceForm, bind
from gateway.admin.words import NameField
from staging import credentials, storages
from staging.models import Credential
from staging.states import Role


class _SecretsForm(ServiceForm):
    class Meta:
        model = Credential
        fields: list[str] = []

    def field_of(self, name: str) -> str | None:
        return next((prefix + name for prefix in (SECRET, "") if prefix + name in self.fields), None)


class NewCredentialForm(_SecretsForm, InProjectForm):
    """Secrets of their own, which storages may share."""

    name = NameField()

    def serve(self) -> Credential:
        asked = self.cleaned_data
        return credentials.create(asked["project"], asked["name"], option_fields.given(asked, SECRET))


class RotateForm(_SecretsForm):
    """New secrets; one that is left empty stays as it is."""

    def serve(self) -> Credential:
        changed = option_fields.given(self.cleaned_data, SECRET)
        if changed:
            storages.rotate(self.instance, changed)
        return self.instance


@admin.register(Credential)
class CredentialAdmin(OwnedAdmin):
    """Its page rotates the secrets that are set, and those that its storages could use besides."""

    needed = {"add": Role.ADMIN, "change": Role.ADMIN, "delete": Role.ADMIN}
    list_display = ["name", "project", "secrets_set", "used_by", "last_used", "rotated", "created"]
    list_filter = [("project", SeenFilter)]
    search_fields = ["name"]
    search_help_text = "Name"
    readonly_fields = ["secrets_set", "used_by", "last_used", "rotated", "created"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("project").prefetch_related("storages")

    def get_form(
        self, request: HttpRequest, obj: Credential | None = None, change: bool = False, **options: Any
    ) -> Any:
        if obj is None:
            return bind(NewCredentialForm, request, **option_fields.secrets_of(request.GET["scheme"]))
        if not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change, **options)
        return bind(RotateForm, request, **_secrets_of(obj))

    def get_fieldsets(self, request: HttpRequest, obj: Credential | None = None) -> Any:
        if obj is None:
            secrets = list(option_fields.secrets_of(request.GET["scheme"]))
            note = "Encrypted as they arrive, and never shown again."
            return [
                (None, {"fields": ["project", "name"]}),
                ("Secrets", {"fields": secrets, "description": note}),
            ]
        about = (None, {"fields": ["secrets_set", "used_by", "last_used", "rotated", "created"]})
        if not self.has_change_permission(request, obj):
            return [about]
        note = "What is left empty stays as it is. Storages use the new secrets from their next call on."
        return [about, ("Rotate", {"fields": list(_secrets_of(obj)), "description": note})]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """First the kind of storage, then the secrets that it takes."""
        described = [registry.describe(scheme) for scheme in storages.schemes()]
        kinds = [kind for kind in described if any(field.secret for field in kind.fields)]
        chosen = next((kind for kind in kinds if kind.scheme == request.GET.get("scheme")), None)
        if chosen:
            return super().add_view(
                request, form_url, {"title": f"New credential: {chosen.title}", **(extra_context or {})}
            )
        if not self.has_add_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "New credential: for which kind of storage?",
            "kinds": [option_fields.summary(kind) for kind in kinds],
        }
        return TemplateResponse(request, "admin/staging/choose_kind.html", context)

    def delete_model(self, request: HttpRequest, obj: Credential) -> None:
        credentials.delete(obj)

    @display(description="Secrets set")
    def secrets_set(self, row: Credential) -> str:
        return format_html_join(" ", "{}", ((words.badge(name),) for name in row.field_names)) or words.NOTHING

    @display(description="Used by")
    def used_by(self, row: Credential) -> str:
        links = ((reverse("admin:staging_storage_change", args=[s.pk]), s) for s in row.storages.all())
        return format_html_join(", ", '<a class="text-link" href="{}">{}</a>', links) or "no storage"

    @display(description="Last used", ordering="last_used_at")
    def last_used(self, row: Credential) -> str:
        return words.ago(row.last_used_at)

    @display(description="Rotated", ordering="rotated_at")
    def rotated(self, row: Credential) -> str:
        return words.ago(row.rotated_at)


def _secrets_of(credential: Credential) -> dict[str, forms.Field]:
    """The fields of the kinds of storage that use it, or else of those that know the secrets that are set."""
    used = {storage.scheme for storage in credential.storages.all()}
    fields: dict[str, forms.Field] = {}
    for scheme in storages.schemes():
        names = {field.name for field in registry.describe(scheme).fields if field.secret}
        if scheme in used or (not used and set(credential.field_names) <= names):
            fields |= option_fields.secrets_of(scheme, kept=credential.field_names)
    return fields
