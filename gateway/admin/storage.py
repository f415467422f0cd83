"""Storages: registered, tested, browsed, cordoned."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from adapters import registry
from adapters.errors import AdapterError
from gateway.admin import dialogs, option_fields, words
from gateway.admin.browse import browse_page
from gateway.admin.drain import DrainForm, drain_of
from gateway.admin.giving_up import GiveUpForm
from gateway.admin.owned import OwnedAdmin, SeenFilter
from gateway.admin.service_form import bind
from gateway.admin.storage_form import ChangeStorageForm, NewStorageForm, credential_field, fieldsets_of
from gateway.admin.usage import bar, passing
from staging import drains, giving_up, health, storages
from staging.errors import InvalidRequest, StagingError
from staging.models import Storage
from staging.states import Role, StorageState

_TEST = dialogs.confirm(
    "Test the connection?",
    "Waybill signs in and writes, reads, replaces and deletes a small file of its own below the storage's root.",
    "Run the test",
)
_CORDON = dialogs.confirm(
    "Cordon this storage?", "It takes no new data until it is uncordoned. What it holds can still be read.", "Cordon"
)
_UNCORDON = dialogs.confirm("Uncordon this storage?", "It takes new data again.", "Uncordon")
_DRAIN = dialogs.confirm(
    "Drain this storage?",
    "It takes no new data, and workers move the copies of managed objects away; new ones of its buckets go there too. "
    "All stay readable. It can be cancelled; what was moved stays where it is.",
    "Drain",
    DrainForm,
)
_CANCEL_DRAIN = dialogs.confirm(
    "Cancel the drain?", "It takes new data again. What was moved stays where it is.", "Take new data again"
)
_GIVE_UP = dialogs.confirm(
    "Give this storage up?",
    "It is gone for good, burnt or wiped, and will never be read again, even if it is heard of later.",
    "Give up for good",
    GiveUpForm,
)


@admin.register(Storage)
class StorageAdmin(OwnedAdmin):
    """Its page shows how full it is and what the last test found, above the settings."""

    needed = {"add": Role.ADMIN, "change": Role.ADMIN, "delete": Role.ADMIN, "operate": Role.ADMIN}
    list_display = ["name", "project", "kind", "tier_words", "state_badge", "node", "usage", "last_test", "browse_link"]
    list_filter = [
        ("project", SeenFilter),
        ("state", ChoicesDropdownFilter),
        ("tier", ChoicesDropdownFilter),
        "scheme",
    ]
    list_select_related = ["project", "credential", "node"]
    search_fields = ["name", "site", "node__name"]
    search_help_text = "Name, site or node"
    list_fullwidth = True
    actions = ["test_chosen"]
    actions_detail = ["test_connection", "browse", "cordon", "uncordon", "drain", "cancel_drain", "give_up"]
    actions_row = ["test_connection", "browse"]
    change_form_outer_before_template = "admin/staging/storage/panel.html"

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Without what the storage's state leaves no sense to."""
        state = self.seen(request, object_id).state
        senseless = {
            "staging_storage_cordon": state != StorageState.ACTIVE,
            "staging_storage_uncordon": state != StorageState.CORDONED,
            "staging_storage_drain": state not in (StorageState.ACTIVE, StorageState.CORDONED),
            "staging_storage_cancel_drain": state not in drains.LEAVING,
            "staging_storage_give_up": self.seen(request, object_id).is_given_up,
        }
        offered = super().get_actions_detail(request, object_id)
        return [deed for deed in offered if not senseless.get(deed.action_name)]

    def get_form(self, request: HttpRequest, obj: Storage | None = None, change: bool = False, **options: Any) -> Any:
        if obj is None:
            scheme = request.GET["scheme"]
            secrets = option_fields.secrets_of(scheme)
            shared = {"credential": credential_field(request)} if secrets else {}
            form = bind(NewStorageForm, request, **option_fields.options_of(scheme), **secrets, **shared)
            form.scheme = scheme
            return form
        if not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change, **options)
        fields = option_fields.options_of(obj.scheme)
        if _has_own_secrets(obj):
            fields |= option_fields.secrets_of(obj.scheme, kept=obj.credential.field_names if obj.credential else [])
        return bind(ChangeStorageForm, request, **fields)

    def get_fieldsets(self, request: HttpRequest, obj: Storage | None = None) -> Any:
        if obj is None:
            return fieldsets_of(request.GET["scheme"], new=True, with_secrets=True)
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": ["settings", "credential_words"]})]
        shown = fieldsets_of(obj.scheme, new=False, with_secrets=_has_own_secrets(obj))
        return shown if _has_own_secrets(obj) else [*shown, ("Secrets", {"fields": ["credential_words"]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Storage | None = None) -> list[str]:
        return ["credential_words"] if obj else []

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """First the kind, then its settings."""
        scheme = request.GET.get("scheme")
        if scheme not in storages.schemes():
            return self._choose_kind(request)
        title = f"New storage: {registry.describe(scheme).title}"
        return super().add_view(request, form_url, {"title": title, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.seen(request, object_id)
        panel = {
            "title": f"Storage {row}",
            "storage": row,
            "kind": registry.describe_registered(row.scheme).title,
            "address": registry.base_uri(row.scheme, row.options),
            "bar": bar(row),
            "passing": passing(row),
            "sees_nodes": request.user.is_superuser,
            "state": words.badge(row.state),
            "health": _health_words(row),
            "tested": words.ago(row.tested_at),
            "buckets": row.buckets.all()[:20],
            "drain": drain_of(row),
        }
        return super().change_view(request, object_id, form_url, {**panel, **(extra_context or {})})

    def delete_model(self, request: HttpRequest, obj: Storage) -> None:
        storages.delete(obj)

    @action(description="Test connection", permissions=["operate"], icon="network_check", dialog=_TEST)
    def test_connection(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        storage = self.seen(request, object_id)
        self._test(request, storage)
        return self.back_to(storage)

    @action(description="Browse", icon="folder_open", permissions=["view"])
    def browse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        storage = self.seen(request, object_id)
        root = storage.buckets.select_related("storage__credential", "storage__node")
        return browse_page(self, request, storage, root.get(name=storages.root_bucket_name(storage.name)))

    @action(description="Cordon", permissions=["operate"], icon="front_hand", dialog=_CORDON)
    def cordon(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        storage = self.seen(request, object_id)
        return self._moved(request, storage, "cordoned", moved=storages.cordon(storage))

    @action(description="Uncordon", permissions=["operate"], icon="waving_hand", dialog=_UNCORDON)
    def uncordon(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        storage = self.seen(request, object_id)
        return self._moved(request, storage, "uncordoned", moved=storages.uncordon(storage))

    @action(description="Drain…", permissions=["operate"], icon="output", dialog=_DRAIN)
    def drain(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        storage, to = self.seen(request, object_id), form.cleaned_data["to"]
        try:
            drains.start(storage, to, deadline_s=form.cleaned_data["deadline_s"])
        except InvalidRequest as exc:
            self.message_user(request, " ".join([str(exc), *exc.fields.values()]), messages.ERROR)
            return self.back_to(storage)
        return self.done(request, storage, f"The storage {storage} is being drained to {to}.")

    @action(description="Cancel drain", permissions=["operate"], icon="undo", dialog=_CANCEL_DRAIN)
    def cancel_drain(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        storage = self.seen(request, object_id)
        try:
            drains.cancel(storage)
        except InvalidRequest as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return self.back_to(storage)
        return self.done(request, storage, f"The storage {storage} takes new data again.")

    @action(description="Give up…", permissions=["operate"], icon="delete_forever", dialog=_GIVE_UP)
    def give_up(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        storage = self.seen(request, object_id)
        try:
            giving_up.start(storage, to=form.cleaned_data["to"], lose=form.cleaned_data["lose"])
        except InvalidRequest as exc:
            self.message_user(request, " ".join([str(exc), *exc.fields.values()]), messages.ERROR)
            return self.back_to(storage)
        return self.done(request, storage, f"The storage {storage} is given up.")

    @admin.action(description="Test connection", permissions=["operate"])
    def test_chosen(self, request: HttpRequest, rows: QuerySet[Storage]) -> None:
        for storage in self.chosen(request, rows):
            self._test(request, storage)

    @display(description="Kind", ordering="scheme")
    def kind(self, row: Storage) -> str:
        title = registry.describe_registered(row.scheme).title
        return format_html('{} <div class="wb-faint">on {}</div>', title, row.node) if row.node else title

    @display(description="Tier", ordering="tier")
    def tier_words(self, row: Storage) -> str:
        return row.get_tier_display()

    @display(description="State", ordering="state")
    def state_badge(self, row: Storage) -> str:
        late = words.badge("late", "danger") if row.state == StorageState.DRAINING and row.drain_is_late else ""
        return format_html("{} {} {}", words.badge(row.state), words.badge("failing") if _is_failing(row) else "", late)

    @display(description="Used", ordering="used_bytes")
    def usage(self, row: Storage) -> str:
        return render_to_string("admin/staging/storage/bar.html", {"bar": bar(row)})

    @display(description="Last test", ordering="tested_at")
    def last_test(self, row: Storage) -> str:
        if row.tested_at is None:
            return words.badge("not tested")
        passed = words.badge("passed", "success") if row.test_passed else words.badge("failed")
        return format_html('{} <span class="wb-faint">{}</span>', passed, words.ago(row.tested_at))

    @display(description="")
    def browse_link(self, row: Storage) -> str:
        return format_html(
            '<a class="text-link" href="{}">Browse</a>', reverse("admin:staging_storage_browse", args=[row.pk])
        )

    @display(description="Settings")
    def settings(self, row: Storage) -> str:
        return words.facts(row.options)

    @display(description="Credential")
    def credential_words(self, row: Storage) -> str:
        if row.credential is None:
            return "none"
        link = reverse("admin:staging_credential_change", args=[row.credential.pk])
        return format_html('<a class="text-link" href="{}">{}</a>', link, row.credential)

    def _moved(self, request: HttpRequest, storage: Storage, word: str, *, moved: bool) -> HttpResponse:
        if moved:
            return self.done(request, storage, f"The storage {storage} was {word}.")
        self.message_user(request, f"The storage {storage} cannot be {word} any more.", messages.WARNING)
        return self.back_to(storage)

    def _test(self, request: HttpRequest, storage: Storage) -> None:
        try:
            steps = storages.test(storage)
        except (StagingError, AdapterError) as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return
        if all(step.ok for step in steps):
            self.log_change(request, storage, "Tested: passed.")
            self.message_user(request, f"The storage {storage} passed all {len(steps)} steps.", messages.SUCCESS)
        else:
            self.log_change(request, storage, f"Tested: failed at '{steps[-1].step}'.")
            failed = f"The storage {storage} failed at the step '{steps[-1].step}': {steps[-1].detail}"
            self.message_user(request, failed, messages.ERROR)

    def _choose_kind(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "New storage: of which kind?",
            "kinds": [option_fields.summary(registry.describe(scheme)) for scheme in storages.schemes()],
        }
        return TemplateResponse(request, "admin/staging/choose_kind.html", context)


def _health_words(storage: Storage) -> str:
    found = health.of(storage)
    if found.failing_since is None:
        return "no failures in a row"
    when = format_html("; tried again at {}", words.moment(found.next_try_at)) if found.next_try_at else ""
    since = words.ago(found.failing_since)
    return format_html("{} since {}: {} {}{}", words.badge("failing"), since, found.code, found.detail, when)


def _is_failing(storage: Storage) -> bool:
    return health.of(storage).failing_since is not None


def _has_own_secrets(storage: Storage) -> bool:
    """Whether the secrets are this storage's alone; shared ones are rotated on the credential's page."""
    return storage.credential is None or storage.credential.storages.count() == 1
