"""S3: the rules that need no server."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import urllib3
from botocore import exceptions as botocore

from adapters import errors
from adapters.base import Field
from adapters.s3 import S3Adapter
from adapters.s3_errors import translating
from adapters.s3_multipart import MAX_PARTS, part_size
from adapters.s3_settings import S3Settings

MIB = 1024 * 1024
GIB = 1024 * MIB
OPTIONS = {"bucket": "bucket"}
CREDENTIAL = {"access_key": "the-access-key", "secret_key": "the-secret-key"}


@pytest.mark.parametrize(
    ("declared", "near", "far"),
    [
        (8 * MIB + 1, 8 * MIB, 8 * MIB),
        (32 * MIB, 8 * MIB, 8 * MIB),
        (32 * MIB + 1, 9 * MIB, 8 * MIB),
        (GIB, 256 * MIB, 8 * MIB),
        (5 * 1024 * GIB, GIB, 525 * MIB),
    ],
)
def test_parts_are_few_near_by_and_small_far_away(declared: int, near: int, far: int) -> None:
    assert part_size(declared, least=8 * MIB, far=False) == near
    assert part_size(declared, least=8 * MIB, far=True) == far
    assert declared <= MAX_PARTS * far


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"bucket": ""}, "bucket"),
        ({"bucket": "a/b"}, "bucket"),
        ({"bucket": "bucket", "endpoint": "s3.example.org"}, "endpoint"),
        ({"bucket": "bucket", "endpoint": "ftp://s3.example.org"}, "endpoint"),
        ({"bucket": "bucket", "endpoint": "https://s3.example.org/path"}, "endpoint"),
        ({"bucket": "bucket", "endpoint": "https://user:word@s3.example.org"}, "endpoint"),
        ({"bucket": "bucket", "region": "us east"}, "region"),
        ({"bucket": "bucket", "prefix": "a/../b"}, "prefix"),
        ({"bucket": "bucket", "path_style": "yes"}, "path_style"),
        ({"bucket": "bucket", "ca": "no certificate"}, "ca"),
        ({"bucket": "bucket", "stall_timeout_s": 0}, "stall_timeout_s"),
        ({"bucket": "bucket", "idle_connections": True}, "idle_connections"),
        ({"bucket": 5}, "bucket"),
    ],
)
def test_wrong_setting_is_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}: "):
        S3Adapter.build("s3", options, CREDENTIAL)


def test_missing_credential_is_named() -> None:
    with pytest.raises(ValueError, match=r"^secret_key: "):
        S3Adapter.build("s3", OPTIONS, {"access_key": "key"})


def test_settings_never_show_their_secrets() -> None:
    shown = repr(S3Settings.read(OPTIONS, {**CREDENTIAL, "session_token": "the-session-token"}))
    for secret in ("the-access-key", "the-secret-key", "the-session-token"):
        assert secret not in shown


def test_path_style_follows_the_endpoint_unless_it_is_said() -> None:
    endpoint = {**OPTIONS, "endpoint": "https://s3.example.org/"}
    assert S3Settings.read(endpoint, CREDENTIAL).path_style
    assert not S3Settings.read({**endpoint, "path_style": False}, CREDENTIAL).path_style
    assert not S3Settings.read(OPTIONS, CREDENTIAL).path_style


def test_every_setting_is_told_of() -> None:
    assert {field.name for field in S3Adapter.fields} == set(S3Settings.__dataclass_fields__)
    assert all(isinstance(field, Field) and field.help for field in S3Adapter.fields)


def answer(status: int, code: str = "") -> botocore.ClientError:
    return botocore.ClientError(
        {"Error": {"Code": code or str(status), "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "Operation",
    )


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (answer(404), errors.NotFound),
        (answer(404, "NoSuchKey"), errors.NotFound),
        (answer(404, "NoSuchBucket"), errors.AccessDenied),
        (answer(404, "NoSuchUpload"), errors.WriteLost),
        (answer(403, "SignatureDoesNotMatch"), errors.AccessDenied),
        (answer(403, "QuotaExceeded"), errors.OutOfSpace),
        (answer(507), errors.OutOfSpace),
        (answer(400, "ExpiredToken"), errors.AccessDenied),
        (answer(403, "RequestTimeTooSkewed"), errors.AccessDenied),
        (answer(400, "IncompleteBody"), errors.Unavailable),
        (answer(400, "RequestTimeout"), errors.TimedOut),
        (answer(400, "InvalidPart"), errors.WriteLost),
        (answer(400, "SlowDown"), errors.Unavailable),
        (answer(501, "NotImplemented"), errors.AdapterError),
        (answer(400, "KeyTooLongError"), errors.InvalidKey),
        (answer(400, "InvalidArgument"), errors.AdapterError),
        (answer(409, "OperationAborted"), errors.Unavailable),
        (answer(412, "PreconditionFailed"), errors.VersionChanged),
        (answer(200, "PreconditionFailed"), errors.VersionChanged),
        (answer(200, "InternalError"), errors.Unavailable),
        (answer(416, "InvalidRange"), errors.RangeInvalid),
        (answer(500), errors.Unavailable),
        (answer(503, "SlowDown"), errors.Unavailable),
        (botocore.EndpointConnectionError(endpoint_url="http://host"), errors.Offline),
        (botocore.ConnectTimeoutError(endpoint_url="http://host"), errors.TimedOut),
        (botocore.ReadTimeoutError(endpoint_url="http://host"), errors.TimedOut),
        (botocore.ConnectionClosedError(endpoint_url="http://host"), errors.Unavailable),
        (botocore.SSLError(endpoint_url="http://host", error="WRONG_VERSION_NUMBER"), errors.Offline),
        (botocore.SSLError(endpoint_url="http://host", error="CERTIFICATE_VERIFY_FAILED"), errors.AccessDenied),
        (ssl.SSLCertVerificationError("CERTIFICATE_VERIFY_FAILED"), errors.AccessDenied),
        (botocore.IncompleteReadError(actual_bytes=1, expected_bytes=2), errors.Truncated),
        (urllib3.exceptions.ProtocolError("cut"), errors.Truncated),
        (ConnectionRefusedError(), errors.Offline),
        (ConnectionResetError(), errors.Unavailable),
        (TimeoutError(), errors.TimedOut),
        (OSError(113, "No route to host"), errors.Offline),
    ],
    ids=repr,
)
def test_failure_becomes_the_error_that_says_what_to_do(
    failure: Exception, expected: type[errors.AdapterError]
) -> None:
    with pytest.raises(errors.AdapterError) as raised, translating("store", "key"):
        raise failure
    assert raised.type is expected
    assert raised.value.__cause__ is failure
    assert (raised.value.storage, raised.value.key) == ("store", "key")


def test_refused_condition_of_a_create_means_that_it_exists() -> None:
    with (
        pytest.raises(errors.AlreadyExists),
        translating("store", "key", precondition=errors.AlreadyExists),
    ):
        raise answer(412)


@pytest.mark.parametrize(
    ("minutes", "told"), [(-60, "60 minutes ahead of"), (60, "60 minutes behind"), (5, ""), (None, "")]
)
def test_a_clock_that_is_wrong_is_told_where_the_server_says_nothing_else(minutes: int | None, told: str) -> None:
    refusal = answer(403)
    if minutes is not None:
        date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
        refusal.response["ResponseMetadata"]["HTTPHeaders"] = {"date": date}
    with pytest.raises(errors.AccessDenied) as raised, translating("store"):
        raise refusal
    assert told in raised.value.detail
    assert ("clock" in raised.value.detail) == bool(told)
