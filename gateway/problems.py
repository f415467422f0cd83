"""Problems: the one place that turns an error into a status, for the data path and the API alike (RFC 9457)."""

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework import exceptions as api_errors
from rest_framework.response import Response

from adapters import errors as storage_errors
from gateway import refusals
from staging import errors

log = structlog.get_logger(__name__)

#: Statuses that curl's --retry tries again.
CURL_RETRIES = frozenset({408, 429, 500, 502, 503, 504})

_STATUS: dict[type[Exception], int] = {
    errors.AliasUnknown: 404,
    errors.AliasExpired: 410,
    errors.AliasRevoked: 410,
    errors.AliasUsedUp: 410,
    errors.WrongDirection: 405,
    errors.DataPending: 503,
    errors.ProducerFailed: 424,
    errors.SourceMissing: 404,
    errors.ObjectUnavailable: 503,
    errors.FolderIncomplete: 409,
    errors.ObjectLost: 410,
    errors.ContentDiffers: 409,
    errors.DigestMismatch: 422,
    errors.PartsDiffer: 503,
    errors.WrongOffset: 409,
    errors.SizeMismatch: 422,
    errors.BodyIncomplete: 400,
    errors.StreamEmpty: 422,
    errors.StreamInterrupted: 409,
    errors.TooLarge: 413,
    errors.NoSpace: 507,
    errors.StorageClosed: 503,
    errors.StorageGone: 410,
    errors.StorageUnusable: 503,
    errors.CopyDiffers: 503,
    errors.Unforeseen: 503,
    errors.LeaseLost: 503,
    errors.InvalidRequest: 400,
    errors.NameTaken: 409,
    errors.InUse: 409,
    errors.NotFound: 404,
    errors.AddressRefused: 403,
    errors.IdempotencyKeyReused: 422,
    errors.ArchiveInvalid: 422,
    errors.ArchiveTooLarge: 413,
    refusals.Busy: 503,
    refusals.AliasBusy: 429,
    refusals.WrongNetwork: 403,
    refusals.LengthRequired: 411,
    refusals.DocumentTooLarge: 413,
    refusals.UnsupportedBody: 415,
    refusals.PreconditionFailed: 412,
    refusals.RangeUnsatisfiable: 416,
    storage_errors.InvalidKey: 400,
    storage_errors.NotFound: 404,
    storage_errors.AlreadyExists: 409,
    storage_errors.VersionChanged: 412,
    storage_errors.RangeInvalid: 416,
    storage_errors.Unsupported: 403,
    storage_errors.AccessDenied: 503,
    storage_errors.OutOfSpace: 507,
    storage_errors.SizeMismatch: 502,
    storage_errors.ChecksumMismatch: 502,
    storage_errors.Damaged: 502,
    storage_errors.WriteLost: 502,
    storage_errors.Busy: 503,
    storage_errors.Failing: 503,
    storage_errors.Unavailable: 502,
    storage_errors.Offline: 502,
    storage_errors.TimedOut: 504,
    storage_errors.Truncated: 502,
    storage_errors.AdapterError: 502,
    OperationalError: 503,
    InterfaceError: 503,
}

#: Faults of a storage that a job's repetition may well overcome, although nothing changes by itself there.
_WORTH_RETRYING = (
    storage_errors.AccessDenied,
    storage_errors.SizeMismatch,
    storage_errors.ChecksumMismatch,
    storage_errors.Damaged,
    storage_errors.WriteLost,
)


