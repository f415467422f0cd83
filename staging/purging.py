"""Purging: rows that are only history go, a bounded number at a time."""

from django.db.models import Model, QuerySet

#: So many at once, so that no run holds a lock for long; the next run goes on.
MOST_AT_ONCE = 1000


def purge(rows: QuerySet[Model]) -> int:
    """Delete some of the rows and what goes with them; returns how many rows that were in all."""
    chosen = list(rows.order_by().values_list("pk", flat=True)[:MOST_AT_ONCE])
    deleted, _ = rows.filter(pk__in=chosen).delete()
    return deleted
