"""Giving up a storage: the form that says what will be lost, and asks for that number."""

from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from gateway.admin import words
from gateway.admin.drain import others_of
from staging import giving_up
from staging.models import Storage

#: So many of the objects that would be lost are named.
_NAMED = 50


class GiveUpForm(BaseDialogForm):
    """Nobody loses an object who has not typed how many are lost."""

    form_before_template = "admin/staging/storage/give_up.html"

    to = forms.ModelChoiceField(
        Storage.objects.none(),
        label="Its buckets and policies have instead",
        required=False,
        empty_label="none",
        widget=UnfoldAdminSelectWidget(),
    )
    lose = forms.IntegerField(
        label="Objects that are lost for good: type the number", min_value=0, widget=UnfoldAdminIntegerFieldWidget()
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["to"].queryset = others_of(Storage.objects.get(pk=self.object_id))
        self.fields["to"].initial = self.fields["to"].queryset.first()

    def get_before_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        """What there is, and what of it would be lost."""
        storage = Storage.objects.get(pk=object_id)
        found = giving_up.outlook(storage)
        named = list(giving_up.lost(storage, _NAMED))
        size, more = words.size(found.lost_bytes), found.lost_objects - len(named)
        return {"found": found, "size": size, "named": named, "more": more}

    def clean_lose(self) -> int:
        """Exactly as many as there are now."""
        there = giving_up.outlook(Storage.objects.get(pk=self.object_id)).lost_objects
        if self.cleaned_data["lose"] != there:
            raise forms.ValidationError(f"{there} objects would be lost.")
        return there
