"""The storages of this node for its peers: each call is one of a storage's adapter; see ``adapters.peer_protocol``."""

import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from adapters import peer_protocol
from adapters.base import (
    Adapter,
    CopiesWithin,
    Listed,
    ListsUnfinished,
    ObjectStat,
    Prefix,
    ReadStream,
    ReadsUnfinished,
    ReportsSpace,
    WriteMode,
)
from adapters.errors import AccessDenied, AdapterError, Busy, SizeMismatch, Unavailable, Unsupported
from adapters.peer_protocol import FAULT, QUESTION, SIGNATURE, TOLD, told
from adapters.tokens import WriteToken
from gateway.data import body, token_locks
from gateway.data.body import RequestBody
from gateway.data.response import ObjectResponse
from gateway.data.slots import PEERS, Seat
from staging.connections import release
from staging.errors import StagingError
from staging.models import Storage
from staging.pump import Hasher, pump
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

#: Keys in one answer to a scan.
_PAGE = 500

Question = Mapping[str, Any]


def answer(request: HttpRequest) -> HttpResponseBase:
    """One call of a peer."""
    key = ""
    try:
        storage, operation, question = _admit(request)
        key = str(question.get("key", ""))
        seat = PEERS.take()
        if seat is None:
            raise Busy("as many calls of peers run as may", storage=storage.name, key=key)
        return _perform(request, storage, operation, question, seat)
    except AdapterError as exc:
        return _refusal(exc)
    except StagingError as exc:
        return _refusal(Unavailable(exc.detail, key=key))
    finally:
        release()


def _perform(
    request: HttpRequest, storage: Storage, operation: str, question: Question, seat: Seat
) -> HttpResponseBase:
    """The seat is given back once nothing of the call is left to do."""
    kept = False
    try:
        adapter = adapter_for(storage)
        release()
        if operation in _STREAMS:
            response = _stream(_STREAMS[operation](adapter, question), seat)
            kept = True
            return response
        if operation == "append":
            seat.note_size(None)
            return _document(_append(request, adapter, question))
        return _document(_CALLS[operation](adapter, question))
    except KeyError as exc:
        raise Unsupported(f"no such call, or something is missing in it: {exc}", storage=storage.name) from exc
    finally:
        if not kept:
            seat.give_back()


def _admit(request: HttpRequest) -> tuple[Storage, str, Question]:
    """The storage, which is of this node, and what is asked of it by a peer that knows the installation's secret."""
    match = peer_protocol.PATH.fullmatch(request.path_info)
    text = request.headers.get(QUESTION, "")
    signature = request.headers.get(SIGNATURE, "")
    signed = match and peer_protocol.is_signed(
        signature, settings.PEER_SECRETS, settings.NODE_NAME, request.path_info, text
    )
    if match is None or not signed or request.method != "POST":
        log.warning("peer.refused", path=peer_protocol.PREFIX)
        raise AccessDenied("no signature of a peer, or one of another time: compare keys and clocks")
    rows = Storage.objects.filter(pk=int(match["storage"]), node__name=settings.NODE_NAME)
    storage = rows.select_related("credential", "node").first()
    if storage is None:
        raise Unavailable(f"it is not a storage of the node {settings.NODE_NAME}")
    return storage, match["operation"], json.loads(text)


def _stat(adapter: Adapter, question: Question) -> dict[str, Any]:
    return told(adapter.stat(question["key"]))


def _delete(adapter: Adapter, question: Question) -> dict[str, Any]:
    adapter.delete(question["key"])
    return {}


def _begin(adapter: Adapter, question: Question) -> dict[str, Any]:
    session = adapter.open_write(question["key"], size=question["size"], mode=WriteMode(question["mode"]))
    with session:
        return {"token": session.suspend()}


def _resume(adapter: Adapter, question: Question) -> dict[str, Any]:
    with token_locks.held(question["token"]), adapter.resume_write(question["token"]) as session:
        offset = session.offset
        session.suspend()
        return {"offset": offset}


def _publish(adapter: Adapter, question: Question) -> dict[str, Any]:
    with token_locks.held(question["token"]), adapter.resume_write(question["token"]) as session:
        if session.offset != question["offset"]:
            detail = f"{session.offset} bytes are there, {question['offset']} were sent"
            raise SizeMismatch(detail, storage=adapter.name, key=session.key)
        return told(session.publish())


