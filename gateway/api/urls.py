"""Routes of REST API v1."""

urlpatterns: list[object] = []
