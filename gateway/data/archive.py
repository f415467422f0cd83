"""The archive of a prefix alias: a tar of all below it, its manifest, and archives that are unpacked below it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway import metrics
from gateway.data import body, digests, upload
from gateway.data import pace as paces
from gateway.data.download import Delivery, calling_again, serve
from gateway.data.pace import PacedBody
from gateway.data.response import PiecesResponse
from gateway.data.slots import SLOTS
from staging import aliases, archives, manifests, unpacking_uploads, writing
from staging.archive_limits import Limits
from staging.errors import StreamInterrupted, WrongOffset
from staging.models import Alias
from staging.offers import Offer
from staging.unpacking import Kind

log = structlog.get_logger(__name__)


def read(request: HttpRequest, alias: Alias) -> HttpResponseBase:
    """All below the prefix as one tar, or what it holds as JSON (``?manifest``)."""
    archive = archives.of(alias.bucket, alias.key)
    if "manifest" in request.GET:
        headers = {"ETag": f'"{archive.etag}.manifest"', "Cache-Control": "no-store"}
        if request.method == "HEAD":
            return HttpResponse(headers=headers, content_type="application/json")
        pieces = manifests.document(archive, bucket=alias.bucket.name)
        return PiecesResponse(pieces, headers=headers, content_type="application/json")
    tar = Delivery(
        name=f"{aliases.file_name(alias)}{Kind.TAR}",
        size=archive.size,
        etag=archive.etag,
        etag_is_strong=archive.etag_is_strong,
        modified=None,  # The youngest member's time does not move when a member is removed.
        content_type=archives.CONTENT_TYPE,
        sha256="",
        open=archive.open,
        can_change=True,
        may_have_changed=True,
    )
    with calling_again(request):
        return serve(request, alias, tar, partial(SLOTS.take, alias))


def write(request: HttpRequest, alias: Alias, kind: Kind) -> HttpResponseBase:
    """Unpack the body below the prefix: every file of it becomes an object, or none does."""
    with _refusing_tails(request, alias, kind):
        return _receive(request, alias, kind)


def admit(request: HttpRequest, alias: Alias, kind: Kind) -> None:
    """Refuse by the request's head alone what ``write`` would refuse."""
    with _refusing_tails(request, alias, kind):
        offer = _announced(request, alias, body.RequestBody(request.META))
        _refuse_a_tail(alias, offer, kind)
        unpacking_uploads.landing(alias)


@contextmanager
def _refusing_tails(request: HttpRequest, alias: Alias, kind: Kind) -> Iterator[None]:
    """What is left of a tar may be a tar as well: a stream of one that does not make it is noted at the prefix."""
    if kind != Kind.TAR:
        yield
        return
    with upload.noting_a_cut(request, alias):
        yield


def _refuse_a_tail(alias: Alias, offer: Offer, kind: Kind) -> None:
    """Raises StreamInterrupted. The tail of any other format is refused by the format itself."""
    if kind == Kind.TAR and writing.may_be_a_tail(alias, offer):
        raise StreamInterrupted


def _receive(request: HttpRequest, alias: Alias, kind: Kind) -> HttpResponseBase:
    began = time.monotonic()
    content = body.RequestBody(request.META)
    offer = _announced(request, alias, content)
    _refuse_a_tail(alias, offer, kind)
    slot, pace = SLOTS.take(alias, content.size), paces.of(alias)
    try:
        body.limit_stalls(request.META)
        source = PacedBody(content, pace) if pace else content
        received, sha256 = unpacking_uploads.unpack(alias, offer, source, kind, _limits(alias))
    finally:
        slot.give_back()
        metrics.BYTES.labels("in").inc(content.taken)
    log.info(
        "archive.received",
        files=received.count,
        bytes=content.taken,
        replayed=received.replayed,
        seconds=round(time.monotonic() - began, 3),
    )
    headers = {
        "Repr-Digest": digests.repr_digest(sha256),
        "Waybill-Sha256": sha256,
        "Waybill-Durability": received.durability,
    }
    if received.replayed:
        headers["Waybill-Replayed"] = "true"
    text = f"unpacked {received.count} files of {received.content_bytes} bytes, archive sha256 {sha256}\n"
    status = 200 if received.replayed else 201
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8", headers=headers)


def _announced(request: HttpRequest, alias: Alias, content: body.RequestBody) -> Offer:
    offer = upload.announced(request, alias, content)
    if offer.start or not offer.is_last:
        raise WrongOffset("An archive is sent whole.", offset=0, complete=False)
    return offer


def tell(_request: HttpRequest, _alias: Alias) -> HttpResponseBase:
    """An archive is unpacked as it comes, so one that broke off begins anew."""
    headers = {"Upload-Offset": "0", "Upload-Complete": "?0", "Cache-Control": "no-store", "Content-Length": "0"}
    return HttpResponse(headers=headers)


def _limits(alias: Alias) -> Limits:
    most = settings.MAX_OBJECT_BYTES
    left = most if alias.max_total_bytes is None else max(0, alias.max_total_bytes - alias.written_bytes)
    return Limits(
        members=settings.MAX_UNPACKED_FILES,
        member_bytes=min(most, alias.max_bytes if alias.max_bytes is not None else most),
        content_bytes=left,
    )


def kind_of(alias: Alias, name: str) -> Kind | None:
    """The format of the archive of the alias's prefix that the URL's last part names, if it names one."""
    return next((kind for kind in Kind if name == f"{aliases.file_name(alias)}{kind}"), None)