def _append(request: HttpRequest, adapter: Adapter, question: Question) -> dict[str, Any]:
    """Take the body behind what is there. What came of one that broke off stays, for whoever asks how much it is."""
    body.limit_stalls(request.META)
    with token_locks.held(question["token"]), adapter.resume_write(question["token"]) as session:
        if session.offset != question["offset"]:
            detail = f"{session.offset} bytes are there, {question['offset']} were expected"
            session.suspend()
            raise Unavailable(detail, storage=adapter.name, key=session.key)
        try:
            with Hasher(()) as nothing:
                pump(RequestBody(request.META), session.write, nothing, on_progress=lambda _: None)
        finally:
            session.suspend()
        return {"offset": session.offset}


def _unfinished(adapter: Adapter, question: Question) -> dict[str, Any]:
    return {"tokens": adapter.unfinished_writes(question["key"])}


def _all_unfinished(adapter: Adapter, question: Question) -> dict[str, Any]:
    if not isinstance(adapter, ListsUnfinished):
        raise Unsupported(storage=adapter.name)
    page = islice(adapter.scan_unfinished(question["folder"]), _PAGE)
    return {"items": [told(ObjectStat(one.key, one.size, one.modified, one.token, True)) for one in page]}


def _abort(adapter: Adapter, question: Question) -> dict[str, Any]:
    adapter.abort_write(question["token"])
    return {}


def _scan(adapter: Adapter, question: Question) -> dict[str, Any]:
    items = adapter.scan(question["prefix"], after=question["after"], recursive=question["recursive"])
    page = list(islice(items, _PAGE + 1))
    if close := getattr(items, "close", None):
        close()
    return {"items": [_listed(item) for item in page[:_PAGE]], "more": len(page) > _PAGE}


def _listed(item: Listed) -> dict[str, Any]:
    if isinstance(item, ObjectStat):
        return told(item)
    return {"prefix": item.key} if isinstance(item, Prefix) else {"unreachable": item.key, "why": item.why}


def _check(adapter: Adapter, _question: Question) -> dict[str, Any]:
    return {"steps": [{"step": one.step, "ok": one.ok, "detail": one.detail} for one in adapter.check()]}


def _free(adapter: Adapter, _question: Question) -> dict[str, Any]:
    if not isinstance(adapter, ReportsSpace):
        raise Unsupported(storage=adapter.name)
    return {"bytes": adapter.free_bytes()}


def _copy(adapter: Adapter, question: Question) -> dict[str, Any]:
    if not isinstance(adapter, CopiesWithin):
        raise Unsupported(storage=adapter.name)
    return told(adapter.copy_within(question["source"], WriteToken.parse(question["token"], storage=adapter.name)))


def _read(adapter: Adapter, question: Question) -> ReadStream:
    return adapter.open_read(question["key"], question["start"], question["stop"], version=question["version"])


def _read_unfinished(adapter: Adapter, question: Question) -> ReadStream:
    if not isinstance(adapter, ReadsUnfinished):
        raise Unsupported(storage=adapter.name)
    return adapter.read_unfinished(question["token"])


_CALLS: Mapping[str, Callable[[Adapter, Question], dict[str, Any]]] = {
    "stat": _stat,
    "begin": _begin,
    "resume": _resume,
    "publish": _publish,
    "unfinished_writes": _unfinished,
    "scan_unfinished": _all_unfinished,
    "abort_write": _abort,
    "delete": _delete,
    "scan": _scan,
    "check": _check,
    "free_bytes": _free,
    "copy_within": _copy,
}
_STREAMS: Mapping[str, Callable[[Adapter, Question], ReadStream]] = {
    "read": _read,
    "read_unfinished": _read_unfinished,
}


def _document(found: dict[str, Any]) -> HttpResponse:
    text = json.dumps(found)
    return HttpResponse(text, content_type="application/json", headers={"Content-Length": str(len(text))})


def _stream(stream: ReadStream, seat: Seat) -> HttpResponseBase:
    try:
        seat.note_size(stream.stop - stream.start)
        about = {**told(stream.stat), "start": stream.start, "stop": stream.stop}
        return ObjectResponse(
            stream,
            lambda _sent: seat.give_back(),
            headers={TOLD: json.dumps(about)},
            content_type="application/octet-stream",
        )
    except BaseException:
        stream.close()
        raise


def _refusal(error: AdapterError) -> HttpResponse:
    return HttpResponse(
        status=peer_protocol.status_of(error),
        headers={FAULT: peer_protocol.fault_of(error), "Content-Length": "0"},
    )
