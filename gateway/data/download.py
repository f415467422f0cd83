"""GET and HEAD of a read alias: from HTTP's headers to the domain and back."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote

import structlog
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from adapters.base import ReadStream
from adapters.errors import VersionChanged
from gateway.data import body, conditions, digests, ranges, redirect
from gateway.data import pace as paces
from gateway.data.acknowledged import Acknowledged
from gateway.data.holding import Hold
from gateway.data.pace import PacedRead
from gateway.data.response import ObjectResponse
from gateway.data.slots import Slot
from gateway.refusals import PreconditionFailed, RangeUnsatisfiable
from staging import alias_uses, aliases, beginnings, nodes, reading, tiers
from staging.connections import release
from staging.errors import ObjectUnavailable, SourceMissing
from staging.models import Alias
from staging.reading import Found

log = structlog.get_logger(__name__)

#: By how much two gateways may disagree of what was first; a version's time is also a moment before all can see it.
CLOCKS_DIFFER_BY = timedelta(minutes=1)


def answer(request: HttpRequest, alias: Alias, name: str) -> HttpResponseBase:
    """The object, a part of it, or what its header says."""
    with Hold(request, alias, alias.key, lambda: reading.find(alias)) as hold, calling_again(request):
        try:
            return _read_once(request, alias, name, hold)
        except VersionChanged:
            if _is_of_one_version(request.headers):
                raise
            return _read_once(request, alias, name, hold)


@contextmanager
def calling_again(request: HttpRequest) -> Iterator[None]:
    """Have a client come back that did not ask for the version which changed before its first byte was out."""
    try:
        yield
    except VersionChanged as exc:
        if _is_of_one_version(request.headers):
            raise
        raise ObjectUnavailable("Somebody else is writing it at this moment.") from exc


def _is_of_one_version(headers: Mapping[str, str]) -> bool:
    return "Range" in headers or "If-Match" in headers


@dataclass(frozen=True, slots=True)
class Delivery:
    """What an answer is made of: one version of an object, or of an archive.

    ``open`` gives the bytes ``[start, stop)``. ``can_change``: others may write where the bytes lie.
    ``may_have_changed``: since the alias was made another version may have been begun to be read.
    ``beginnings_are_noted``: of each version, because times may not tell of a change. ``takes_parts``: false where
    nothing tells one version from another, so that only the whole may be had. ``sign`` gives the storage's own
    short-lived URL of the whole, or None where it has none now. ``owner`` is the URL of the node that has the bytes.
    """

    name: str
    size: int
    etag: str
    etag_is_strong: bool
    modified: datetime | None
    content_type: str
    sha256: str
    open: Callable[[int, int], ReadStream]
    can_change: bool
    may_have_changed: bool
    beginnings_are_noted: bool = False
    takes_parts: bool = True
    sign: Callable[[], str | None] | None = None
    owner: str | None = None


def serve(request: HttpRequest, alias: Alias, thing: Delivery, take_slot: Callable[[int], Slot]) -> HttpResponseBase:
    """The thing as the request's conditions and range want it; ``take_slot`` gives the right to so many bytes."""
    headers, current = request.headers, conditions.Validators(thing.etag, thing.etag_is_strong, thing.modified)
    described = _describe(thing, current, headers)
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
        described["Content-Length"] = str(thing.size)
        return HttpResponse(status=status, headers=described, content_type=thing.content_type)
    span = _span(request, alias, thing, current)
    if url := redirect.to_peer(request, thing.owner):
        return redirect.answer(request, alias, url, thing.sha256)
    if redirect.is_wanted(request, alias) and (url := _url(thing, headers)):
        return redirect.answer(request, alias, url, thing.sha256)
    return _deliver(request, alias, thing, span, described, take_slot(_length(thing, span)))


def _url(thing: Delivery, headers: Mapping[str, str]) -> str | None:
    """The storage's own URL, None where Waybill has to answer.

    A storage cannot be told of which version a part is to be, so parts are of what never changes. Conditions name
    Waybill's entity tags and times; the storage, to which a client sends them on, has others.
    """
    if any(name in headers for name in conditions.HEADERS) or thing.sign is None:
        return None
    return None if thing.can_change and "Range" in headers else thing.sign()


def _span(request: HttpRequest, alias: Alias, thing: Delivery, current: conditions.Validators) -> ranges.Span | None:
    """The part that is asked for, None for the whole. Raises RangeUnsatisfiable and PreconditionFailed.

    curl takes a range past the end for a file that is complete, so what was begun of another version is refused first.
    """
    applies = thing.takes_parts and conditions.range_applies(request.headers.get("If-Range"), current)
    asked = request.headers.get("Range") if applies else None
    try:
        span = ranges.wanted(asked, thing.size)
    except RangeUnsatisfiable:
        if ranges.begins_inside(asked):
            _refuse_a_mixture(request, alias, thing)
        raise
    if span is not None and span.start:
        _refuse_a_mixture(request, alias, thing)
    elif thing.may_have_changed or thing.beginnings_are_noted:
        beginnings.note(alias, thing.etag)
    return span


