"""The form of a new checkpoint: all below a folder of a bucket, or what the aliases of a run have brought."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from gateway.admin import access
from gateway.admin.bucket_field import BucketField
from gateway.admin.service_form import ServiceForm
from gateway.admin.words import LabelsField, NameField
from staging import checkpoints
from staging.checkpoints import CheckpointSpec
from staging.errors import NameTaken
from staging.models import Checkpoint, Project
from staging.states import Role


class NewCheckpointForm(ServiceForm):
    """The project is asked only where there are several, and a bucket says it already."""

    project = forms.ModelChoiceField(Project.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget())
    name = NameField()
    bucket = BucketField(
        required=False,
        empty_label="Any: what aliases with the labels below have brought",
        help_text="A managed one. Of a mounted bucket there is no checkpoint: others may change what lies there.",
    )
    prefix = forms.CharField(
        label="Folder",
        max_length=1100,
        strip=False,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "runs/7/"}),
        help_text="All keys that begin so. Empty: all of the bucket.",
    )
    labels = LabelsField(
        help_text="One name=value a line: only what write aliases with all of them have brought. Empty: everything."
    )

    class Meta:
        model = Checkpoint
        fields: list[str] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        mine = access.projects(self.request, Role.OPERATOR)
        self.fields["project"].queryset = mine
        self.initial.setdefault("project", mine.first())
        if not access.sees_several(self.request):
            self.fields["project"].widget = forms.HiddenInput()
        self.fields["bucket"].offer(self.request, mounted=False)

    def serve(self) -> Checkpoint:
        asked = self.cleaned_data
        project = asked["bucket"].project if asked["bucket"] else asked["project"]
        spec = CheckpointSpec(asked["name"], asked["bucket"], asked["prefix"], asked["labels"])
        made, was_there = checkpoints.create(project, spec)
        if was_there:
            raise NameTaken(f"The checkpoint {made} of the same objects exists already.")
        return made
