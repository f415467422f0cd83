"""``/live`` and ``/ready``: whether this process runs, and whether it can serve."""

import tempfile
from collections.abc import Callable

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from staging.models import Project


def live(_request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers at all."""
    return JsonResponse({"live": True})


def ready(_request: HttpRequest) -> HttpResponse:
    """200 when everything a request needs is there, else 503 and what is not."""
    missing = {name: reason for name, probe in _PROBES.items() if (reason := probe())}
    return JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)


def _catalog() -> str:
    try:
        Project.objects.exists()
        executor = MigrationExecutor(connection)
        behind = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error as exc:
        return (
            f"the catalog does not answer ({type(exc).__name__}); is DATABASE_URL right, and `manage.py migrate` run?"
        )
    return f"migrations that have not been applied: {len(behind)}; run `manage.py migrate`" if behind else ""


def _data_folder() -> str:
    try:
        with tempfile.TemporaryFile(dir=settings.DATA_DIR):
            return ""
    except OSError as exc:
        return f"DATA_DIR {settings.DATA_DIR} cannot be written: {exc.strerror}"


_PROBES: dict[str, Callable[[], str]] = {"catalog": _catalog, "data_dir": _data_folder}
