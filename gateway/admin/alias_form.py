"""The forms of an alias: making one, and letting it live longer."""

from typing import Any

from django import forms
from django.conf import settings
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from gateway.admin import access
from gateway.admin.service_form import ServiceForm
from gateway.admin.words import LabelsField, SizeField
from staging import aliases
from staging.alias_terms import AliasSpec
from staging.models import Alias, Bucket
from staging.states import AliasMode, OnExists, Role

_LIFETIMES = {
    3600: "1 hour",
    8 * 3600: "8 hours",
    86400: "1 day",
    3 * 86400: "3 days",
    7 * 86400: "1 week",
    14 * 86400: "2 weeks",
    30 * 86400: "30 days",
    90 * 86400: "90 days",
    365 * 86400: "1 year",
}


def lifetimes() -> list[tuple[int, str]]:
    """The lifetimes on offer: those that the gateway allows."""
    offered = {settings.ALIAS_LIFETIME_S: f"{settings.ALIAS_LIFETIME_S} seconds", **_LIFETIMES}
    return sorted((seconds, words) for seconds, words in offered.items() if seconds <= settings.ALIAS_MAX_LIFETIME_S)


class NewAliasForm(ServiceForm):
    """One alias for one key and one direction."""

    bucket = forms.ModelChoiceField(Bucket.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget())
    key = forms.CharField(
        max_length=1100,
        strip=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "results/table.csv"}),
        help_text="The object's key. Its last part is the file name that jobs see in the URL.",
    )
    mode = forms.ChoiceField(
        label="Direction",
        choices=[(AliasMode.READ, "Read: jobs download it"), (AliasMode.WRITE, "Write: a job uploads it")],
        widget=UnfoldAdminSelectWidget(),
    )
    lifetime_s = forms.TypedChoiceField(
        label="Valid for",
        coerce=int,
        widget=UnfoldAdminSelectWidget(),
        help_text="It can be extended and revoked at any time.",
    )
    max_uses = forms.IntegerField(
        label="Uses",
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="How often it may be used in all; empty for any number.",
    )
    max_bytes = SizeField(label="At most", help_text="Larger uploads are refused.")
    on_exists = forms.ChoiceField(
        label="If the key is taken",
        choices=[(OnExists.FAIL, "Refuse other content"), (OnExists.REPLACE, "Replace it by a new version")],
        required=False,
        widget=UnfoldAdminSelectWidget(),
    )
    size = SizeField(label="Exact size", help_text="The upload must have exactly this size.")
    sha256 = forms.CharField(
        label="SHA-256",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="The upload must have this digest: 64 hexadecimal digits.",
    )
    content_type = forms.CharField(
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "text/csv"}),
        help_text="Empty: what the upload says of itself.",
    )
    allow_empty_stream = forms.BooleanField(
        label="Allow an empty stream",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Accept nothing at all from standard input (curl -T -), which is mostly a job that failed.",
    )
    labels = LabelsField(help_text="One name=value a line, to find the alias by: a workflow, a run, a job.")

    class Meta:
        model = Alias
        fields: list[str] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        mine = access.projects(self.request, Role.OPERATOR)
        rows = Bucket.objects.filter(project__in=mine).select_related("project").order_by("mounted", "name")
        self.fields["bucket"].queryset = rows
        if access.sees_several(self.request):
            self.fields["bucket"].label_from_instance = lambda row: f"{row.project} / {row}"
        self.fields["lifetime_s"].choices = lifetimes()
        self.initial.setdefault("lifetime_s", settings.ALIAS_LIFETIME_S)

    def serve(self) -> Alias:
        asked = self.cleaned_data
        spec = AliasSpec(
            mode=AliasMode(asked["mode"]),
            key=asked["key"],
            lifetime_s=asked["lifetime_s"],
            on_exists=OnExists(asked["on_exists"] or OnExists.FAIL),
            max_uses=asked["max_uses"],
            max_bytes=asked["max_bytes"],
            size=asked["size"],
            sha256=asked["sha256"].strip().lower(),
            allow_empty_stream=asked["allow_empty_stream"],
            content_type=asked["content_type"],
            labels=asked["labels"],
        )
        return aliases.create(asked["bucket"], [spec])[0]


class ExtendForm(BaseDialogForm):
    """For how long from now on."""

    lifetime_s = forms.TypedChoiceField(label="Valid from now for", coerce=int, widget=UnfoldAdminSelectWidget())

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["lifetime_s"].choices = lifetimes()
        self.initial["lifetime_s"] = settings.ALIAS_LIFETIME_S
