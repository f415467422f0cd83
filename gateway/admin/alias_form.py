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

from gateway.admin.bucket_field import BucketField
from gateway.admin.service_form import ServiceForm
from gateway.admin.words import LabelsField, SizeField
from staging import aliases
from staging.alias_terms import AliasSpec
from staging.models import Alias
from staging.states import AliasMode, OnExists

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

    bucket = BucketField()
    key = forms.CharField(
        max_length=1100,
        strip=False,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "results/table.csv"}),
        help_text="The object's key; its last part is the file name in the URL. Or a folder; empty: the whole bucket.",
    )
    mode = forms.ChoiceField(
        label="Direction",
        choices=[
            (AliasMode.READ, "Read: jobs download it"),
            (AliasMode.WRITE, "Write: a job uploads it"),
            (AliasMode.READ_PREFIX, "Read a folder: jobs list it and download all below it"),
            (AliasMode.WRITE_PREFIX, "Write a folder: jobs upload any number of files below it"),
        ],
        widget=UnfoldAdminSelectWidget(),
    )
    lifetime_s = forms.TypedChoiceField(
        label="Valid for",
        coerce=int,
        widget=UnfoldAdminSelectWidget(),
        help_text="It can be extended and revoked at any time.",
    )
    starts_on_use = forms.BooleanField(
        label="Starts with the first use",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="A job may wait long in its queue before the time begins to run.",
    )
    idle_s = forms.TypedChoiceField(
        label="Ends when unused for",
        coerce=int,
        empty_value=None,
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="Counted from each use.",
    )
    max_rate = SizeField(label="Bytes a second", help_text="Of all its requests together, at each gateway.")
    max_requests = forms.IntegerField(
        label="Streams at a time",
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="At each gateway; who comes beyond that is told to come back.",
    )
    networks = forms.CharField(
        label="Networks",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "192.0.2.0/24 2001:db8::/32"}),
        help_text="Where it may be used from; empty for anywhere.",
    )
    redirect = forms.BooleanField(
        label="Direct reads",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Requests with ?redirect=1 are sent on to a short-lived URL of the storage, where it has some (S3).",
    )
    max_total_bytes = SizeField(label="In all", help_text="Of all files below a folder that is written.")
    max_uses = forms.IntegerField(
        label="Uses",
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Whole downloads, or files that are uploaded, in all; empty for any number.",
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
        self.fields["bucket"].offer(self.request)
        self.fields["lifetime_s"].choices = lifetimes()
        self.fields["idle_s"].choices = [("", "no matter how long"), *lifetimes()]
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
            starts_on_use=asked["starts_on_use"],
            idle_s=asked["idle_s"],
            max_total_bytes=asked["max_total_bytes"],
            max_rate=asked["max_rate"],
            max_requests=asked["max_requests"],
            redirect=asked["redirect"],
            networks=asked["networks"].replace(",", " ").split(),
        )
        return aliases.create(asked["bucket"], [spec])[0]


class ExtendForm(BaseDialogForm):
    """For how long from now on."""

    lifetime_s = forms.TypedChoiceField(label="Valid from now for", coerce=int, widget=UnfoldAdminSelectWidget())

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["lifetime_s"].choices = lifetimes()
        self.initial["lifetime_s"] = settings.ALIAS_LIFETIME_S
