"""What gateways say to each other over HTTP about a storage that one of them holds; both sides speak by this page.

A call is a POST to ``/peer/v1/<storage>/<operation>`` whose question is JSON, in the header ``Waybill-Peer``. The body
is empty, or the bytes to append; the answer's is JSON, or the bytes that were asked for. An error is a status of
``STATUSES``. Each question is signed for one node by a secret of the installation, and good for ``WINDOW_S``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from adapters.base import Checksum, ObjectStat
from adapters.errors import (
    AccessDenied,
    AdapterError,
    AlreadyExists,
    Busy,
    ChecksumMismatch,
    Damaged,
    Failing,
    InvalidKey,
    NotFound,
    Offline,
    OutOfSpace,
    RangeInvalid,
    SizeMismatch,
    TimedOut,
    Truncated,
    Unavailable,
    Unsupported,
    VersionChanged,
    WriteLost,
)

PREFIX = "/peer/v1/"
PATH = re.compile(r"/peer/v1/(?P<storage>\d{1,18})/(?P<operation>[a-z_]{1,32})")
QUESTION, SIGNATURE, TOLD, FAULT = "Waybill-Peer", "Waybill-Peer-Signature", "Waybill-Peer-Told", "Waybill-Peer-Fault"
#: How far the clocks of two gateways may differ, and how long a question can be repeated by who overheard it.
WINDOW_S = 60

#: Each error has a status of its own. What has none is Unavailable, and what is no answer of a peer is that too.
STATUSES: Mapping[type[AdapterError], int] = {
    NotFound: 404,
    AlreadyExists: 409,
    WriteLost: 410,
    VersionChanged: 412,
    RangeInvalid: 416,
    SizeMismatch: 422,
    InvalidKey: 461,
    AccessDenied: 462,
    ChecksumMismatch: 463,
    Damaged: 464,
    Unsupported: 465,
    Offline: 561,
    TimedOut: 562,
    Truncated: 563,
    Busy: 564,
    Failing: 565,
    Unavailable: 503,
    OutOfSpace: 507,
}
_KINDS = {status: kind for kind, status in STATUSES.items()}


def status_of(error: AdapterError) -> int:
    """The status of an answer that is this error."""
    return STATUSES.get(type(error), STATUSES[Unavailable])


def error_of(status: int, fault: str, *, storage: str, key: str) -> AdapterError:
    """The error that an answer stands for. One without ``fault``, the header of a peer's own, is another server's."""
    if not fault:
        return Unavailable(f"the node's gateway answered {status} to a call of ours", storage=storage, key=key)
    try:
        detail = str(json.loads(fault))
    except ValueError:
        detail = fault
    return _KINDS.get(status, Unavailable)(detail, storage=storage, key=key)


def fault_of(error: AdapterError) -> str:
    """The header's value."""
    return json.dumps(error.detail)


def sign(secret: str, node: str, path: str, question: str, *, now: float | None = None) -> str:
    """The signature's header for a call of ``node``."""
    at = str(int(time.time() if now is None else now))
    return f"{at}:{_mac(secret, node, path, question, at)}"


def is_signed(signature: str, secrets: Iterable[str], node: str, path: str, question: str) -> bool:
    """Whether one of the secrets has signed this call of ``node`` within the window."""
    at, _, mac = signature.partition(":")
    if not re.fullmatch(r"\d{1,12}", at, re.ASCII) or abs(time.time() - int(at)) > WINDOW_S:
        return False
    # All are compared, so that the time tells nothing of which one fits.
    fits = [
        hmac.compare_digest(_mac(secret, node, path, question, at).encode(), mac.encode("utf-8", "replace"))
        for secret in secrets
    ]
    return any(fits)


def _mac(secret: str, node: str, path: str, question: str, at: str) -> str:
    text = "\n".join(["waybill-peer-1", node, path, at, question])
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def told(stat: ObjectStat) -> dict[str, Any]:
    """A stat as JSON."""
    return {
        "key": stat.key,
        "size": stat.size,
        "modified": stat.modified.isoformat() if stat.modified else None,
        "version": stat.version,
        "strong": stat.version_is_strong,
        "checksum": [stat.checksum.algorithm, stat.checksum.hex] if stat.checksum else None,
    }


def stat_of(told: Mapping[str, Any]) -> ObjectStat:
    """The stat that was told. Raises KeyError, TypeError or ValueError for what is none."""
    return ObjectStat(
        key=str(told["key"]),
        size=int(told["size"]),
        modified=datetime.fromisoformat(told["modified"]) if told["modified"] else None,
        version=str(told["version"]),
        version_is_strong=bool(told["strong"]),
        checksum=Checksum(*told["checksum"]) if told["checksum"] else None,
    )
