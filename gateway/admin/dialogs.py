"""Dialogs of actions: each asks by GET and acts by POST, so that no link that is followed changes anything."""

from unfold.dataclasses import ActionDialog
from unfold.forms import BaseDialogForm


def confirm(title: str, description: str, button: str, form: type[BaseDialogForm] = BaseDialogForm) -> ActionDialog:
    """A question with one button that says what will happen."""
    return ActionDialog(title=title, description=description, form_class=form, form_submit_text=button)
