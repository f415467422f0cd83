"""Aliases: how tokens are made and found, and how aliases are created, extended and revoked.

A token is an HMAC of the alias's id under a key derived from the key ring, which is not in the database; the database
holds the token's SHA-256. So an alias can be shown again to its owner, and a stolen database opens nothing.
"""

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping
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
from staging.placement import MANAGED_FOLDER
from staging.states import AliasMode, AliasState, OnExists

#: 192 bits in URL-safe base64.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    """Make the aliases, all or none. Raises InvalidRequest naming what is wrong."""
    now, ring_key = timezone.now(), settings.SECRET_KEYS[0]
    made = []
    for spec in specs:
        _check(bucket, spec)
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
        for alias in made:
            events.record(bucket.project_id, "alias.created", str(alias), alias=str(alias.id))
    return made


def resolve(token: str) -> Alias:
    """The live alias of a token, with its bucket and storage, in one query.

    Raises AliasUnknown, AliasExpired, AliasRevoked and, for a read alias, AliasUsedUp.
    """
    if not _TOKEN.fullmatch(token):
        raise AliasUnknown
    alias = Alias.objects.select_related("bucket__storage__credential").filter(token_sha256=_digest(token)).first()
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
    if not 1 <= lifetime_s <= settings.ALIAS_MAX_LIFETIME_S:
        most = settings.ALIAS_MAX_LIFETIME_S
        raise InvalidRequest(
            "The lifetime is out of bounds.", fields={"lifetime_s": f"a whole number from 1 to {most}"}
        )
    expires_at = timezone.now() + timedelta(seconds=lifetime_s)
    if not Alias.objects.filter(pk=alias.pk, revoked_at=None).update(expires_at=expires_at):
        raise AliasRevoked("A revoked alias cannot be extended.")
    alias.expires_at = expires_at
    return expires_at


def revoke(alias: Alias) -> None:
    """End the alias now and for good; requests that run already finish. Repeating it does nothing."""
    with transaction.atomic():
        if Alias.objects.filter(pk=alias.pk, revoked_at=None).update(revoked_at=timezone.now()):
            events.record(alias.project_id, "alias.revoked", str(alias), alias=str(alias.pk))


def count_delivery(alias: Alias) -> None:
    """Count one whole delivery of an alias that may be used a limited number of times."""
    Alias.objects.filter(pk=alias.pk).update(uses=F("uses") + 1, last_used_at=timezone.now())


def is_awaited(bucket: Bucket, key: str) -> bool:
    """Whether some live write alias may still produce the object."""
    live = Q(revoked_at=None, expires_at__gt=timezone.now())
    return Alias.objects.filter(live, bucket=bucket, key=key, mode=AliasMode.WRITE).exists()


def _check(bucket: Bucket, spec: AliasSpec) -> None:
    wrong: dict[str, str] = {}
    try:
        check_key(spec.key)
        check_key(bucket.prefix + spec.key)
    except InvalidKey as exc:
        wrong["key"] = exc.detail
    if bucket.mounted and (bucket.prefix + spec.key).split("/")[0] == MANAGED_FOLDER:
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
    if any(c in spec.content_type for c in "\r\n\0") or len(spec.content_type) > 255:
        wrong["content_type"] = "a media type like text/csv"
    if wrong:
        raise InvalidRequest(f"The alias for {spec.key!r} is not valid.", fields=wrong)


def _token(ring_key: str, alias_id: uuid.UUID) -> str:
    mac = hmac.new(ring_key.encode(), b"waybill:alias:" + alias_id.bytes, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac[:24]).decode()


def _key_id(ring_key: str) -> str:
    return hashlib.sha256(b"waybill:key-id:" + ring_key.encode()).hexdigest()[:8]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
