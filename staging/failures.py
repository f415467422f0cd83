"""Failures: a producer that has given up, told by the engine, so that nobody waits for what will not come.

A write alias that is marked stays as it is: an upload through it is taken and undoes the mark. A mark is true of what
it was made for only, so one that is older than the key's last version does not count.
"""

from collections.abc import Iterable, Iterator

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from staging import alias_groups, aliases, events, placement
from staging.alias_groups import Selection
from staging.errors import DataPending, InvalidRequest, ObjectLost, ProducerFailed
from staging.models import Alias, Bucket, Object, Project, Replica
from staging.states import AliasMode, AliasState

MAX_REASON = 255
#: How many aliases one statement names; databases bound the number of parameters.
_BATCH = 500


def check(bucket: Bucket, key: str) -> None:
    """Raises ProducerFailed where one who was to write the object has given up and nobody else is left to write it.

    To be asked where the key has no current version.
    """
    producers = Alias.objects.filter(_writes(key), bucket=bucket)
    failed = producers.filter(failed_at__isnull=False).order_by("-failed_at").first()
    if failed is None or failed.failed_at is None:
        return
    if Object.objects.filter(bucket=bucket, key=key, created_at__gt=failed.failed_at).exists():
        return
    if not producers.filter(aliases.in_state(AliasState.LIVE), failed_at=None).exists():
        reason = f": {failed.failure}" if failed.failure else "."
        raise ProducerFailed(f"The producer failed at {failed.failed_at:%Y-%m-%dT%H:%M:%SZ}{reason}")


def check_lost(version: Object, replicas: Iterable[Replica]) -> None:
    """Raises ObjectLost where every copy of the version is gone for good, DataPending where it is to be made anew.

    That is so where an alias to write it is younger than the version.
    """
    if not placement.is_lost(version.state, replicas):
        return
    again = Alias.objects.filter(_writes(version.key), bucket=version.bucket_id, created_at__gt=version.created_at)
    if version.current and again.filter(aliases.in_state(AliasState.LIVE), failed_at=None).exists():
        raise DataPending("Every copy of the object is gone for good; it is to be made anew.")
    raise ObjectLost


def check_held(version: Object, replicas: Iterable[Replica]) -> None:
    """Raises ObjectLost where every copy of a version that a checkpoint holds is gone for good, whoever uploads."""
    if placement.is_lost(version.state, replicas):
        raise ObjectLost(
            "Every copy of the version that the checkpoint holds is gone for good; no upload brings it back."
        )


def fail(alias: Alias, reason: str) -> bool:
    """Mark the producer behind a write alias as failed. False where it was marked before; the first reason stays.

    Raises InvalidRequest for a read alias and for a reason that is too long.
    """
    if alias.mode not in _WRITING:
        raise InvalidRequest("Nothing is produced through a read alias.", fields={"id": "a write alias"})
    return _mark([alias], reason) == 1


def fail_all(project: Project, selection: Selection, reason: str) -> int:
    """Mark what is not marked yet of the group's write aliases; returns how many that were.

    Raises InvalidRequest without a group and for a reason that is too long.
    """
    if selection == Selection():
        raise InvalidRequest("Say which aliases: give at least one of bucket, key, prefix, labels, mode, created_by.")
    return _mark(list(alias_groups.select(project, selection).filter(mode__in=_WRITING, failed_at=None)), reason)


_WRITING = (AliasMode.WRITE, AliasMode.WRITE_PREFIX)


def _mark(group: list[Alias], reason: str) -> int:
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidRequest(
            "The reason is not valid.", fields={"reason": f"one line of at most {MAX_REASON} characters"}
        )
    now, marked = timezone.now(), []
    with transaction.atomic():
        for start in range(0, len(group), _BATCH):
            batch = Alias.objects.filter(pk__in=[alias.pk for alias in group[start : start + _BATCH]], failed_at=None)
            left = set(batch.select_for_update().values_list("pk", flat=True))
            Alias.objects.filter(pk__in=left).update(failed_at=now, failure=reason)
            marked += [alias for alias in group[start : start + _BATCH] if alias.pk in left]
        events.record_aliases("alias.failed", marked)
    for alias in marked:
        alias.failed_at, alias.failure = now, reason
    return len(marked)


def _writes(key: str) -> Q:
    """The condition that an alias is there to write the key, alone or with others below a prefix."""
    return Q(mode=AliasMode.WRITE, key=key) | Q(mode=AliasMode.WRITE_PREFIX, key__in=list(_folders(key)))


def _folders(key: str) -> Iterator[str]:
    yield ""
    for position, character in enumerate(key):
        if character == "/":
            yield key[: position + 1]
