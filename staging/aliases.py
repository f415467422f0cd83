"""Aliases: how tokens are made and found, and how aliases are created, extended and revoked.

A token is an HMAC of the alias's id under a key derived from the key ring, which is not in the database; the database
holds the token's SHA-256. So an alias can be shown again to its owner, and a stolen database opens nothing.
"""

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from adapters.errors import InvalidKey
from adapters.keys import check_key
from staging import events
from staging.errors import AliasExpired, AliasRevoked, AliasUnknown, AliasUsedUp, InvalidRequest
from staging.models import Alias, ApiKey, Bucket
from staging.placement import MANAGED_FOLDER, is_reserved
from staging.prepared import Prepared
from staging.states import AliasMode, AliasState, OnExists

#: 192 bits in URL-safe base64.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BY_TOKEN = Prepared(
    lambda digest: Alias.objects.select_related("bucket__storage__credential").filter(token_sha256=digest).order_by(),
    str,
)
#: A name that begins with a letter is never taken for a place in a list when a database looks it up.
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,62}")
MAX_LABELS = 32


@dataclass(frozen=True, slots=True)
class AliasSpec:
    """What a caller asks for. ``lifetime_s`` None means the gateway's default; sizes are bytes."""

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


def token_of(alias: Alias) -> str:
    """The alias's token. Raises AliasUnknown where the ring's key that made it is gone."""
    for key in settings.SECRET_KEYS:
        if _key_id(key) == alias.token_key_id:
            return _token(key, alias.id)
    raise AliasUnknown(f"The key that made the token of alias {alias.id} is not in WAYBILL_SECRET_KEYS any more.")


def file_name(alias: Alias) -> str:
    """The last part of the alias's URL: the object's real file name."""
    return str(alias.key).rsplit("/", 1)[-1]


def create(bucket: Bucket, specs: list[AliasSpec], *, created_by: ApiKey | None = None) -> list[Alias]:
    """Make aliases of one bucket, all or none. Raises InvalidRequest naming what is wrong."""
    return create_in([(bucket, spec) for spec in specs], created_by=created_by)


def create_in(wanted: Sequence[tuple[Bucket, AliasSpec]], *, created_by: ApiKey | None = None) -> list[Alias]:
    """Make aliases, each in a bucket of its own, all or none, in the order given. Raises InvalidRequest.

    Of several that are wrong all are told: ``fields`` then has an entry for each, by its place in the list.
    """
    problems = {str(place): wrong for place, (bucket, spec) in enumerate(wanted) if (wrong := _problems(bucket, spec))}
    if problems:
        alone = len(wanted) == 1
        what = f"The alias for {wanted[0][1].key!r} is" if alone else f"{len(problems)} of {len(wanted)} aliases are"
        raise InvalidRequest(f"{what} not valid.", fields=problems["0"] if alone else problems)
    now, ring_key = timezone.now(), settings.SECRET_KEYS[0]
    made = []
    for bucket, spec in wanted:
        alias_id = uuid.uuid4()
        made.append(
            Alias(
                id=alias_id,
                token_sha256=_digest(_token(ring_key, alias_id)),
                token_key_id=_key_id(ring_key),
                project_id=bucket.project_id,
                bucket=bucket,
                key=spec.key,
                mode=spec.mode,
                on_exists=spec.on_exists,
                allow_empty_stream=spec.allow_empty_stream,
                expires_at=now + timedelta(seconds=spec.lifetime_s or settings.ALIAS_LIFETIME_S),
                max_uses=spec.max_uses,
                max_bytes=spec.max_bytes,
                sha256=spec.sha256,
                size=spec.size,
                content_type=spec.content_type,
                labels=dict(spec.labels),
                created_by=created_by,
            )
        )
    with transaction.atomic():
        Alias.objects.bulk_create(made)
        events.record_aliases("alias.created", made)
    return made


def resolve(token: str) -> Alias:
    """The live alias of a token, with its bucket and storage, in one query.

    Raises AliasUnknown, AliasExpired, AliasRevoked and, for a read alias, AliasUsedUp.
    """
    if not _TOKEN.fullmatch(token):
        raise AliasUnknown
    alias = _BY_TOKEN.first(_digest(token))
    if alias is None:
        raise AliasUnknown
    if alias.revoked_at is not None:
        raise AliasRevoked
    if alias.expires_at <= timezone.now():
        raise AliasExpired(f"The alias expired at {alias.expires_at:%Y-%m-%dT%H:%M:%SZ}.")
    if alias.mode == AliasMode.READ and is_used_up(alias):
        raise AliasUsedUp
    return alias


def is_used_up(alias: Alias) -> bool:
    """Whether the alias has been used as often as it may be.

    A write alias that is used up still answers the replay of what it committed, so that a lost reply does no harm.
    """
    return alias.max_uses is not None and alias.uses >= alias.max_uses


