"""The tally of a storage: whether the bytes that it counts as used and reserved are those of its rows."""

from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import F, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from staging.errors import NoSpace
from staging.models import CachedBlock, Replica, Storage, Upload
from staging.states import BlockState, ReplicaState


@dataclass(frozen=True, slots=True)
class Drift:
    """How many bytes more are counted than rows stand for; negative where there are fewer."""

    used: int
    reserved: int

    def __bool__(self) -> bool:
        return bool(self.used or self.reserved)


def drift(storage: Storage) -> Drift:
    """How far the counts are off. Exact while others write: it is one statement, and rows change with their counts."""
    copies = Replica.objects.filter(storage=OuterRef("pk"), shares=False).order_by()
    uploads = Upload.objects.filter(storage=OuterRef("pk")).order_by()
    blocks = CachedBlock.objects.filter(storage=OuterRef("pk")).order_by()
    row = (
        Storage.objects.filter(pk=storage.pk)
        .annotate(
            here=_sum(copies.exclude(state=ReplicaState.COPYING), "size")
            + _sum(blocks.exclude(state=BlockState.FILLING), "size"),
            coming=_sum(copies.filter(state=ReplicaState.COPYING), "size")
            + _sum(blocks.filter(state=BlockState.FILLING), "size")
            + _sum(uploads, "reserved_bytes"),
        )
        .values("used_bytes", "reserved_bytes", "here", "coming")
        .get()
    )
    return Drift(row["used_bytes"] - row["here"], row["reserved_bytes"] - row["coming"])


def correct(storage: Storage) -> Drift:
    """Put the counts right; returns how far they were off.

    The storage's row is locked for it, and whoever changes a count locks that too: what is summed up then is all that
    is committed, and what is subtracted stays right for all that comes after. Raises NoSpace where the storage holds
    more than its capacity says.
    """
    try:
        with transaction.atomic():
            Storage.objects.select_for_update(no_key=True).get(pk=storage.pk)
            found = drift(storage)
            if found:
                Storage.objects.filter(pk=storage.pk).update(
                    used_bytes=F("used_bytes") - found.used, reserved_bytes=F("reserved_bytes") - found.reserved
                )
    except IntegrityError as exc:
        raise NoSpace(f"More lies on the storage {storage} than its capacity: raise that first.") from exc
    return found


def _sum(rows: QuerySet[Replica] | QuerySet[Upload] | QuerySet[CachedBlock], column: str) -> Coalesce:
    total = rows.values("storage").annotate(total=Sum(column)).values("total")
    return Coalesce(Subquery(total), Value(0))
