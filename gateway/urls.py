"""The map of the site. Aliases are answered by ``middleware.DataPath`` before this table is asked."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from gateway import health, metrics, stage

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("api/v1/", include("gateway.api.urls")),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("live", health.live),
    path("ready", health.ready),
    path("metrics", metrics.export),
    path("stage.sh", stage.script),
]
