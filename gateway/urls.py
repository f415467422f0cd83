"""The map of the site. Aliases are answered by ``middleware.DataPath`` before this table is asked."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from gateway import health, metrics
from gateway.data import views

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    re_path(r"^a/(?P<token>[^/]+)(?:/(?P<name>.*))?$", views.alias, name="alias"),
    path("api/v1/", include("gateway.api.urls")),
    path("admin/", admin.site.urls),
    path("live", health.live),
    path("ready", health.ready),
    path("metrics", metrics.export),
]
