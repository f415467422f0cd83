"""Uses of aliases: when a lifetime begins, what counts as a delivery, and who still awaits an object."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from staging import coverage
from staging.aliases import in_state
from staging.models import Alias, Bucket
from staging.models.fields import behind
from staging.states import AliasMode, AliasState

#: A use is noted anew only after this part of the idle limit.
_IDLE_PART = 20


def note(alias: Alias) -> None:
    """Note that a request was let in: it may begin the alias's lifetime, and keeps an idle limit away.

    Aliases without either cost nothing here.
    """
    now = timezone.now()
    changes: dict[str, datetime] = {}
    if alias.lifetime_s is not None and alias.first_used_at is None:
        changes |= {"first_used_at": now, "expires_at": now + timedelta(seconds=alias.lifetime_s)}
    if alias.idle_s is not None:
        until = now + timedelta(seconds=alias.idle_s)
        if alias.idle_until is None or until - alias.idle_until > timedelta(seconds=alias.idle_s / _IDLE_PART):
            changes |= {"idle_until": until, "last_used_at": now}
    if not changes:
        return
    mine = Alias.objects.filter(pk=alias.pk)
    if "first_used_at" in changes and not mine.filter(first_used_at=None).update(**changes):
        return
    if "first_used_at" not in changes:
        mine.update(**changes)


def count_delivery(alias: Alias) -> None:
    """Count one whole delivery of an alias that may be used a limited number of times."""
    Alias.objects.filter(pk=alias.pk).update(uses=F("uses") + 1, last_used_at=timezone.now(), delivered=[])


def count_part(alias: Alias, version: str, start: int, stop: int, size: int) -> None:
    """Note that ``[start, stop)`` of a version of ``size`` bytes was brought; all bytes together are one delivery.

    So a download in segments is one use, one that was resumed is one, and one that never came to its end is none.
    """
    with transaction.atomic():
        current = Alias.objects.select_for_update().get(pk=alias.pk)
        known = current.delivered if current.delivered_version == version else []
        ranges = coverage.join(known, start, stop)
        if coverage.is_whole(ranges, size):
            count_delivery(current)
        else:
            Alias.objects.filter(pk=alias.pk).update(delivered=ranges, delivered_version=version)


def is_awaited(bucket: Bucket, key: str) -> bool:
    """Whether some live write alias may still produce the object."""
    live = Alias.objects.filter(in_state(AliasState.LIVE), bucket=bucket)
    return (
        live.filter(key=key, mode=AliasMode.WRITE).exists()
        or live.filter(key__in=_folders(key), mode=AliasMode.WRITE_PREFIX).exists()
    )


def is_awaited_below(bucket: Bucket, prefix: str) -> bool:
    """Whether some live write alias, whose producer has not given up, may still produce an object below the prefix."""
    live = Alias.objects.filter(in_state(AliasState.LIVE), bucket=bucket, failed_at=None)
    inside = live.filter(mode__in=[AliasMode.WRITE, AliasMode.WRITE_PREFIX], key__gte=prefix, key__lt=behind(prefix))
    return inside.exists() or live.filter(key__in=_folders(prefix), mode=AliasMode.WRITE_PREFIX).exists()


def _folders(key: str) -> list[str]:
    """The prefixes in which the key lies, the bucket's own first."""
    return ["", *(key[: place + 1] for place, character in enumerate(key) if character == "/")]
