"""The alias endpoint: from HTTP's headers to the domain and back. It decides nothing about data itself."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from adapters.base import FileBacked
from adapters.errors import VersionChanged
from gateway import metrics, problems
from gateway.data import body, conditions, digests, ranges
from gateway.data.body import RequestBody
from gateway.data.response import ObjectResponse
from gateway.data.slots import DRAINS, SLOTS
from gateway.problems import Problem
from gateway.refusals import LengthRequired, PreconditionFailed, UnsupportedBody, WrongOffset
from staging import aliases, reading, writing
from staging.connections import release
from staging.errors import InvalidRequest, SourceMissing, WrongDirection
from staging.models import Alias
from staging.reading import Found
from staging.states import AliasMode
from staging.writing import Offer, Receipt

log = structlog.get_logger(__name__)

READS = ("GET", "HEAD")
WRITES = ("PUT", "POST", "HEAD")
#: How long a refused client may go on sending before the connection is closed under it.
DRAIN_S = 20.0

_FORM = re.compile(r"multipart/form-data", re.IGNORECASE)


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
            return _read
        raise WrongDirection("This is a read alias.", allowed=READS)
    if method == "HEAD":
        return _offset
    if method in WRITES:
        return _write
    raise WrongDirection("This is a write alias.", allowed=WRITES)


def _read(request: HttpRequest, alias: Alias, name: str) -> HttpResponseBase:
    try:
        return _read_once(request, alias, name)
    except VersionChanged:
        if "Range" in request.headers or "If-Match" in request.headers:
            raise
        # No byte is out yet, and this client did not ask for the version that has gone.
        return _read_once(request, alias, name)


def _read_once(request: HttpRequest, alias: Alias, name: str) -> HttpResponseBase:
    found, real_name = reading.find(alias), aliases.file_name(alias)
    if name != real_name and name == f"{real_name}.sha256":
        if not found.sha256:
            raise SourceMissing("Waybill did not write this file, so it does not know its digest.")
        return HttpResponse(f"{found.sha256}  {real_name}\n", content_type="text/plain; charset=utf-8")
    headers, current = request.headers, conditions.Validators(found.etag, found.etag_is_strong, found.modified)
    described = _describe(alias, found, current)
    verdict = conditions.evaluate(
        current,
        if_match=headers.get("If-Match"),
        if_unmodified_since=headers.get("If-Unmodified-Since"),
        if_none_match=headers.get("If-None-Match"),
        if_modified_since=headers.get("If-Modified-Since"),
    )
    if verdict is conditions.Verdict.FAILED:
        raise PreconditionFailed
    if verdict is conditions.Verdict.NOT_MODIFIED or request.method == "HEAD":
        status = 304 if verdict is conditions.Verdict.NOT_MODIFIED else 200
        described["Content-Length"] = str(found.size)
        return HttpResponse(status=status, headers=described, content_type=found.content_type)
    span = None
    if conditions.range_applies(headers.get("If-Range"), current):
        span = ranges.wanted(headers.get("Range"), found.size)
    return _deliver(request, alias, found, span, described)


def _deliver(
    request: HttpRequest, alias: Alias, found: Found, span: ranges.Span | None, described: dict[str, str]
) -> HttpResponseBase:
    start, stop = (span.start, span.stop) if span else (0, found.size)
    slot = SLOTS.take(stop - start)

    def end(whole: bool) -> None:
        slot.give_back()
        if whole and span is None and alias.max_uses is not None:
            aliases.count_delivery(alias)
            release()

    try:
        stream = reading.open_stream(found, start, stop)
        by_descriptor = found.cannot_change and isinstance(stream, FileBacked)
        body.limit_stalls(request.META)
        try:
            response = ObjectResponse(
                stream,
                end,
                by_descriptor=by_descriptor,
                status=206 if span else 200,
                headers=described,
                content_type=found.content_type,
            )
        except BaseException:
            stream.close()
            raise
    except BaseException:
        slot.give_back()
        raise
    if span:
        response["Content-Range"] = span.content_range(found.size)
    return response


def _write(request: HttpRequest, alias: Alias, _name: str) -> HttpResponseBase:
    began = time.monotonic()
    content = RequestBody(request.META)
    _check_framing(request, alias, content)
    offer = Offer(content.size, _media_type(request), digests.offered(request.headers))
    slot = SLOTS.take(content.size)
    try:
        body.limit_stalls(request.META)
        receipt = writing.receive(alias, offer, content)
    finally:
        slot.give_back()
        metrics.BYTES.labels("in").inc(content.taken)
    log.info(
        "object.received",
        object=str(receipt.object.id),
        bytes=content.taken,
        replayed=receipt.replayed,
        seconds=round(time.monotonic() - began, 3),
    )
    return _acknowledge(alias, receipt)


def _offset(_request: HttpRequest, alias: Alias, _name: str) -> HttpResponseBase:
    safe, complete = writing.offset(alias)
    headers = {"Upload-Offset": str(safe), "Upload-Complete": "?1" if complete else "?0", "Cache-Control": "no-store"}
    return HttpResponse(headers={**headers, "Content-Length": "0"})


def _acknowledge(alias: Alias, receipt: Receipt) -> HttpResponse:
    made = receipt.object
    headers = {
        "ETag": f'"{made.sha256}"',
        "Repr-Digest": digests.repr_digest(made.sha256),
        "Waybill-Sha256": made.sha256,
        "Waybill-Durability": receipt.durability,
        "Upload-Complete": "?1",
        "Upload-Offset": str(made.size),
    }
    if receipt.replayed:
        headers["Waybill-Replayed"] = "true"
    text = f"stored {aliases.file_name(alias)}: {made.size} bytes, sha256 {made.sha256}\n"
    return HttpResponse(
        text, status=200 if receipt.replayed else 201, content_type="text/plain; charset=utf-8", headers=headers
    )


def _describe(alias: Alias, found: Found, current: conditions.Validators) -> dict[str, str]:
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": current.header(),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(aliases.file_name(alias), safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if modified := current.last_modified():
        headers["Last-Modified"] = modified
    if found.sha256:
        headers["Repr-Digest"] = digests.repr_digest(found.sha256)
        headers["Waybill-Sha256"] = found.sha256
    return headers


def _check_framing(request: HttpRequest, alias: Alias, content: RequestBody) -> None:
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedBody("A Content-Encoding is not taken off, and stored as it is it would be another file.")
    if _FORM.match(request.headers.get("Content-Type", "")):
        raise UnsupportedBody("A form (curl -F) wraps the file in parts.")
    content_range = request.headers.get("Content-Range")
    if content_range is not None and not ranges.is_whole_upload(content_range, content.size):
        safe, complete = writing.offset(alias)
        raise WrongOffset("Only a whole body is taken.", offset=safe, complete=complete)


def _media_type(request: HttpRequest) -> str:
    """What the client calls the body; curl's default for ``--data-binary`` says nothing about it."""
    named = request.headers.get("Content-Type", "").strip()
    return "" if named.startswith("application/x-www-form-urlencoded") or len(named) > 255 else named


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
    if isinstance(response, HttpResponse):
        response.setdefault("Content-Length", str(len(response.content)))
        if request.method == "HEAD":
            response.content = b""
    return response
