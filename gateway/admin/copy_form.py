"""The forms of a copy: of one object, asked for on its page, and of anything between any two buckets."""

from typing import Any

from django import forms
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from gateway.admin import dialogs
from gateway.admin.bucket_field import BucketField
from gateway.admin.service_form import ServiceForm
from staging import copy_jobs
from staging.copy_specs import CopySpec
from staging.errors import InvalidRequest
from staging.models import CopyJob, Object
from staging.states import CopyOnExists

ON_EXISTS = {
    CopyOnExists.FAIL: "do not copy",
    CopyOnExists.REPLACE: "replace it",
    CopyOnExists.SKIP: "leave both as they are",
}


def _on_exists() -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=[(how.value, f"{told[:1].upper()}{told[1:]}") for how, told in ON_EXISTS.items()],
        label="Where another stands",
        widget=UnfoldAdminSelectWidget(),
        help_text="At a key that holds an object of other content. One of the same content is the copy.",
    )


class CopyForm(BaseDialogForm):
    """Asks where one object is to go."""

    to = forms.CharField(
        max_length=1200,
        label="To",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "bucket/key"}),
        help_text="A bucket of the same project, and the key there.",
    )
    on_exists = _on_exists()
    move = forms.BooleanField(required=False, label="Move it", widget=UnfoldBooleanSwitchWidget())


ASK = dialogs.confirm(
    "Copy or move this object?",
    "Between managed buckets no byte moves; else workers bring it there.",
    "Begin",
    CopyForm,
)


def begin(target: Object, form: forms.Form) -> CopyJob:
    """Begin what the dialog asks for. Raises StagingError."""
    name, slash, key = form.cleaned_data["to"].partition("/")
    project = target.bucket.project
    bucket = project.buckets.select_related("storage").filter(name=name).first()
    if not slash or bucket is None:
        raise InvalidRequest(f"There is no bucket {name!r} in this project; it is to be bucket/key.")
    how = CopyOnExists(form.cleaned_data["on_exists"])
    spec = CopySpec(target.bucket, target.key, bucket, key, on_exists=how, moves=form.cleaned_data["move"])
    return copy_jobs.create(project, spec)


def _key(*, placeholder: str, help_text: str) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(attrs={"placeholder": placeholder})
    return forms.CharField(
        label="Key or folder", max_length=1100, strip=False, required=False, widget=widget, help_text=help_text
    )


class NewCopyForm(ServiceForm):
    """An object, or all below a folder, from one bucket to another or to another place of the same."""

    source_bucket = BucketField(label="From the bucket", empty_label="Choose one")
    source_key = _key(placeholder="results/2026/", help_text="A folder ends in '/'. Empty: all that is in the bucket.")
    target_bucket = BucketField(label="To the bucket", empty_label="Choose one")
    target_key = _key(placeholder="kept/2026/", help_text="Ends in '/', or is empty, where the other does or is.")
    moves = forms.TypedChoiceField(
        label="What to do",
        choices=[
            ("", "Copy: the source stays as it is"),
            ("yes", "Move: each object is deleted at the source once its copy stands"),
        ],
        coerce=bool,
        empty_value=False,
        required=False,
        widget=UnfoldAdminRadioSelectWidget(attrs={"class": "wb-sentences"}),
    )
    on_exists = _on_exists()

    class Meta:
        model = CopyJob
        fields: list[str] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in ("source_bucket", "target_bucket"):
            self.fields[name].offer(self.request)

    def field_of(self, name: str) -> str | None:
        return {"from": "source_key", "to": "target_key"}.get(name, super().field_of(name))

    def serve(self) -> CopyJob:
        asked = self.cleaned_data
        spec = CopySpec(
            asked["source_bucket"],
            asked["source_key"],
            asked["target_bucket"],
            asked["target_key"],
            on_exists=CopyOnExists(asked["on_exists"]),
            moves=asked["moves"],
        )
        return copy_jobs.create(asked["source_bucket"].project, spec)
