"""The form of a storage: its settings are fields of their own, and its secrets are only ever written."""

from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from adapters import registry
from gateway.admin import access, option_fields
from gateway.admin.option_fields import OPTION, SECRET
from gateway.admin.service_form import InProjectForm, ServiceForm
from gateway.admin.words import NameField, SizeField
from staging import storages
from staging.models import Credential, Node, Storage
from staging.states import Role
from staging.storages import StorageSpec

#: What every kind of storage has besides its options.
_OWN = ("tier", "capacity_bytes", "site", "node", "max_transfers")


class _SettingsForm(ServiceForm):
    """What making and changing have in common."""

    tier = forms.TypedChoiceField(
        choices=Storage._meta.get_field("tier").choices,
        coerce=int,
        initial=2,
        widget=UnfoldAdminSelectWidget(),
        help_text="Objects are read from the lowest tier that has them.",
    )
    capacity_bytes = SizeField(label="Capacity", help_text="How much Waybill may put there; empty for no limit.")

    site = forms.CharField(
        required=False,
        max_length=63,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "machine room 2"}),
        help_text="Where it stands, for policies that spread copies. Empty: a site of its own.",
    )
    node = forms.ModelChoiceField(
        Node.objects.all(),
        required=False,
        empty_label="None: every gateway and worker reaches it by itself",
        widget=UnfoldAdminSelectWidget(),
        help_text="The machine whose own disk or memory it is.",
    )
    max_transfers = forms.IntegerField(
        label="Transfers at once",
        required=False,
        min_value=1,
        max_value=1000,
        initial=4,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="How many may run here; as many removals besides.",
    )

    class Meta:
        model = Storage
        fields: list[str] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not Node.objects.exists():
            del self.fields["node"]

    def field_of(self, name: str) -> str | None:
        found = (prefix + name for prefix in (OPTION, SECRET, "") if prefix + name in self.fields)
        return next(found, None)


class NewStorageForm(_SettingsForm, InProjectForm):
    """Registers a storage of the kind that ``scheme`` names."""

    scheme: str

    name = NameField()

    def serve(self) -> Storage:
        asked = self.cleaned_data
        spec = StorageSpec(
            name=asked["name"],
            scheme=self.scheme,
            options=option_fields.given(asked, OPTION),
            secrets=option_fields.given(asked, SECRET) or None,
            credential=asked.get("credential"),
            tier=asked["tier"],
            capacity_bytes=asked["capacity_bytes"],
            site=asked["site"],
            node=asked.get("node"),
            max_transfers=asked["max_transfers"] or self.fields["max_transfers"].initial,
        )
        return storages.create(asked["project"], spec)


def credential_field(request: HttpRequest) -> forms.Field:
    """For the kinds of storage that have secrets: one that exists, in place of new secrets."""
    return forms.ModelChoiceField(
        Credential.objects.filter(project__in=access.projects(request, Role.ADMIN)),
        required=False,
        empty_label="Enter the secrets below",
        widget=UnfoldAdminSelectWidget(),
        help_text="Or one that exists, shared with other storages.",
    )


class ChangeStorageForm(_SettingsForm):
    """Changes the settings; a secret that is left empty stays as it is."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        row = self.instance
        for name in self.fields:
            if name.startswith(OPTION):
                self.initial[name] = row.options.get(name.removeprefix(OPTION))
        self.initial |= {name: getattr(row, name) for name in _OWN if name in self.fields}

    def serve(self) -> Storage:
        row, asked = self.instance, self.cleaned_data
        options, secrets = option_fields.given(asked, OPTION), option_fields.given(asked, SECRET)
        storages.resize(row, tier=asked["tier"], capacity_bytes=asked["capacity_bytes"])
        storages.place(row, site=asked["site"], max_transfers=asked["max_transfers"] or row.max_transfers)
        if "node" in self.changed_data:
            storages.give(row, asked["node"])
        if any(name.startswith((OPTION, SECRET)) for name in self.changed_data):
            storages.update(row, options=options, secrets=secrets or None)
        return row


def fieldsets_of(scheme: str, *, new: bool, with_secrets: bool) -> list[tuple[str | None, dict[str, Any]]]:
    """How the form is laid out for a kind of storage: what is needed first, what has a default folded away."""
    fields = registry.describe_registered(scheme).fields
    usual = [f for f in fields if not f.secret and (f.required or f.default is None or f.type == "string")]
    rest = [f for f in fields if not f.secret and f not in usual]
    secret = [SECRET + f.name for f in fields if f.secret] if with_secrets else []
    head = ["project", "name"] if new else []
    own = [name for name in _OWN if name != "node" or Node.objects.exists()]
    sets: list[tuple[str | None, dict[str, Any]]] = [
        (None, {"fields": [*head, *own]}),
        ("Where it is", {"fields": [OPTION + f.name for f in usual]}),
    ]
    if secret:
        note = "Encrypted as they arrive, and never shown again."
        sets.append(("Secrets", {"fields": [*(["credential"] if new else []), *secret], "description": note}))
    if rest:
        sets.append(("Limits and details", {"fields": [OPTION + f.name for f in rest], "classes": ["collapse"]}))
    return [(title, content) for title, content in sets if content["fields"]]
