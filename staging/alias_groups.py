"""Aliases by group: found by what they have in common, and extended or revoked together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.fields.json import KeyTransform
from django.utils import timezone

from staging import aliases, events
from staging.alias_terms import MAX_LABELS
from staging.errors import InvalidRequest
from staging.models import Alias, Project
from staging.models.fields import behind
from staging.states import AliasState

#: How many aliases one statement names; databases bound the number of parameters.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """What the aliases of a group have in common; what is left out does not matter.

    ``prefix`` is the beginning of the key, ``live`` whether the alias can be used now, ``created_by`` the public id of
    an API key. Every one of ``labels`` must be there.
    """

    mode: str = ""
    bucket: str = ""
    key: str = ""
    prefix: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    live: bool | None = None
    created_by: str = ""


def select(project: Project, selection: Selection) -> QuerySet[Alias]:
    """The project's aliases of the group, with their buckets and creators.

    Raises InvalidRequest for more labels than an alias can have.
    """
    if len(selection.labels) > MAX_LABELS:
        raise InvalidRequest("No alias has so many labels.", fields={"labels": f"at most {MAX_LABELS}"})
    found = Alias.objects.filter(project=project).select_related("bucket", "created_by", "checkpoint")
    equal = {
        "mode": selection.mode,
        "bucket__name": selection.bucket,
        "key": selection.key,
        "created_by__public_id": selection.created_by,
    }
    found = found.filter(**{column: value for column, value in equal.items() if value})
    if selection.prefix:
        found = found.filter(key__gte=selection.prefix, key__lt=behind(selection.prefix))
    for place, (name, value) in enumerate(selection.labels.items()):
        found = found.annotate(**{f"label_{place}": KeyTransform(name, "labels")}).filter(**{f"label_{place}": value})
    if selection.live is not None:
        ended = [aliases.in_state(state) for state in AliasState if state != AliasState.LIVE]
        found = found.filter(aliases.in_state(AliasState.LIVE) if selection.live else reduce(or_, ended))
    return found


def revoke_all(project: Project, selection: Selection) -> int:
    """Revoke what is left to revoke of the group; returns how many that were. Raises InvalidRequest without a group."""
    return _change(project, selection, "alias.revoked", revoked_at=timezone.now())


def extend_all(project: Project, selection: Selection, lifetime_s: int) -> int:
    """Let what is not revoked of the group live ``lifetime_s`` from now; returns how many that were."""
    return _change(project, selection, "alias.extended", **aliases.lease(aliases.expiry(lifetime_s)))


def _change(project: Project, selection: Selection, kind: str, **values: datetime | None) -> int:
    if selection == Selection():
        raise InvalidRequest("Say which aliases: give at least one of bucket, key, prefix, labels, mode, created_by.")
    with transaction.atomic():
        group = list(select(project, selection).filter(revoked_at=None).order_by("pk").select_for_update(of=("self",)))
        for start in range(0, len(group), _BATCH):
            batch = [alias.pk for alias in group[start : start + _BATCH]]
            Alias.objects.filter(pk__in=batch).update(**values)
        events.record_aliases(kind, group)
    return len(group)
