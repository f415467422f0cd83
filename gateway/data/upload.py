"""PUT, POST and HEAD of a write alias: from HTTP's headers to the domain and back."""

import re
import time

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway import metrics
from gateway.data import body, digests, ranges
from gateway.data.body import RequestBody
from gateway.data.slots import SLOTS
from gateway.refusals import UnsupportedBody, WrongOffset
from staging import aliases, writing
from staging.models import Alias
from staging.writing import Offer, Receipt

log = structlog.get_logger(__name__)

_FORM = re.compile(r"multipart/form-data", re.IGNORECASE)


def answer(request: HttpRequest, alias: Alias, _name: str) -> HttpResponseBase:
    """Store the body, and say what stands at the key now."""
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


def tell(_request: HttpRequest, alias: Alias, _name: str) -> HttpResponseBase:
    """How much of the object is safe."""
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
