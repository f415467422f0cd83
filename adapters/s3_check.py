"""Trying out, step by step, all that Waybill needs of a bucket; what fails is told with its remedy."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from http.client import CONFLICT, PRECONDITION_FAILED

from botocore.exceptions import ClientError

from adapters import s3_powers
from adapters.base import CheckStep
from adapters.errors import AccessDenied, AdapterError, Offline, TimedOut, Unavailable
from adapters.s3_bucket import S3Bucket
from adapters.s3_errors import status_of
from adapters.s3_read import open_read

_CONTENT = b"Waybill was here"
_REMEDIES: tuple[tuple[type[AdapterError], str], ...] = (
    (
        AccessDenied,
        "Check access key, secret key, bucket and region, and that the key may list, read, write and delete",
    ),
    (Offline, "Check the endpoint's host and port, and that no firewall is between"),
    (TimedOut, "Check the endpoint's host and port, and that no firewall is between"),
)


def check(bucket: S3Bucket) -> list[CheckStep]:
    """As ``Adapter.check``. Leaves nothing in the bucket, and what ``bucket`` can do known."""
    key = f"waybill-check-{secrets.token_hex(8)}"
    trials: tuple[tuple[str, Callable[[], str]], ...] = (
        ("resolve", lambda: _resolve(bucket)),
        ("connect", lambda: _connect(bucket)),
        ("bucket", lambda: _see_bucket(bucket)),
        ("write", lambda: _write(bucket, key)),
        ("read", lambda: _read(bucket, key)),
        ("checksums", lambda: _checksums(bucket, key)),
        ("create", lambda: _create(bucket, key)),
        ("delete", lambda: _delete(bucket, key)),
    )
    steps: list[CheckStep] = []
    try:
        for step, trial in trials:
            try:
                steps.append(CheckStep(step, True, trial()))
            except AdapterError as exc:
                remedy = next((words for kind, words in _REMEDIES if isinstance(exc, kind)), "")
                found = f"{exc.summary} ({exc.detail})" if exc.detail else exc.summary
                steps.append(CheckStep(step, False, f"{found}. {remedy}".removesuffix(" ")))
                break
    finally:
        with suppress(AdapterError):  # The step that failed is what the operator has to hear of.
            bucket.delete(key)
    return steps


def _resolve(bucket: S3Bucket) -> str:
    host, port = bucket.address
    with bucket.translating():
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    return f"{host} is {', '.join(sorted(found))}"


def _connect(bucket: S3Bucket) -> str:
    host, port = bucket.address
    with bucket.translating():
        socket.create_connection((host, port), timeout=bucket.connect_timeout_s).close()
    return f"{host} accepts connections on port {port}"


def _see_bucket(bucket: S3Bucket) -> str:
    bucket.confirm()
    return f"the bucket {bucket.name!r} is there and our credential is accepted"


def _write(bucket: S3Bucket, key: str) -> str:
    with bucket.translating(key):
        bucket.put(key, _CONTENT)
    return f"{len(_CONTENT)} bytes were written"


def _read(bucket: S3Bucket, key: str) -> str:
    with open_read(bucket, key, 0, None, None) as stream:
        if stream.read() != _CONTENT:
            raise Unavailable("what was read is not what was written", storage=bucket.storage, key=key)
    return "they were read back unchanged"


def _checksums(bucket: S3Bucket, key: str) -> str:
    bucket.checks_sums = s3_powers.checks_sums(bucket, key)
    if bucket.checks_sums:
        return "the server refuses a part whose CRC-32 is not the one that was sent with it"
    return "the server compares no CRC-32 of parts; of small objects it is sent the MD5"


def _create(bucket: S3Bucket, key: str) -> str:
    """Try to create what exists, and to create the same twice at once; learn whether the server refuses by itself."""
    bucket.atomic_create = False
    bucket.honours_create = s3_powers.refuses_create(bucket, key)
    if not bucket.honours_create:
        return "the server creates what exists; Waybill looks first, and of two at the same moment the later one wins"
    bucket.atomic_create = _one_of_two_is_refused(bucket, key)
    if not bucket.atomic_create:
        return "the server refuses to create what exists; of two at the same moment the later one wins"
    return "the server refuses to create what exists, and one of two at the same moment"


def _one_of_two_is_refused(bucket: S3Bucket, key: str) -> bool:
    """Have the server look at two requests while there is nothing yet, and end one after the other."""
    bucket.delete(key)
    with bucket.translating(key), ExitStack() as stack:
        puts = [
            stack.enter_context(closing(bucket.begin_put("put_object", key, len(_CONTENT), create=True, ask=True)))
            for _ in range(2)
        ]
        if not all(put.may_go_on() for put in puts):
            return False
        refused = 0
        for put in puts:
            try:
                put.send(_CONTENT)
                put.finish()
            except ClientError as exc:
                if status_of(exc) not in (PRECONDITION_FAILED, CONFLICT):
                    raise
                refused += 1
    return refused == 1


def _delete(bucket: S3Bucket, key: str) -> str:
    bucket.delete(key)
    return "the object was deleted"
