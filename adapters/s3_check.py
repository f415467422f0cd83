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
from adapters.errors import AdapterError, Unavailable
from adapters.s3_bucket import S3Bucket
from adapters.s3_errors import status_of
from adapters.s3_read import open_read
from adapters.trials import run

_CONTENT = b"Waybill was here"
#: The steps in their order, each with what to do where it fails.
_REMEDIES = {
    "resolve": "check the endpoint's host, and that this machine's name server knows it",
    "connect": "check the endpoint's scheme and port, that no firewall lies in between, and that ca has the authority"
    " of its certificate",
    "bucket": "check access key, secret key, bucket and region, and that the key may list the bucket",
    "write": "check that the key may put objects below the prefix, and that there is space",
    "read": "check that the key may get objects below the prefix",
    "checksums": "check that the key may put and get objects below the prefix",
    "create": "check that the key may begin and abort uploads in parts below the prefix",
    "delete": "check that the key may delete objects below the prefix",
}


def check(bucket: S3Bucket) -> list[CheckStep]:
    """As ``Adapter.check``. Leaves nothing in the bucket, and what ``bucket`` can do known."""
    key = f"waybill-check-{secrets.token_hex(8)}"

    def attempt(passed: Callable[[str], None]) -> None:
        passed(_resolve(bucket))
        passed(_connect(bucket))
        passed(_see_bucket(bucket))
        passed(_write(bucket, key))
        passed(_read(bucket, key))
        passed(_checksums(bucket, key))
        passed(_create(bucket, key))
        passed(_delete(bucket, key))

    try:
        return run(_REMEDIES, attempt)
    finally:
        with suppress(AdapterError):  # The step that failed is what the operator has to hear of.
            _delete(bucket, key)


def _resolve(bucket: S3Bucket) -> str:
    host, port = bucket.address
    with bucket.translating():
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    return f"{host} is {', '.join(sorted(found))}"


def _connect(bucket: S3Bucket) -> str:
    host, port = bucket.address
    with bucket.translating(), socket.create_connection((host, port), timeout=bucket.connect_timeout_s) as line:
        if not bucket.client.meta.endpoint_url.startswith("https:"):
            return f"{host} accepts connections on port {port}, without TLS"
        bucket.tls.wrap_socket(line, server_hostname=host).close()
    return f"{host} accepts connections on port {port}, and its certificate is trusted"


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
    bucket.known.checks_sums = s3_powers.checks_sums(bucket, key)
    if bucket.known.checks_sums:
        return "the server refuses a part whose CRC-32 is not the one that was sent with it"
    return "the server compares no CRC-32 of parts; of small objects it is sent the MD5"


def _create(bucket: S3Bucket, key: str) -> str:
    """Try to create what exists, and to create the same twice at once; learn whether the server refuses by itself."""
    bucket.known.atomic_create = False
    bucket.known.honours_create = s3_powers.refuses_create(bucket, key)
    if not bucket.known.honours_create:
        return "the server creates what exists; Waybill looks first, and of two at the same moment the later one wins"
    bucket.known.atomic_create = _one_of_two_is_refused(bucket, _other(key))
    if not bucket.known.atomic_create:
        return "the server refuses to create what exists; of two at the same moment the later one wins"
    return "the server refuses to create what exists, and one of two at the same moment"


def _one_of_two_is_refused(bucket: S3Bucket, key: str) -> bool:
    """Have the server look at two requests while there is nothing yet, and end one after the other."""
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
    bucket.delete(_other(key))
    return "the objects were deleted"


def _other(key: str) -> str:
    return f"{key}-other"
