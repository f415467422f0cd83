"""Form fields for the settings of a kind of storage, drawn from what its adapter says of itself."""

from collections.abc import Mapping
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from adapters import registry
from adapters.base import Field

#: Kept apart from the form's own fields: a setting may be called like one of them.
OPTION, SECRET = "option_", "secret_"


class SecretArea(UnfoldAdminTextareaWidget):
    """Several lines that are never sent back, not even with an error elsewhere in the form."""

    def format_value(self, value: Any) -> str:
        return ""


def options_of(scheme: str) -> dict[str, forms.Field]:
    """The public settings as fields."""
    return {OPTION + field.name: _option(field) for field in registry.describe(scheme).fields if not field.secret}


def secrets_of(scheme: str, *, kept: bool) -> dict[str, forms.Field]:
    """The secret settings as fields; ``kept``: an empty one leaves what is sealed as it is."""
    return {SECRET + field.name: _secret(field, kept) for field in registry.describe(scheme).fields if field.secret}


def given(cleaned: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What was filled in of the fields with the prefix, by the settings' own names."""
    found = {name.removeprefix(prefix): value for name, value in cleaned.items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if value not in (None, "")}


def _label(name: str) -> str:
    words = name.removesuffix("_s").replace("_", " ")
    return words[:1].upper() + words[1:]


def _option(field: Field) -> forms.Field:
    words: dict[str, Any] = {"label": _label(field.name), "help_text": f"{field.help}."}
    if field.type == "boolean" and field.default is None:
        choices = [("", "As usual"), ("true", "Yes"), ("false", "No")]
        return forms.TypedChoiceField(
            choices=choices,
            coerce=lambda text: text == "true",
            empty_value=None,
            required=False,
            widget=UnfoldAdminSelectWidget(),
            **words,
        )
    if field.type == "boolean":
        return forms.BooleanField(required=False, initial=field.default, widget=UnfoldBooleanSwitchWidget(), **words)
    words |= {"required": field.required and field.default is None, "initial": field.default}
    if field.type == "integer":
        return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget(), **words)
    widget = UnfoldAdminExpandableTextareaWidget() if field.type == "text" else UnfoldAdminTextInputWidget()
    return forms.CharField(widget=widget, **words)


def _secret(field: Field, kept: bool) -> forms.Field:
    attributes = {"autocomplete": "new-password", "placeholder": "unchanged" if kept else ""}
    if field.type == "text":
        widget: forms.Widget = SecretArea(attrs={**attributes, "rows": 3, "class": "wb-masked"})
    else:
        widget = UnfoldAdminPasswordWidget(attrs=attributes)
    needed = " Required." if field.required and not kept else ""
    # Line breaks at the end of a private key are part of it.
    return forms.CharField(
        label=_label(field.name), help_text=f"{field.help}.{needed}", required=False, strip=False, widget=widget
    )
