"""The two layers around every request: its id and log line, and the short way to the data path."""

import re
import time
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponseBase

from gateway import metrics

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
#: Asked every few seconds by machines; their log lines would bury the others.
_QUIET = ("/live", "/ready", "/metrics")

Handler = Callable[[HttpRequest], HttpResponseBase]


class RequestLog:
    """Gives each request an id (a proxy's ``X-Request-Id`` if it is well formed), counts it, and logs its answer."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.monotonic()
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        seconds = time.monotonic() - began
        is_alias = request.path_info.startswith("/a/")
        is_admission = request.path_info.startswith("/internal/")
        plane = "data" if is_alias or is_admission else "control"
        method = request.method if request.method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE") else "other"
        metrics.REQUESTS.labels(plane, method, str(response.status_code)).inc()
        metrics.SECONDS.labels(plane).observe(seconds)
        if not request.path_info.startswith(_QUIET) and not (is_admission and response.status_code == 204):
            log.info(
                "request.answered",
                method=request.method,
                path="/a/" if is_alias else request.path_info,
                status=response.status_code,
                code=response.get("Waybill-Error-Code", ""),
                seconds=round(seconds, 4),
            )
        return response


class DataPath:
    """Takes alias requests past sessions, cookies and the rest, which cost a third of a small request's time."""

    def __init__(self, get_response: Handler) -> None:
        from gateway.data import admission, views

        self.get_response = get_response
        self.alias, self.alias_path = views.alias, views.ALIAS_PATH
        self.admission = admission

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        match = self.alias_path.fullmatch(request.path_info)
        if match is not None:
            return self.alias(request, match["token"], match["name"] or "")
        if request.path_info == self.admission.PATH and self.admission.is_from_proxy(request):
            return self.admission.answer(request)
        return self.get_response(request)
