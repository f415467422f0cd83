"""The field in which forms ask for a bucket: those of the projects that the person operates in."""

from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget

from gateway.admin import access
from staging.models import Bucket
from staging.states import Role


class BucketField(forms.ModelChoiceField):
    """Offers nothing until ``offer`` has said to whom."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Bucket.objects.none(), widget=UnfoldAdminSelectWidget(), **{"empty_label": None, **options})

    def offer(self, request: HttpRequest, **only: Any) -> None:
        """Storages' own root buckets come last; the project is told where there are several."""
        rows = Bucket.objects.filter(project__in=access.projects(request, Role.OPERATOR), **only)
        self.queryset = rows.select_related("project", "storage__credential").order_by("mounted", "name")
        if access.sees_several(request):
            self.label_from_instance = lambda row: f"{row.project} / {row}"