def _refuse_a_mixture(request: HttpRequest, alias: Alias, thing: Delivery) -> None:
    """A client that goes on without saying with which version it began must not get the rest of another one."""
    if _says_which(request.headers) or not (thing.may_have_changed or thing.beginnings_are_noted):
        return
    if not beginnings.may_go_on(alias, thing.etag, unless_begun=not thing.may_have_changed):
        raise PreconditionFailed("It was replaced since this alias was made; its download may have begun before that.")


def _says_which(headers: Mapping[str, str]) -> bool:
    """Whether the request names the version that it is about; the condition itself holds where this is asked."""
    return "If-Range" in headers or headers.get("If-Match", "*").strip() != "*"


def _note_end(download: beginnings.Download, *, complete: bool) -> None:
    try:
        download.end(complete=complete)
    except Error as exc:
        log.warning("alias.note_failed", error=type(exc).__name__)


def _of_object(alias: Alias, found: Found) -> Delivery:
    replaced_at = found.replaced_at or datetime.min.replace(tzinfo=UTC)
    return Delivery(
        name=aliases.file_name(alias),
        size=found.size,
        etag=found.etag,
        etag_is_strong=found.etag_is_strong,
        modified=found.modified,
        content_type=found.content_type,
        sha256=found.sha256,
        open=partial(tiers.open_stream, alias.bucket, found),
        can_change=found.can_change,
        may_have_changed=replaced_at > alias.created_at,
        # A file that others put into a mounted bucket may be older than the one it replaces (mv, cp -p, rsync).
        beginnings_are_noted=alias.bucket.mounted or replaced_at > alias.created_at - CLOCKS_DIFFER_BY,
        takes_parts=not found.can_change or found.etag_is_strong or found.modified is not None,
        sign=partial(reading.signed_url, found),
        owner=nodes.url_of(found.copies[0].replica.storage) if found.copies else None,
    )


def _read_once(request: HttpRequest, alias: Alias, name: str, hold: Hold) -> HttpResponseBase:
    found, real_name = hold.find(), aliases.file_name(alias)
    if name != real_name and name == f"{real_name}.sha256":
        if not found.sha256:
            raise SourceMissing("Waybill did not write this file, so it does not know its digest.")
        return HttpResponse(f"{found.sha256}  {real_name}\n", content_type="text/plain; charset=utf-8")
    return serve(request, alias, _of_object(alias, found), hold.slot)


def _length(thing: Delivery, span: ranges.Span | None) -> int:
    return span.stop - span.start if span else thing.size


def _deliver(
    request: HttpRequest,
    alias: Alias,
    thing: Delivery,
    span: ranges.Span | None,
    described: dict[str, str],
    slot: Slot,
) -> HttpResponseBase:
    start, stop = (span.start, span.stop) if span else (0, thing.size)
    pace, acknowledged = paces.of(alias), Acknowledged(request.META)
    download = None
    if start == 0 and not _says_which(request.headers):
        download = beginnings.Download(alias, thing.etag)

    def end(sent: int) -> None:
        slot.give_back()
        if alias.max_uses is not None:
            alias_uses.count_part(alias, thing.etag, start, start + acknowledged.count(sent), thing.size)
        if alias.idle_s is not None:
            alias_uses.note(alias)
        if download:
            _note_end(download, complete=sent == thing.size)
        release()

    try:
        stream = thing.open(start, stop)
        stream = PacedRead(stream, pace) if pace else stream
        body.limit_stalls(request.META)
        try:
            response = ObjectResponse(
                stream,
                end,
                on_head=acknowledged.begin if alias.max_uses is not None else None,
                status=206 if span else 200,
                headers=described,
                content_type=thing.content_type,
            )
        except BaseException:
            stream.close()
            raise
        if download:
            download.begin()
    except BaseException:
        slot.give_back()
        raise
    if span:
        response["Content-Range"] = span.content_range(thing.size)
    return response


def _describe(thing: Delivery, current: conditions.Validators, asked: Mapping[str, str]) -> dict[str, str]:
    headers = {
        "Accept-Ranges": "bytes" if thing.takes_parts else "none",
        "ETag": current.header(),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(thing.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if modified := current.last_modified():
        headers["Last-Modified"] = modified
    if thing.sha256:
        headers |= {"Waybill-Sha256": thing.sha256, **digests.wanted(asked, thing.sha256)}
    return headers