def state_of(alias: Alias) -> AliasState:
    """What has become of the alias by now; the first reason for which it would be refused."""
    if alias.revoked_at is not None:
        return AliasState.REVOKED
    if alias.expires_at <= timezone.now():
        return AliasState.EXPIRED
    return AliasState.USED_UP if is_used_up(alias) else AliasState.LIVE


def in_state(state: AliasState) -> Q:
    """The condition by which the database finds the aliases in a state."""
    now, used_up = timezone.now(), Q(max_uses__isnull=False, uses__gte=F("max_uses"))
    return {
        AliasState.REVOKED: Q(revoked_at__isnull=False),
        AliasState.EXPIRED: Q(revoked_at=None, expires_at__lte=now),
        AliasState.USED_UP: Q(revoked_at=None, expires_at__gt=now) & used_up,
        AliasState.LIVE: Q(revoked_at=None, expires_at__gt=now) & ~used_up,
    }[state]


def extend(alias: Alias, lifetime_s: int) -> datetime:
    """Let the alias live ``lifetime_s`` from now; an expired one lives again. Raises AliasRevoked."""
    expires_at = expiry(lifetime_s)
    with transaction.atomic():
        if not Alias.objects.filter(pk=alias.pk, revoked_at=None).update(expires_at=expires_at):
            raise AliasRevoked("A revoked alias cannot be extended.")
        events.record_aliases("alias.extended", [alias])
    alias.expires_at = expires_at
    return expires_at


def expiry(lifetime_s: int) -> datetime:
    """When a lifetime that begins now ends. Raises InvalidRequest where it is longer than the gateway allows."""
    most = settings.ALIAS_MAX_LIFETIME_S
    if not 1 <= lifetime_s <= most:
        raise InvalidRequest(
            "The lifetime is out of bounds.", fields={"lifetime_s": f"a whole number from 1 to {most}"}
        )
    return timezone.now() + timedelta(seconds=lifetime_s)


def revoke(alias: Alias) -> bool:
    """End the alias now and for good; requests that run already finish. False where that was done before."""
    with transaction.atomic():
        if not Alias.objects.filter(pk=alias.pk, revoked_at=None).update(revoked_at=timezone.now()):
            return False
        events.record_aliases("alias.revoked", [alias])
        return True


def count_delivery(alias: Alias) -> None:
    """Count one whole delivery of an alias that may be used a limited number of times."""
    Alias.objects.filter(pk=alias.pk).update(uses=F("uses") + 1, last_used_at=timezone.now())


def is_awaited(bucket: Bucket, key: str) -> bool:
    """Whether some live write alias may still produce the object."""
    return Alias.objects.filter(in_state(AliasState.LIVE), bucket=bucket, key=key, mode=AliasMode.WRITE).exists()


def _problems(bucket: Bucket, spec: AliasSpec) -> dict[str, str]:
    """What is wrong with the field of each name; empty when all is well."""
    wrong: dict[str, str] = {}
    try:
        check_key(spec.key)
        check_key(bucket.prefix + spec.key)
    except InvalidKey as exc:
        wrong["key"] = exc.detail
    if is_reserved(bucket, spec.key):
        wrong["key"] = f"'{MANAGED_FOLDER}' belongs to managed buckets"
    if spec.sha256 and not _SHA256.fullmatch(spec.sha256):
        wrong["sha256"] = "64 lower-case hexadecimal digits"
    for name, least, most in (
        ("max_uses", 1, 2**31 - 1),
        ("max_bytes", 0, 2**63 - 1),
        ("size", 0, 2**63 - 1),
        ("lifetime_s", 1, settings.ALIAS_MAX_LIFETIME_S),
    ):
        value = getattr(spec, name)
        if value is not None and not least <= value <= most:
            wrong[name] = f"a whole number from {least} to {most}"
    if spec.size is not None and spec.max_bytes is not None and spec.size > spec.max_bytes:
        wrong["size"] = "it is larger than max_bytes"
    if not spec.content_type.isprintable() or len(spec.content_type) > 255:
        wrong["content_type"] = "a media type like text/csv"
    if len(spec.labels) > MAX_LABELS or not all(_LABEL.fullmatch(n) and len(v) <= 255 for n, v in spec.labels.items()):
        wrong["labels"] = (
            f"at most {MAX_LABELS}; a name is a letter and up to 62 of letters, digits, '.', '_', '/' and '-', "
            "a value has at most 255 characters"
        )
    return wrong


def _token(ring_key: str, alias_id: uuid.UUID) -> str:
    mac = hmac.new(ring_key.encode(), b"waybill:alias:" + alias_id.bytes, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac[:24]).decode()


def _key_id(ring_key: str) -> str:
    return hashlib.sha256(b"waybill:key-id:" + ring_key.encode()).hexdigest()[:8]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
