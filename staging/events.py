"""Events: rows in the outbox, in the transaction of their cause."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from django.db import connection

from staging import arrivals
from staging.models import Alias, Bucket, Event, Object, Project

if TYPE_CHECKING:
    from staging.versions import Moved


def record(project: Project | int, kind: str, subject: str, **facts: object) -> None:
    """Write an event; only inside the transaction that makes it true."""
    project_id = project if isinstance(project, int) else project.pk
    _write([Event(project_id=project_id, kind=kind, subject=subject, facts=facts)])


def record_aliases(kind: str, aliases: Iterable[Alias]) -> None:
    """Write the same event of each alias in one go; their buckets should come with them."""
    _write([Event(project_id=a.project_id, kind=kind, subject=str(a), facts={"alias": str(a.pk)}) for a in aliases])


def record_objects(kinds: Mapping[str, str], bucket: Bucket, made: Iterable[Object]) -> None:
    """Write what happened to each object in one go: the kind that is given for its key, else that it was created."""
    _write(
        [
            Event(
                project_id=bucket.project_id,
                kind=kinds.get(o.key, "object.created"),
                subject=f"{bucket}/{o.key}",
                facts={"object": str(o.id), "version": o.version, "size": o.size, "sha256": o.sha256},
            )
            for o in made
        ]
    )


def record_deleted(bucket: Bucket, gone: Iterable[Object]) -> None:
    """Write of each object in one go that it was deleted."""
    _write(
        [
            Event(
                project_id=bucket.project_id,
                kind="object.deleted",
                subject=f"{bucket}/{one.key}",
                facts={"object": str(one.pk)},
            )
            for one in gone
        ]
    )


def record_renamed(bucket: Bucket, moves: Iterable["Moved"]) -> None:
    """Write of each object what it was called and what it is called now."""
    _write(
        [
            Event(
                project_id=bucket.project_id,
                kind="object.renamed",
                subject=f"{bucket}/{move.key}",
                facts={"object": str(move.object.pk), "from": move.object.key, "version": move.version},
            )
            for move in moves
        ]
    )


def record_restored(target: Object, left: str) -> None:
    """Write of a version that it is current again, and what its key was until now where that was another."""
    facts = {"object": str(target.pk), "version": target.version, "size": target.size, "sha256": target.sha256}
    moved = {} if left == target.key else {"from": left}
    record(target.bucket.project_id, "object.restored", f"{target.bucket}/{target.key}", **facts, **moved)


def _write(events: list[Event]) -> None:
    if not connection.in_atomic_block:
        raise RuntimeError("an event must be written in the transaction of its cause")
    Event.objects.bulk_create(events)
    arrivals.announce(events)
