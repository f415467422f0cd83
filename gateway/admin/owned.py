"""Rows that belong to a project: who sees them, who changes them, and that services do the changing."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display

from adapters.errors import AdapterError
from gateway.admin import access, words
from staging.errors import StagingError
from staging.states import Role

# It would delete rows behind the domain's back, those of users with their memberships included.
admin.site.disable_action("delete_selected")


class OwnedAdmin(ModelAdmin):
    """Shows the rows of the person's projects, and lets them do what their role in the row's project allows.

    Nothing is saved or deleted here: forms (``service_form.py``), ``delete_model`` and actions call the domain.
    """

    #: The way from a row to the id of its project.
    project_path: ClassVar[str] = "project_id"
    #: The role that each deed needs: add, change, delete, operate. A deed that is not named is nobody's.
    needed: ClassVar[Mapping[str, Role]] = {}
    #: What an empty list says of where its rows come from.
    none_yet: ClassVar[str] = ""

    list_filter_submit = True
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    warn_unsaved_form = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows of the person's projects, all for a superuser."""
        rows = super().get_queryset(request)
        if request.user.is_superuser:
            return rows
        return rows.filter(**{f"{self.project_path}__in": list(access.roles(request))})

    def may(self, request: HttpRequest, deed: str, row: Model | str | None = None) -> bool:
        """Whether the person may do it to the row, or to some row where none is given.

        Raises Http404 for an id that is not the person's to see.
        """
        needed = self.needed.get(deed)
        return needed is not None and self._allows(request, needed, row)

    def seen(self, request: HttpRequest, object_id: str) -> Any:
        """The row of this id. Raises Http404 where there is none, or it is not the person's to see."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        return row

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | str | None = None) -> bool:
        return self._allows(request, Role.VIEWER, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Model | str | None = None) -> bool:
        return self.may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | str | None = None) -> bool:
        return self.may(request, "delete", obj)

    def has_operate_permission(self, request: HttpRequest, obj: Model | str | None = None) -> bool:
        """What buttons and actions ask for that change the row's state."""
        return self.may(request, "operate", obj)

    def get_list_display(self, request: HttpRequest) -> Sequence[str]:
        """Without the project where there is only one."""
        return _without_lone_project(request, super().get_list_display(request))

    def get_list_filter(self, request: HttpRequest) -> Sequence[Any]:
        """Without the project where there is only one."""
        return _without_lone_project(request, super().get_list_filter(request))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One button saves; where to go from there is ``response_add``'s to say."""
        context = {"show_save_and_continue": False, "show_save_and_add_another": False, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        """Nothing: the form's service has done it, and has to be one."""
        if not hasattr(form, "serve"):
            raise TypeError(f"{type(form).__name__} would save a row behind the domain's back")

    def response_add(self, request: HttpRequest, obj: Model, post_url_continue: str | None = None) -> HttpResponse:
        """On to the new row's own page."""
        self.message_user(request, f"The {self.opts.verbose_name} {obj} was created.", messages.SUCCESS)
        return HttpResponseRedirect(self.url_of(obj))

    def response_change(self, request: HttpRequest, obj: Model) -> HttpResponse:
        """Back to the row's own page."""
        self.message_user(request, f"The {self.opts.verbose_name} {obj} was changed.", messages.SUCCESS)
        return HttpResponseRedirect(self.url_of(obj))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Deletes by the service; what that refuses is said on the row's page."""
        try:
            return super().delete_view(request, object_id, extra_context)
        except (StagingError, AdapterError) as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return HttpResponseRedirect(reverse(f"admin:{self._route('change')}", args=[object_id]))

    def get_deleted_objects(self, objs: Sequence[Model], request: HttpRequest) -> tuple[list[str], dict, set, list]:
        """A sentence for each: a service refuses to take along anything that would be missed."""
        fate = "This is for good. It is refused as long as anything depends on it."
        return [fate for _ in objs], {self.opts.verbose_name_plural: len(objs)}, set(), []

    @display(description="Created", ordering="created_at")
    def created(self, row: Any) -> str:
        return words.ago(row.created_at)

    @display(description="Id")
    def identity(self, row: Model) -> str:
        return words.code(str(row.pk))

    def url_of(self, row: Model) -> str:
        """The row's page."""
        return reverse(f"admin:{self._route('change')}", args=[row.pk])

    def done(self, request: HttpRequest, row: Model, message: str, *, level: int = messages.SUCCESS) -> HttpResponse:
        """The end of an action in a dialog: log it, say it, and show the row's page."""
        self.log_change(request, row, message)
        self.message_user(request, message, level)
        return self.back_to(row)

    def back_to(self, row: Model) -> HttpResponse:
        """From a dialog to the row's page; htmx would load a plain redirect into the dialog."""
        return HttpResponse(headers={"HX-Redirect": self.url_of(row)})

    def chosen(self, request: HttpRequest, rows: QuerySet[Any]) -> list[Any]:
        """The rows of a list action that the person may operate on; says how many were left out."""
        may = [row for row in rows if self.has_operate_permission(request, row)]
        left_out = len(request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)) - len(may)
        if left_out > 0:
            self.message_user(request, f"Your role does not allow this for {left_out} of them.", messages.WARNING)
        return may

    def _allows(self, request: HttpRequest, needed: Role, row: Model | str | None) -> bool:
        if row is None:
            return access.allows(request, needed)
        found = row if isinstance(row, Model) else self.seen(request, row)
        return access.allows(request, needed, reduce(getattr, self.project_path.split("__"), found))

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        raise Http404(f"There is no such {opts.verbose_name}.")

    def _route(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"


class ReadOnlyInline:
    """Rows that are shown with their owner and never changed there. To be mixed into one of unfold's inlines."""

    extra = 0
    max_num = 0
    can_delete = False
    hide_title = True

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class SeenFilter(RelatedDropdownFilter):
    """Filters by a related row, offering only those that the person may see."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        rows = model_admin.admin_site.get_model_admin(field.remote_field.model).get_queryset(request)
        return [(row.pk, str(row)) for row in rows]


def _without_lone_project(request: HttpRequest, columns: Sequence[Any]) -> Sequence[Any]:
    others = [c for c in columns if c not in ("project", ("project", SeenFilter))]
    return others if len(others) < len(columns) and not access.sees_several(request) else columns
