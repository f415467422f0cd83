"""The alias endpoint: from HTTP's headers to the domain and back. It decides nothing about data itself."""

import re
from collections.abc import Callable
from dataclasses import replace

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway import problems
from gateway.data import body, download, folder, holding, ranges, upload
from gateway.data.body import RequestBody
from gateway.data.clients import check_network
from gateway.data.leftovers import Leftovers
from gateway.data.response import Cut
from gateway.data.slots import DRAINS
from gateway.problems import Problem
from gateway.refusals import LengthRequired, RangeUnsatisfiable
from staging import alias_uses, aliases
from staging.errors import InvalidRequest, WrongDirection
from staging.models import Alias
from staging.states import AliasMode

log = structlog.get_logger(__name__)

ALIAS_PATH = re.compile(r"/a/(?P<token>[^/]+)(?:/(?P<name>.*))?", re.DOTALL)
READS = ("GET", "HEAD")
WRITES = ("PUT", "POST", "PATCH", "HEAD")
#: What programs call themselves that write a refusal's body into the job's input file and end well.
_IGNORING_STATUSES = ("python-requests/",)
#: How long a refused client may go on sending before the connection is closed under it.
DRAIN_S = 20.0
#: Refused clients beyond those that ``DRAINS`` has threads for. Each costs a file descriptor and no thread.
LEFTOVERS = Leftovers(most=256, seconds=DRAIN_S)


def alias(request: HttpRequest, token: str, name: str = "") -> HttpResponseBase:
    """Answer one request to an alias, as docs/http.md says."""
    try:
        found = aliases.resolve(token, grace=ranges.begins_inside(request.headers.get("Range")))
        structlog.contextvars.bind_contextvars(alias=str(found.id))
        check_network(found, request.META)
        handler = _handler(found, request.method or "")
        alias_uses.note(found)
        return _dress(handler(request, found, name), request)
    except Exception as exc:  # noqa: BLE001  problems.of is where every error is looked at
        return _dress(_Refusal(_problem(exc, request), request), request)


def refusal(request: HttpRequest, token: str, name: str = "") -> Problem | None:
    """What ``alias`` would answer this request with, if its head alone is enough to refuse it.

    It is no use of the alias: a lifetime that begins with the first one does not begin.
    """
    try:
        found = aliases.resolve(token)
        structlog.contextvars.bind_contextvars(alias=str(found.id))
        check_network(found, request.META)
        handler = _handler(found, request.method or "")
        if handler in _ADMITS:
            _ADMITS[handler](request, found, name)
    except Exception as exc:  # noqa: BLE001  problems.of is where every error is looked at
        return _problem(exc, request)
    return None


#: What refuses by a request's head, of each handler that takes a body.
_ADMITS = {upload.answer: upload.admit, folder.write: folder.admit}


def _handler(found: Alias, method: str) -> Callable[[HttpRequest, Alias, str], HttpResponseBase]:
    is_prefix = AliasMode(found.mode).is_prefix
    if AliasMode(found.mode).reads:
        if method in READS:
            return folder.read if is_prefix else download.answer
        raise WrongDirection("This is a read alias.", allowed=READS)
    if method == "HEAD":
        return folder.tell if is_prefix else upload.tell
    if method in WRITES:
        return folder.write if is_prefix else upload.answer
    raise WrongDirection("This is a write alias.", allowed=WRITES)


def _problem(exc: Exception, request: HttpRequest) -> Problem:
    problem = problems.of(exc)
    if isinstance(exc, RangeUnsatisfiable) and not _tells_size(exc, request):
        return replace(problem, headers={})
    if request.method not in ("PUT", "POST") or not body.is_stream(request.META):
        return problem
    if "Upload-Complete" in request.headers:
        return problem  # This client asks how far it came before it goes on.
    if problem.status not in problems.CURL_RETRIES:
        return problem
    hint = "A retry cannot send standard input again: upload a file, or send the stream's digest with it."
    return replace(problem, status=422, retryable=False, hint=hint, headers={})


def _tells_size(exc: RangeUnsatisfiable, request: HttpRequest) -> bool:
    """Whether the client may learn the size: an old curl that has all would fail, one that has more must fail."""
    has_all = ranges.begins_at_end(request.headers.get("Range"), exc.size)
    return not has_all or ranges.tells_size_on_416(request.headers.get("User-Agent", ""))


class _Refusal(HttpResponse):
    """A problem's answer. What the client still sends is read after the answer is out; see ``RequestBody.drain``."""

    def __init__(self, problem: Problem, request: HttpRequest) -> None:
        answer = problems.respond(problem)
        super().__init__(answer.content, status=answer.status_code, headers=dict(answer.headers))
        self._environ = request.META
        self._may_have_body = request.method not in ("GET", "HEAD", "OPTIONS")
        self._sent = len(self.content)
        self._must_not_pass_for_data = request.method == "GET" and _ignores_statuses(request)
        if self._must_not_pass_for_data:
            self["Content-Length"] = str(self._sent + 1)

    def close(self) -> None:
        super().close()
        if self._must_not_pass_for_data:
            raise Cut(self._sent, self._sent + 1)
        if not self._may_have_body:
            return
        if not DRAINS.acquire(blocking=False):
            self._leave_to_others()
            return
        try:
            RequestBody(self._environ).drain(seconds=DRAIN_S)
        except (LengthRequired, InvalidRequest):
            return
        finally:
            DRAINS.release()

    def _leave_to_others(self) -> None:
        connection = body.let_go(self._environ)
        if connection is not None and not LEFTOVERS.take(connection):
            connection.close()


def _ignores_statuses(request: HttpRequest) -> bool:
    """Whether the client is known to take the body of a refusal for the file; see docs/decisions/14-refusals.md."""
    return request.headers.get("User-Agent", "").startswith(_IGNORING_STATUSES)


def _dress(response: HttpResponseBase, request: HttpRequest) -> HttpResponseBase:
    response["Referrer-Policy"] = "no-referrer"
    response.setdefault("Cache-Control", "private, no-transform")
    holding.note_preference(request, response)
    if isinstance(response, HttpResponse):
        response.setdefault("Content-Length", str(len(response.content)))
        if request.method == "HEAD":
            response.content = b""
    return response
