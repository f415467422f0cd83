"""The layers around every request: its id and log line, the short way to the data path, paths that are not UTF-8."""

import re
import time
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from adapters.peer_protocol import PREFIX
from gateway import metrics, paths, problems
from staging.errors import InvalidRequest

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
#: Asked every few seconds by machines; their log lines would bury the others.
_QUIET = ("/live", "/ready", "/metrics")

#: What a proxy asks before it takes an upload, and the header of a refusal that says which status its client gets.
ADMISSION_PATH = "/internal/admit"
REFUSED_STATUS = "Waybill-Refused-Status"

Handler = Callable[[HttpRequest], HttpResponseBase]


class RequestLog:
    """Gives each request an id (a proxy's ``X-Request-Id`` if it is well formed), counts it, and logs its answer.

    Of a proxy's question about an upload only a refusal is logged: as the answer that the proxy's client gets.
    """

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
        method, path, status = request.method or "", request.path_info, str(response.status_code)
        if REFUSED_STATUS in response:  # The proxy answers its client with what it is told here.
            method, path, status = request.headers.get("X-Original-Method", ""), "/a/", response[REFUSED_STATUS]
        elif path.startswith("/a/"):
            path = "/a/"
        elif path.startswith(PREFIX):
            path = PREFIX
        plane = "data" if path in ("/a/", PREFIX, ADMISSION_PATH) else "control"
        counted = method if method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE") else "other"
        metrics.REQUESTS.labels(plane, counted, status).inc()
        metrics.SECONDS.labels(plane).observe(seconds)
        if not path.startswith(_QUIET) and (path, status) != (ADMISSION_PATH, "204"):
            log.info(
                "request.answered",
                method=method,
                path=path,
                status=int(status),
                code=response.get("Waybill-Error-Code", ""),
                seconds=round(seconds, 4),
            )
        return response


class DataPath:
    """Takes alias requests past sessions, cookies and the rest, which cost a third of a small request's time."""

    def __init__(self, get_response: Handler) -> None:
        from gateway.data import admission, peers, views

        self.get_response = get_response
        self.peers = peers
        self.alias, self.alias_path = views.alias, views.ALIAS_PATH
        self.admission = admission

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        match = self.alias_path.fullmatch(request.path_info)
        if match is not None:
            return self.alias(request, match["token"], match["name"] or "")
        if request.path_info == ADMISSION_PATH and self.admission.is_from_proxy(request):
            return self.admission.answer(request)
        if settings.NODE_NAME and request.path_info.startswith(PREFIX):
            return self.peers.answer(request)
        return self.get_response(request)


class OwnNames:
    """Refuses a path that would be taken for another one; the data path does so by itself, where a path names a key."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            paths.refuse_other_than_utf8(request)
        except InvalidRequest as exc:
            return problems.respond(problems.of(exc))
        return self.get_response(request)
