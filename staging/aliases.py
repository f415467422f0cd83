"""Aliases: how tokens are made and found, and how aliases are created, extended and revoked.

A token is an HMAC of the alias's id under a key derived from the key ring, which is not in the database; the database
holds the token's SHA-256. So an alias can be shown again to its owner, and a stolen database opens nothing.
"""

import base64
import copy
import hashlib
import hmac
import re
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from adapters.keys import check_key
from staging import alias_terms, events
from staging.alias_terms import AliasSpec
from staging.errors import AliasExpired, AliasRevoked, AliasUnknown, AliasUsedUp, InvalidRequest, SourceMissing
from staging.models import Alias, ApiKey, Bucket
from staging.placement import MANAGED_FOLDER, is_reserved
from staging.prepared import Prepared
from staging.states import AliasMode, AliasState

#: How long the segments of a download that has used an alias up may still be asked for.
GRACE_S = 60
#: 192 bits in URL-safe base64.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_BY_TOKEN = Prepared(
    lambda digest: Alias.objects.select_related("bucket__storage__credential").filter(token_sha256=digest).order_by(),
    str,
)


def token_of(alias: Alias) -> str:
    """The alias's token. Raises AliasUnknown where the ring's key that made it is gone."""
    for key in settings.SECRET_KEYS:
        if _key_id(key) == alias.token_key_id:
            return _token(key, alias.id)
    raise AliasUnknown(f"The key that made the token of alias {alias.id} is not in WAYBILL_SECRET_KEYS any more.")


def file_name(alias: Alias) -> str:
    """The last part of the alias's URL: the object's real file name, or the last folder of a prefix."""
    if AliasMode(alias.mode).is_prefix and (not alias.key or alias.key.endswith("/")):
        return str(alias.key[:-1].rsplit("/", 1)[-1] or alias.bucket.name)
    return str(alias.key).rsplit("/", 1)[-1]


def below(alias: Alias, rest: str) -> Alias:
    """What a prefix alias stands for at a path below its prefix: an alias of one object, which is never saved.

    Raises InvalidKey where the path could name nothing below the prefix, and SourceMissing where it is not to be seen.
    """
    check_key(rest)
    check_key(f"{alias.bucket.prefix}{alias.key}{rest}")
    if is_reserved(alias.bucket, f"{alias.key}{rest}"):
        raise SourceMissing(f"'{MANAGED_FOLDER}' belongs to managed buckets.")
    one = copy.copy(alias)
    one.key = f"{alias.key}{rest}"
    return one


def create(bucket: Bucket, specs: list[AliasSpec], *, created_by: ApiKey | None = None) -> list[Alias]:
    """Make aliases of one bucket, all or none. Raises InvalidRequest naming what is wrong."""
    return create_in([(bucket, spec) for spec in specs], created_by=created_by)


def create_in(wanted: Sequence[tuple[Bucket, AliasSpec]], *, created_by: ApiKey | None = None) -> list[Alias]:
    """Make aliases, each in a bucket of its own, all or none, in the order given. Raises InvalidRequest.

    Of several that are wrong all are told: ``fields`` then has an entry for each, by its place in the list.
    """
    found = {str(place): alias_terms.problems(bucket, spec) for place, (bucket, spec) in enumerate(wanted)}
    problems = {place: wrong for place, wrong in found.items() if wrong}
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
                key=spec.place,
                mode=spec.mode,
                on_exists=spec.on_exists,
                allow_empty_stream=spec.allow_empty_stream,
                expires_at=now + timedelta(seconds=_waits_s(spec)),
                lifetime_s=_lifetime_s(spec) if spec.starts_on_use else None,
                idle_s=spec.idle_s,
                max_uses=spec.max_uses,
                max_bytes=spec.max_bytes,
                max_total_bytes=spec.max_total_bytes,
                max_rate=spec.max_rate,
                max_requests=spec.max_requests,
                networks=list(spec.networks),
                redirect=spec.redirect,
                checkpoint_id=spec.checkpoint_id,
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


