"""The alias endpoint: from HTTP's headers to the domain and back. It decides nothing about data itself."""

from collections.abc import Callable
from dataclasses import replace

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway import problems
from gateway.data import body, download, holding, ranges, upload
from gateway.data.body import RequestBody
from gateway.data.slots import DRAINS
from gateway.problems import Problem
from gateway.refusals import LengthRequired
from staging import aliases, writing
from staging.errors import InvalidRequest, WrongDirection
from staging.models import Alias
from staging.states import AliasMode

log = structlog.get_logger(__name__)

READS = ("GET", "HEAD")
WRITES = ("PUT", "POST", "HEAD")
#: How long a refused client may go on sending before the connection is closed under it.
DRAIN_S = 20.0


def alias(request: HttpRequest, token: str, name: str = "") -> HttpResponseBase:
    """Answer one request to an alias, as docs/http.md says."""
    found = None
    try:
        found = aliases.resolve(token)
        structlog.contextvars.bind_contextvars(alias=str(found.id))
        handler = _handler(found, request.method or "")
        return _dress(handler(request, found, name), request)
    except Exception as exc:  # noqa: BLE001  problems.of is where every error is looked at
        return _dress(_Refusal(_problem(exc, request, found), request), request)


def _handler(found: Alias, method: str) -> Callable[[HttpRequest, Alias, str], HttpResponseBase]:
    if found.mode == AliasMode.READ:
        if method in READS:
            return download.answer
        raise WrongDirection("This is a read alias.", allowed=READS)
    if method == "HEAD":
        return upload.tell
    if method in WRITES:
        return upload.answer
    raise WrongDirection("This is a write alias.", allowed=WRITES)


def _problem(exc: Exception, request: HttpRequest, alias: Alias | None) -> Problem:
    problem = problems.of(exc)
    if problem.status == 416 and not ranges.tells_size_on_416(request.headers.get("User-Agent", "")):
        return replace(problem, headers={})
    if request.method not in ("PUT", "POST") or not body.is_stream(request.META):
        return problem
    if alias is not None and alias.mode == AliasMode.WRITE:
        try:
            writing.note_stream_cut(alias, alias.key)
        except Exception as second:  # noqa: BLE001  the first error is the one to report
            log.warning("alias.note_failed", error=type(second).__name__)
    if problem.status not in problems.CURL_RETRIES:
        return problem
    hint = "A retry cannot send standard input again: upload a file, or send the stream's digest with it."
    return replace(problem, status=422, retryable=False, hint=hint, headers={})


class _Refusal(HttpResponse):
    """A problem's answer. What the client still sends is read after the answer is out; see ``RequestBody.drain``."""

    def __init__(self, problem: Problem, request: HttpRequest) -> None:
        answer = problems.respond(problem)
        super().__init__(answer.content, status=answer.status_code, headers=dict(answer.headers))
        self._environ = request.META
        self._may_have_body = request.method not in ("GET", "HEAD", "OPTIONS")

    def close(self) -> None:
        super().close()
        if not self._may_have_body:
            return
        if not DRAINS.acquire(blocking=False):
            body.stop_reading(self._environ)
            return
        try:
            RequestBody(self._environ).drain(seconds=DRAIN_S)
        except (LengthRequired, InvalidRequest):
            return
        finally:
            DRAINS.release()


def _dress(response: HttpResponseBase, request: HttpRequest) -> HttpResponseBase:
    response["Referrer-Policy"] = "no-referrer"
    response.setdefault("Cache-Control", "private, no-transform")
    holding.note_preference(request, response)
    if isinstance(response, HttpResponse):
        response.setdefault("Content-Length", str(len(response.content)))
        if request.method == "HEAD":
            response.content = b""
    return response
