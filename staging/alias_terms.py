"""Alias terms: what a caller asks of an alias, and what is wrong with that."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from django.conf import settings

from adapters import registry
from adapters.errors import InvalidKey
from adapters.keys import check_key
from staging.models import Bucket
from staging.placement import MANAGED_FOLDER, is_reserved
from staging.states import AliasMode, OnExists

_SHA256 = re.compile(r"[0-9a-f]{64}")
#: A name that begins with a letter is never taken for a place in a list when a database looks it up.
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,62}")
MAX_LABELS = 32
MAX_NETWORKS = 64
_MOST = 2**63 - 1
#: What only Waybill itself can count or bound.
_NOT_ELSEWHERE = ("max_uses", "max_rate", "max_requests", "networks")


@dataclass(frozen=True, slots=True)
class AliasSpec:
    """What a caller asks for. ``lifetime_s`` None means the gateway's default; sizes are bytes.

    ``key`` of a prefix alias is the prefix: empty for all of the bucket, or a folder, with or without its last slash.
    ``starts_on_use``: the lifetime begins with the first use. ``idle_s``: disuse ends the alias too. ``max_rate`` is
    in bytes a second, ``max_requests`` bounds the streams at a time, ``networks`` are those of the clients (CIDR).
    ``redirect``: a request that asks for it is sent on to a signed URL of the storage. ``checkpoint_id``: the
    version is read that the checkpoint holds.
    """

    mode: AliasMode
    key: str
    lifetime_s: int | None = None
    on_exists: OnExists = OnExists.FAIL
    max_uses: int | None = None
    max_bytes: int | None = None
    size: int | None = None
    sha256: str = ""
    allow_empty_stream: bool = False
    content_type: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    starts_on_use: bool = False
    idle_s: int | None = None
    max_total_bytes: int | None = None
    max_rate: int | None = None
    max_requests: int | None = None
    networks: Sequence[str] = ()
    redirect: bool = False
    checkpoint_id: int | None = None

    @property
    def place(self) -> str:
        """The key, or the prefix in its one form: empty, or ending in a slash."""
        if not self.mode.is_prefix or not self.key:
            return self.key
        return f"{self.key.removesuffix('/')}/"


def problems(bucket: Bucket, spec: AliasSpec) -> dict[str, str]:
    """What is wrong with the field of each name; empty when all is well."""
    return _of_key(bucket, spec) | _of_numbers(spec) | _of_mode(bucket, spec) | _of_words(spec)


def _of_key(bucket: Bucket, spec: AliasSpec) -> dict[str, str]:
    key = spec.place.removesuffix("/") if spec.mode.is_prefix else spec.key
    if spec.mode.is_prefix and not key:
        return {} if not spec.key else {"key": "a prefix is empty or a folder"}
    try:
        check_key(key)
        check_key(bucket.prefix + key)
    except InvalidKey as exc:
        return {"key": exc.detail}
    return {"key": f"'{MANAGED_FOLDER}' belongs to managed buckets"} if is_reserved(bucket, key) else {}


def _of_numbers(spec: AliasSpec) -> dict[str, str]:
    wrong = {}
    for name, least, most in (
        ("max_uses", 1, 2**31 - 1),
        ("max_bytes", 0, _MOST),
        ("max_total_bytes", 0, _MOST),
        ("max_rate", 1024, _MOST),
        ("max_requests", 1, 2**31 - 1),
        ("size", 0, _MOST),
        ("lifetime_s", 1, settings.ALIAS_MAX_LIFETIME_S),
        ("idle_s", 1, settings.ALIAS_MAX_LIFETIME_S),
    ):
        value = getattr(spec, name)
        if value is not None and not least <= value <= most:
            wrong[name] = f"a whole number from {least} to {most}"
    if spec.size is not None and spec.max_bytes is not None and spec.size > spec.max_bytes:
        wrong["size"] = "it is larger than max_bytes"
    return wrong


def _of_mode(bucket: Bucket, spec: AliasSpec) -> dict[str, str]:
    wrong: dict[str, str] = {}
    if not spec.mode.reads and registry.is_read_only(bucket.storage.scheme):
        wrong["mode"] = f"the storage {bucket.storage.name} is read-only"
    if spec.mode.is_prefix:
        wrong |= {name: "of one object only" for name in ("size", "sha256") if getattr(spec, name) not in (None, "")}
    if spec.max_total_bytes is not None and spec.mode != AliasMode.WRITE_PREFIX:
        wrong["max_total_bytes"] = "of write-prefix aliases only"
    if spec.redirect and spec.mode not in (AliasMode.READ, AliasMode.READ_PREFIX):
        wrong["redirect"] = "of aliases for reading only"
    elif spec.redirect and (bounds := [name for name in _NOT_ELSEWHERE if getattr(spec, name)]):
        wrong["redirect"] = f"a storage that is asked directly does not keep to {' or '.join(bounds)}"
    return wrong


def _of_words(spec: AliasSpec) -> dict[str, str]:
    wrong = {}
    if spec.sha256 and not _SHA256.fullmatch(spec.sha256):
        wrong["sha256"] = "64 lower-case hexadecimal digits"
    if not spec.content_type.isprintable() or len(spec.content_type) > 255:
        wrong["content_type"] = "a media type like text/csv"
    if len(spec.labels) > MAX_LABELS or not all(_LABEL.fullmatch(n) and len(v) <= 255 for n, v in spec.labels.items()):
        wrong["labels"] = (
            f"at most {MAX_LABELS}; a name is a letter and up to 62 of letters, digits, '.', '_', '/' and '-', "
            "a value has at most 255 characters"
        )
    if len(spec.networks) > MAX_NETWORKS or not all(map(_is_network, spec.networks)):
        wrong["networks"] = f"at most {MAX_NETWORKS} networks like 192.0.2.0/24 or 2001:db8::/32"
    return wrong


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
