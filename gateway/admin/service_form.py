"""Forms whose last step of validation is a service of the domain, so that its refusals stand at their fields."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget

from gateway.admin import access
from staging.errors import InvalidRequest, NameTaken, StagingError
from staging.models import Project
from staging.states import Role


class ServiceForm(forms.ModelForm):
    """Calls ``serve`` once all fields are clean; Django's admin finds the row saved by then.

    The admin's ``changeform_view`` holds a transaction around validation and saving, so nothing is half done.
    """

    #: Set by ``bind``.
    request: HttpRequest

    def serve(self) -> Model:
        """Do what the form is for and return the row. May raise any StagingError."""
        raise NotImplementedError

    def field_of(self, name: str) -> str | None:
        """The form's field for what the domain calls ``name``; None for what has no field here."""
        return name if name in self.fields else None

    def _post_clean(self) -> None:
        if self.errors:
            return
        with self._refusals_at_fields(), transaction.atomic():
            self.instance = self.serve()

    @contextmanager
    def _refusals_at_fields(self) -> Iterator[None]:
        try:
            yield
        except InvalidRequest as exc:
            unplaced = {}
            for name, problem in exc.fields.items():
                field = self.field_of(name)
                if field is None:
                    unplaced[name] = problem
                else:
                    self.add_error(field, _sentence(problem))
            if unplaced or not exc.fields:
                self.add_error(None, " ".join([str(exc), *(f"{name}: {text}." for name, text in unplaced.items())]))
        except NameTaken as exc:
            self.add_error(self.field_of("name"), str(exc))
        except StagingError as exc:
            self.add_error(None, str(exc))


class InProjectForm(ServiceForm):
    """Makes something in one of the projects that the person administers."""

    project = forms.ModelChoiceField(Project.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget())

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["project"].queryset = access.projects(self.request, Role.ADMIN)


def bind(form: type[ServiceForm], request: HttpRequest, **fields: forms.Field) -> type[ServiceForm]:
    """The form for one request, with further fields."""
    bound: Any = type(form.__name__, (form,), {"request": request, **fields})
    return bound


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
