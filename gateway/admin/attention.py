"""What somebody should look at: the dashboard's first lines, each with the page that tells more."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from staging import chores
from staging.models import Checkpoint, CopyJob, Node, Project, Storage
from staging.states import CheckpointState, CopyState, NodeState, StorageState

#: So many lines of a kind.
_NAMED = 5
#: Nobody can put a copy that failed out of the way; it is told of for so long.
_LATELY = timedelta(days=1)
#: Parts of chores come again within minutes, all objects in some hours.
_JUST_NOW = timedelta(hours=1)

Line = dict[str, str]


def lines(request: HttpRequest, mine: QuerySet[Project], stores: Iterable[Storage]) -> list[Line]:
    """Of the person's projects, and for superusers of the installation's nodes; the worst first."""
    nodes = Node.objects.exclude(state=NodeState.ACTIVE).order_by("state", "name") if request.user.is_superuser else []
    found = [_line(f"The node {node} is {node.state}.", "node", node.pk) for node in nodes[:_NAMED]]
    if request.user.is_superuser:
        found += [_failed(*row) for row in chores.failures(timezone.now() - _JUST_NOW)[:_NAMED]]
    found += [_line(why, "storage", storage.pk) for storage in stores for why in _of_storage(storage)]
    failed = Checkpoint.objects.filter(project__in=mine, state=CheckpointState.FAILED, released_at=None)
    found += [_line(f"The checkpoint {row} failed.", "checkpoint", row.pk) for row in failed[:_NAMED]]
    lately = timezone.now() - _LATELY
    copies = CopyJob.objects.filter(project__in=mine, state=CopyState.FAILED, finished_at__gte=lately)
    copies = copies.select_related("source_bucket", "target_bucket")
    return found + [_line(f"The copy of {row} failed.", "copyjob", row.pk) for row in copies[:_NAMED]]


def _of_storage(storage: Storage) -> Iterator[str]:
    if storage.failing_since:
        yield f"The storage {storage} fails and is left alone for a while."
    elif storage.state == StorageState.LOST and storage.node_id is None:
        yield f"The storage {storage} is lost."
    if storage.tested_at and not storage.test_passed:
        yield f"The last test of the storage {storage} failed."
    if storage.state == StorageState.DRAINING and storage.drain_is_late:
        yield f"The drain of the storage {storage} is late."


def _failed(part: str, when: datetime, what: str) -> Line:
    """No page tells more of it; the log of the worker does."""
    told = f"{part} failed unexpectedly at {when:%H:%M:%S} UTC: {what}. The log has chore.failed with the traceback."
    return {"words": told, "url": ""}


def _line(told: str, model: str, pk: object) -> Line:
    return {"words": told, "url": reverse(f"admin:staging_{model}_change", args=[pk])}