def resolve(token: str, *, grace: bool = False) -> Alias:
    """The live alias of a token, with its bucket and storage, in one query.

    With ``grace`` a read alias that has just been used up still answers: clients that download in segments ask for some
    of them twice.

    Raises AliasUnknown, AliasExpired, AliasRevoked and, for a read alias, AliasUsedUp.
    """
    if not _TOKEN.fullmatch(token):
        raise AliasUnknown
    alias = _BY_TOKEN.first(_digest(token))
    if alias is None:
        raise AliasUnknown
    if alias.revoked_at is not None:
        raise AliasRevoked
    ended = ends_at(alias)
    if ended <= timezone.now():
        raise AliasExpired(f"The alias expired at {ended:%Y-%m-%dT%H:%M:%SZ}.")
    if AliasMode(alias.mode).reads and is_used_up(alias) and not (grace and _was_just_used(alias)):
        raise AliasUsedUp
    return alias


def _was_just_used(alias: Alias) -> bool:
    return alias.last_used_at is not None and alias.last_used_at > timezone.now() - timedelta(seconds=GRACE_S)


def ends_at(alias: Alias) -> datetime:
    """When the alias ends if it is not used again."""
    return min(alias.expires_at, alias.idle_until or alias.expires_at)


def is_used_up(alias: Alias) -> bool:
    """Whether the alias has been used as often as it may be.

    A write alias that is used up still answers the replay of what it committed, so that a lost reply does no harm.
    """
    return alias.max_uses is not None and alias.uses >= alias.max_uses


def state_of(alias: Alias) -> AliasState:
    """What has become of the alias by now; the first reason for which it would be refused."""
    if alias.revoked_at is not None:
        return AliasState.REVOKED
    if ends_at(alias) <= timezone.now():
        return AliasState.EXPIRED
    return AliasState.USED_UP if is_used_up(alias) else AliasState.LIVE


def in_state(state: AliasState) -> Q:
    """The condition by which the database finds the aliases in a state."""
    now, used_up = timezone.now(), Q(max_uses__isnull=False, uses__gte=F("max_uses"))
    timely = Q(expires_at__gt=now) & (Q(idle_until=None) | Q(idle_until__gt=now))
    return {
        AliasState.REVOKED: Q(revoked_at__isnull=False),
        AliasState.EXPIRED: Q(revoked_at=None) & ~timely,
        AliasState.USED_UP: Q(revoked_at=None) & timely & used_up,
        AliasState.LIVE: Q(revoked_at=None) & timely & ~used_up,
    }[state]


def extend(alias: Alias, lifetime_s: int) -> datetime:
    """Let the alias live ``lifetime_s`` from now; an expired one lives again. Raises AliasRevoked."""
    expires_at = expiry(lifetime_s)
    with transaction.atomic():
        if not Alias.objects.filter(pk=alias.pk, revoked_at=None).update(**lease(expires_at)):
            raise AliasRevoked("A revoked alias cannot be extended.")
        events.record_aliases("alias.extended", [alias])
    alias.expires_at = expires_at
    return expires_at


def lease(expires_at: datetime) -> dict[str, datetime | None]:
    """The columns of an alias that is to live until then, whatever its lifetime was so far."""
    return {"expires_at": expires_at, "lifetime_s": None, "idle_until": None}


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


def _token(ring_key: str, alias_id: uuid.UUID) -> str:
    mac = hmac.new(ring_key.encode(), b"waybill:alias:" + alias_id.bytes, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac[:24]).decode()


def _key_id(ring_key: str) -> str:
    return hashlib.sha256(b"waybill:key-id:" + ring_key.encode()).hexdigest()[:8]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _lifetime_s(spec: AliasSpec) -> int:
    return spec.lifetime_s or settings.ALIAS_LIFETIME_S


def _waits_s(spec: AliasSpec) -> int:
    """How long the alias lives if nobody uses it."""
    return settings.ALIAS_MAX_LIFETIME_S if spec.starts_on_use else _lifetime_s(spec)
