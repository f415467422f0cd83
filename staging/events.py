"""Events: one row in the outbox, in the transaction of its cause."""

from django.db import connection

from staging.models import Event, Project


def record(project: Project | int, kind: str, subject: str, **facts: object) -> None:
    """Write an event; only inside the transaction that makes it true."""
    if not connection.in_atomic_block:
        raise RuntimeError(f"the event {kind} must be written in the transaction of its cause")
    project_id = project if isinstance(project, int) else project.pk
    Event.objects.create(project_id=project_id, kind=kind, subject=subject, facts=facts)