@dataclass(frozen=True)
class Problem:
    """One refusal or failure as the client sees it; ``detail`` names the thing and never holds a secret."""

    status: int
    code: str
    detail: str
    retryable: bool
    hint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The problem+json document."""
        document: dict[str, Any] = {
            "type": f"urn:waybill:problem:{self.code}",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "retryable": self.retryable,
            "hint": self.hint,
            "request_id": structlog.contextvars.get_contextvars().get("request_id", ""),
        }
        if self.fields:
            document["fields"] = _sentences(self.fields)
        return document

    def all_headers(self) -> dict[str, str]:
        """The same facts in headers, because ``curl -f`` throws the body away."""
        return {
            **self.headers,
            "Waybill-Error-Code": self.code,
            "Waybill-Retryable": "true" if self.retryable else "false",
        }


def _sentences(found: Any) -> Any:
    """Lists of sentences by name at every depth, whoever found the faults."""
    if isinstance(found, Mapping):
        return {name: _sentences(faults) for name, faults in found.items()}
    return [str(fault) for fault in found] if isinstance(found, list) else [str(found)]


def of(exc: Exception) -> Problem:
    """The problem that an error is. An error nobody planned for is ``internal_error``, logged, and may pass."""
    status = next((code for kind, code in _STATUS.items() if isinstance(exc, kind)), None)
    if isinstance(exc, errors.StorageUnusable):
        log.error("storage.unusable", detail=exc.detail)
    if isinstance(exc, errors.StagingError) and status:
        headers = _headers(exc)
        fields = exc.fields if isinstance(exc, errors.InvalidRequest) else {}
        if status in (429, 503):
            headers["Retry-After"] = str(_retry_after(exc.retry_after_s))
        return Problem(status, exc.code, exc.detail, exc.transient, exc.hint, headers, fields)
    if isinstance(exc, storage_errors.AdapterError) and status:
        return _of_storage(exc, status)
    if isinstance(exc, OperationalError | InterfaceError):
        log.error("database.unavailable", error=str(exc).splitlines()[0] if str(exc) else type(exc).__name__)
        retry = {"Retry-After": str(_retry_after(5))}
        return Problem(503, "catalog_unavailable", "The catalog does not answer.", True, "Try again later.", retry)
    log.exception("request.crashed", exc_info=exc)
    return Problem(500, "internal_error", "Waybill failed; the request id finds the reason in its log.", True)


def _headers(exc: errors.StagingError) -> dict[str, str]:
    if isinstance(exc, errors.WrongDirection):
        return {"Allow": ", ".join(exc.allowed)}
    if isinstance(exc, errors.WrongOffset):
        return {"Upload-Offset": str(exc.offset), "Upload-Complete": "?1" if exc.complete else "?0"}
    if isinstance(exc, refusals.RangeUnsatisfiable):
        return {"Content-Range": f"bytes */{exc.size}"}
    return {}


def _of_storage(exc: storage_errors.AdapterError, status: int) -> Problem:
    """What a storage did. Its address and our login are the operator's business: the client learns its name only."""
    retryable = exc.transient or isinstance(exc, _WORTH_RETRYING)
    if isinstance(exc, storage_errors.AccessDenied):
        log.error("storage.access_denied", storage=exc.storage, key=exc.key, detail=exc.detail)
    elif status >= 500:
        log.warning("storage.failed", storage=exc.storage, key=exc.key, error=exc.code, detail=exc.detail)
    asked_s = exc.retry_after_s if isinstance(exc, storage_errors.NotTried) else None
    headers = {"Retry-After": str(_retry_after(asked_s))} if status == 503 else {}
    code = exc.code if exc.code.startswith("storage_") else f"storage_{exc.code}"
    hint = (
        "The storage behind the alias has a problem; its operators can see more in the admin." if status >= 500 else ""
    )
    return Problem(status, code, f"The storage {exc.storage}: {exc.summary}.", retryable, hint, headers)


def respond(problem: Problem) -> HttpResponse:
    """The answer of a plain view."""
    return HttpResponse(
        json.dumps(problem.body()) + "\n",
        status=problem.status,
        content_type="application/problem+json",
        headers=problem.all_headers(),
    )


def api_exception_handler(exc: Exception, _context: Mapping[str, Any]) -> Response:
    """The same for DRF: its own errors get codes of ours."""
    problem = _of_api(exc) or of(exc)
    response = Response(problem.body(), status=problem.status, headers=problem.all_headers())
    response.content_type = "application/problem+json"
    return response


_HINTS: dict[type[Exception], str] = {
    api_errors.UnsupportedMediaType: "Send the body as application/json.",
    api_errors.NotAuthenticated: "Send an API key: Authorization: Bearer …",
    api_errors.AuthenticationFailed: "Ask an administrator of the project for a new key.",
}


def _of_api(exc: Exception) -> Problem | None:
    if isinstance(exc, Http404):
        return Problem(404, "not_found", "There is no such thing in this project.", False)
    if isinstance(exc, PermissionDenied):
        return Problem(403, "permission_denied", "Your role does not allow this.", False)
    if isinstance(exc, ValidationError):
        return Problem(400, "invalid_request", "The request is not valid.", False, fields=_flat(exc))
    if not isinstance(exc, api_errors.APIException):
        return None
    headers = {}
    if getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = exc.auth_header
    if isinstance(exc, api_errors.ValidationError):
        return Problem(400, "invalid_request", "The request is not valid.", False, fields=_fields(exc.detail))
    code = re.sub(r"\W+", "_", str(exc.default_code))
    hint = next((words for kind, words in _HINTS.items() if isinstance(exc, kind)), "")
    return Problem(exc.status_code, code, str(exc.detail), exc.status_code in CURL_RETRIES, hint, headers)


def _fields(detail: Any) -> dict[str, Any]:
    return dict(detail) if isinstance(detail, dict) else {"non_field_errors": detail}


def _flat(exc: ValidationError) -> dict[str, Any]:
    return exc.message_dict if hasattr(exc, "error_dict") else {"non_field_errors": exc.messages}


def _retry_after(asked_s: float | None) -> int:
    """Whole seconds within the contract's 1 to 300, jittered so that waiting jobs do not come back all at once."""
    base = asked_s or 4
    return max(1, min(300, round(base * random.uniform(0.75, 1.5))))  # noqa: S311  jitter is no secret
