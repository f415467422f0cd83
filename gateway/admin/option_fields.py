"""Form fields for the settings of a kind of storage, drawn from what its adapter says of itself."""

from collections.abc import Collection, Mapping
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
    return {
        OPTION + field.name: _option(field) for field in registry.describe_registered(scheme).fields if not field.secret
    }


def secrets_of(scheme: str, *, kept: Collection[str] | None = None) -> dict[str, forms.Field]:
    """The secret settings as fields; ``kept`` names those that are set, and stay as they are when left empty."""
    fields = registry.describe_registered(scheme).fields
    return {SECRET + field.name: _secret(field, kept) for field in fields if field.secret}


def summary(kind: registry.Description) -> dict[str, str]:
    """One kind of storage, as people choose it."""
    needed = ", ".join(_label(field.name).lower() for field in kind.fields if field.required)
    return {"scheme": kind.scheme, "title": kind.title, "needs": f"Needs: {needed}." if needed else "Needs nothing."}


def given(cleaned: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What was filled in of the fields with the prefix, by the settings' own names."""
    found = {name.removeprefix(prefix): value for name, value in cleaned.items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if value not in (None, "")}


def _label(name: str) -> str:
    words = name.removesuffix("_s").replace("_", " ")
    return words.upper() if len(words) < 3 else words[:1].upper() + words[1:]


def _help(field: Field) -> str:
    if field.help.lower() == _label(field.name).lower():
        return ""
    return field.help if field.help.endswith("…") else f"{field.help}."


def _option(field: Field) -> forms.Field:
    words: dict[str, Any] = {"label": _label(field.name), "help_text": _help(field)}
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
    if field.choices:
        choices = [(choice, choice) for choice in field.choices]
        return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(), **words)
    if field.type == "integer":
        return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget(), **words)
    widget = UnfoldAdminExpandableTextareaWidget() if field.type == "text" else UnfoldAdminTextInputWidget()
    return forms.CharField(widget=widget, **words)


def _secret(field: Field, kept: Collection[str] | None) -> forms.Field:
    placeholder = "" if kept is None else "unchanged" if field.name in kept else "not set"
    attributes = {"autocomplete": "new-password", "placeholder": placeholder}
    if field.type == "text":
        widget: forms.Widget = SecretArea(attrs={**attributes, "rows": 3, "class": "wb-masked"})
    else:
        widget = UnfoldAdminPasswordWidget(attrs=attributes)
    words = f"{_help(field)} Required." if field.required and kept is None else _help(field)
    # Line breaks at the end of a private key are part of it.
    return forms.CharField(
        label=_label(field.name), help_text=words.strip(), required=False, strip=False, widget=widget
    )
