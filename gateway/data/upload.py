"""PUT, POST, PATCH and HEAD of a write alias: from HTTP's headers to the domain and back."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway import metrics
from gateway.data import body, digests, parts
from gateway.data import pace as paces
from gateway.data.body import RequestBody
from gateway.data.holding import wait_for_durability
from gateway.data.pace import PacedBody
from gateway.data.slots import SLOTS
from gateway.refusals import UnsupportedBody
from staging import admission, aliases, resuming, writing
from staging.errors import InvalidRequest, WrongOffset
from staging.models import Alias, Object
from staging.writing import Offer, Progress, Receipt

log = structlog.get_logger(__name__)

#: Whoever sends one of these counts on it, and would lose what is replaced all the same.
_NOT_HELD = ("If-Match", "If-None-Match", "If-Unmodified-Since")
_FORM = re.compile(r"multipart/form-data", re.IGNORECASE)


def answer(request: HttpRequest, alias: Alias, _name: str) -> HttpResponseBase:
    """Store the body, or a part of one, and say what stands at the key now."""
    with noting_a_cut(request, alias):
        return _receive(request, alias)


def admit(request: HttpRequest, alias: Alias, _name: str) -> None:
    """Refuse by the request's head alone what ``answer`` would refuse; takes no byte and reserves nothing."""
    with noting_a_cut(request, alias):
        admission.admit(alias, announced(request, alias, RequestBody(request.META)))


@contextmanager
def noting_a_cut(request: HttpRequest, alias: Alias) -> Iterator[None]:
    """Of a stream that does not make it curl may have read the beginning already, and would send the rest."""
    try:
        yield
    except Exception:
        if body.is_stream(request.META) and "Upload-Complete" not in request.headers:
            _note_broken_stream(alias)
        raise


def _note_broken_stream(alias: Alias) -> None:
    try:
        writing.note_stream_cut(alias, alias.key)
    except Exception as second:  # noqa: BLE001  the first error is the one to report
        log.warning("alias.note_failed", error=type(second).__name__)


def _receive(request: HttpRequest, alias: Alias) -> HttpResponseBase:
    began = time.monotonic()
    content = RequestBody(request.META)
    offer = announced(request, alias, content)
    pace = paces.of(alias)
    slot = SLOTS.take(alias, content.size)
    try:
        body.limit_stalls(request.META)
        receipt = writing.receive_part(alias, offer, PacedBody(content, pace) if pace else content)
    finally:
        slot.give_back()
        metrics.BYTES.labels("in").inc(content.taken)
    if isinstance(receipt, Progress):
        return _continue(request, receipt)
    log.info(
        "object.received",
        object=str(receipt.object.id),
        bytes=content.taken,
        replayed=receipt.replayed,
        seconds=round(time.monotonic() - began, 3),
    )
    return _acknowledge(request, alias, receipt)


def tell(_request: HttpRequest, alias: Alias, _name: str) -> HttpResponseBase:
    """How much of the upload is safe, and what it has become once it is complete."""
    found = resuming.progress(alias)
    headers = {
        "Upload-Offset": str(found.offset),
        "Upload-Complete": "?1" if found.object else "?0",
        "Upload-Limit": _limits(alias),
        "Cache-Control": "no-store",
        "Content-Length": "0",
    }
    if found.length is not None:
        headers["Upload-Length"] = str(found.length)
    if found.object:
        headers |= _identity(found.object)
    return HttpResponse(headers=headers)


def announced(request: HttpRequest, alias: Alias, content: RequestBody) -> Offer:
    """What the request's header says of its body, before the first byte of it is read.

    Raises what the header alone is refused for, and WrongOffset for a part that leads nowhere.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedBody("A Content-Encoding is not taken off, and stored as it is it would be another file.")
    if _FORM.match(request.headers.get("Content-Type", "")):
        raise UnsupportedBody("A form (curl -F) wraps the file in parts.")
    if condition := next(filter(request.headers.get, _NOT_HELD), None):
        detail = f'{condition} is not held for an upload: an alias with "on_exists": "fail" replaces nothing.'
        raise InvalidRequest(detail)
    part = parts.announced(request.method or "", request.headers, content.size)
    if part is None:
        found = resuming.progress(alias)
        detail = "A part of a file must reach to its end, as those of curl -C do."
        raise WrongOffset(detail, offset=found.offset, complete=found.object is not None)
    whole, of_part = digests.offered(request.headers, is_part=part.start > 0 or not part.is_last)
    return Offer(
        content.size,
        _media_type(request),
        whole,
        part_digests=of_part,
        start=part.start,
        total=part.total,
        is_last=part.is_last,
        appends=request.method == "PATCH",
        resumable=part.drafted,
        stop=partial(body.stop_reading, request.META),
    )


def _continue(request: HttpRequest, progress: Progress) -> HttpResponse:
    """A part is safe and more is to come; only a client that speaks the draft gets here."""
    headers = {"Upload-Offset": str(progress.offset), "Upload-Complete": "?0", "Cache-Control": "no-store"}
    if request.method == "PATCH":
        return HttpResponse(status=204, headers=headers)
    return HttpResponse(status=201, headers={**headers, "Location": request.get_full_path(), "Content-Length": "0"})


def _acknowledge(request: HttpRequest, alias: Alias, receipt: Receipt) -> HttpResponse:
    made = receipt.object
    headers = {
        **_identity(made),
        "Waybill-Durability": wait_for_durability(request, made, receipt.durability),
        "Upload-Complete": "?1",
        "Upload-Offset": str(made.size),
    }
    if receipt.replayed:
        headers["Waybill-Replayed"] = "true"
    text = f"stored {aliases.file_name(alias)}: {made.size} bytes, sha256 {made.sha256}\n"
    return HttpResponse(
        text, status=200 if receipt.replayed else 201, content_type="text/plain; charset=utf-8", headers=headers
    )


def _identity(made: Object) -> dict[str, str]:
    return {
        "ETag": f'"{made.sha256}"',
        "Repr-Digest": digests.repr_digest(made.sha256),
        "Waybill-Sha256": made.sha256,
    }


def _limits(alias: Alias) -> str:
    return parts.limits(writing.most_bytes(alias), settings.UPLOAD_KEEP_S)


def _media_type(request: HttpRequest) -> str:
    """What the client calls the body; curl's default for ``--data-binary`` says nothing about it."""
    named = request.headers.get("Content-Type", "").strip()
    unsaid = named.startswith(("application/x-www-form-urlencoded", parts.APPEND_TYPE))
    return "" if unsaid or len(named) > 255 else named
