"""The one place where what boto3 and HTTP say of a failure becomes an error of ours."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from botocore import exceptions as botocore
from urllib3 import exceptions as urllib3

from adapters.errors import (
    AccessDenied,
    AdapterError,
    AlreadyExists,
    ChecksumMismatch,
    InvalidKey,
    NotFound,
    Offline,
    OutOfSpace,
    RangeInvalid,
    TimedOut,
    Truncated,
    Unavailable,
    VersionChanged,
    WriteLost,
)

#: S3 takes no signature whose time is further from its own.
MOST_APART_S = 15 * 60

#: By the code in the answer's body, which says more than the status.
_BY_CODE: dict[str, type[AdapterError]] = {
    "NoSuchKey": NotFound,
    "NoSuchUpload": WriteLost,
    "InvalidRange": RangeInvalid,
    "KeyTooLongError": InvalidKey,
    "BadDigest": ChecksumMismatch,
    "XAmzContentChecksumMismatch": ChecksumMismatch,
    "QuotaExceeded": OutOfSpace,
    "XAmzQuotaExceeded": OutOfSpace,
    "XMinioStorageFull": OutOfSpace,
    "RequestTimeout": TimedOut,
    # By their status, these were our mistakes; what made them passes.
    "IncompleteBody": Unavailable,
    "InvalidPart": WriteLost,
    "SlowDown": Unavailable,
    "Throttling": Unavailable,
    "ThrottlingException": Unavailable,
    "RequestLimitExceeded": Unavailable,
    # An operator has to act on these, whatever their status.
    "NoSuchBucket": AccessDenied,
    "InvalidBucketName": AccessDenied,
    "AuthorizationHeaderMalformed": AccessDenied,
    "ExpiredToken": AccessDenied,
    "InvalidToken": AccessDenied,
    "PermanentRedirect": AccessDenied,
}

_BY_STATUS: dict[int, type[AdapterError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    408: TimedOut,
    409: Unavailable,  # two requests met; the later one may succeed
    413: OutOfSpace,
    416: RangeInvalid,
    429: Unavailable,
    501: AdapterError,
    507: OutOfSpace,
}


@contextlib.contextmanager
def translating(
    storage: str, key: str = "", *, precondition: type[VersionChanged | AlreadyExists] = VersionChanged
) -> Iterator[None]:
    """Raise every failure of the driver within as ours; ``precondition`` is what a refused If-(None-)Match means."""
    try:
        yield
    except botocore.ClientError as exc:
        raise _from_answer(exc, precondition)(_words(exc), storage=storage, key=key) from exc
    except (botocore.BotoCoreError, urllib3.HTTPError, http.client.HTTPException, OSError) as exc:
        kind, detail = _from_connection(exc)
        raise kind(detail, storage=storage, key=key) from exc


def status_of(error: botocore.ClientError) -> int:
    """The HTTP status of an answer; 0 where there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_not_implemented(error: AdapterError) -> bool:
    """Whether the server said that it has no such thing, which by its status alone might pass."""
    return isinstance(error.__cause__, botocore.ClientError) and status_of(error.__cause__) == 501


def _from_answer(error: botocore.ClientError, precondition: type[AdapterError]) -> type[AdapterError]:
    code, status = error.response.get("Error", {}).get("Code", ""), status_of(error)
    if status == 412 or code == "PreconditionFailed":
        return precondition
    if kind := _BY_CODE.get(code) or _BY_STATUS.get(status):
        return kind
    # A 200 may turn out to be an error in its body (CompleteMultipartUpload, CopyObject).
    return Unavailable if status >= 500 or status < 400 else AdapterError


def _words(error: botocore.ClientError) -> str:
    answer = error.response.get("Error", {})
    told = f"{error.operation_name}: {status_of(error)} {answer.get('Code', '')} {answer.get('Message', '')}".rstrip()
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return told + (_apart(headers.get("date", "")) if status_of(error) == http.client.FORBIDDEN else "")


def _apart(date: str) -> str:
    """How far our clock is from the server's where no signature can be right: the answer to a HEAD says nothing else.

    ``date`` is the server's header.
    """
    with contextlib.suppress(ValueError, TypeError):
        apart_s = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
        if abs(apart_s) > MOST_APART_S:
            way = "ahead of" if apart_s > 0 else "behind"
            return f"; this machine's clock is {round(abs(apart_s) / 60)} minutes {way} the server's: set it"
    return ""


def _from_connection(error: Exception) -> tuple[type[AdapterError], str]:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return AccessDenied, "the endpoint's certificate is not trusted; set `ca` if its authority is a private one"
    match error:
        case botocore.ConnectTimeoutError() | botocore.ReadTimeoutError() | urllib3.TimeoutError() | TimeoutError():
            return TimedOut, ""
        case botocore.IncompleteReadError() | botocore.ResponseStreamingError() | urllib3.ProtocolError():
            return Truncated, ""
        case botocore.EndpointConnectionError() | botocore.SSLError() | ConnectionRefusedError():
            return Offline, type(error).__name__
        case botocore.ConnectionClosedError() | ConnectionError() | http.client.HTTPException():
            return Unavailable, "the connection was closed before the answer"
        case OSError():  # no address, no route
            return Offline, error.strerror or type(error).__name__
    return Unavailable, type(error).__name__
