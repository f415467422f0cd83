"""GET and HEAD of a read alias: from HTTP's headers to the domain and back."""

from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from adapters.base import FileBacked
from adapters.errors import VersionChanged
from gateway.data import body, conditions, digests, ranges
from gateway.data.holding import Hold
from gateway.data.response import ObjectResponse
from gateway.refusals import PreconditionFailed
from staging import aliases, reading
from staging.connections import release
from staging.errors import SourceMissing
from staging.models import Alias
from staging.reading import Found


def answer(request: HttpRequest, alias: Alias, name: str) -> HttpResponseBase:
    """The object, a part of it, or what its header says."""
    with Hold(request, alias, alias.key, lambda: reading.find(alias)) as hold:
        try:
            return _read_once(request, alias, name, hold)
        except VersionChanged:
            if "Range" in request.headers or "If-Match" in request.headers:
                raise
            # No byte is out yet, and this client did not ask for the version that has gone.
            return _read_once(request, alias, name, hold)


def _read_once(request: HttpRequest, alias: Alias, name: str, hold: Hold) -> HttpResponseBase:
    found, real_name = hold.find(), aliases.file_name(alias)
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
    return _deliver(request, alias, found, span, described, hold)


def _deliver(
    request: HttpRequest,
    alias: Alias,
    found: Found,
    span: ranges.Span | None,
    described: dict[str, str],
    hold: Hold,
) -> HttpResponseBase:
    start, stop = (span.start, span.stop) if span else (0, found.size)
    slot = hold.slot(stop - start)

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
