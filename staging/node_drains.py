"""Drains of nodes: all storages of one are emptied, each to a storage that is not on it."""

from django.db import transaction
from django.db.models import BigIntegerField, F, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from adapters import registry
from staging import drains, events
from staging.errors import InvalidRequest
from staging.models import Node, Project, Storage
from staging.states import NodeState, StorageState

_NO_LIMIT = 2**62


def start(node: Node, project: Project | None, *, to: Storage | None = None, deadline_s: int | None = None) -> None:
    """Take no new bytes on the node and move what lies there ``to`` a storage, or to the one of the highest tier that
    has most room. All storages of the node begin, or none: of the project, or whosesoever where that is None.

    Raises InvalidRequest.
    """
    storages = _all_of(node, project)
    if node.state != NodeState.ACTIVE:
        raise InvalidRequest(f"The node {node} is {node.state} and cannot be drained.")
    leaving = (*drains.LEAVING, StorageState.LOST)
    with transaction.atomic():
        Node.objects.filter(pk=node.pk).update(draining_since=timezone.now())
        _tell(node, project, "node.draining")
        for storage in storages.exclude(state__in=leaving):
            drains.start(storage, to or _place(storage, node), deadline_s=deadline_s)
    node.refresh_from_db()


def cancel(node: Node, project: Project | None) -> None:
    """Stop moving bytes away, and take new ones again. Raises InvalidRequest."""
    storages = _all_of(node, project)
    if node.draining_since is None:
        raise InvalidRequest(f"The node {node} is {node.standing}; there is no drain to cancel.")
    with transaction.atomic():
        Node.objects.filter(pk=node.pk).update(draining_since=None)
        _tell(node, project, "node.active")
        for storage in storages.filter(state__in=drains.LEAVING):
            drains.cancel(storage)
    node.refresh_from_db()


def _tell(node: Node, project: Project | None, kind: str) -> None:
    for one in [project] if project else Project.objects.filter(storages__node=node).distinct():
        events.record(one, kind, node.name)


def _all_of(node: Node, project: Project | None) -> QuerySet[Storage]:
    """The node's storages. It is everybody's who has some there: who drains it must be allowed to drain them all. One
    that has none is the installation's.
    """
    if project is None:
        return node.storages.all()
    if not node.storages.filter(project=project).exists():
        raise InvalidRequest(f"The project has no storage on the node {node}.")
    if node.storages.exclude(project=project).exists():
        raise InvalidRequest(f"Storages of other projects are on the node {node}; drain your own one by one.")
    return node.storages.filter(project=project)  # Others may register theirs at this moment.


def _place(storage: Storage, node: Node) -> Storage:
    written = {scheme for scheme in registry.schemes() if not registry.is_read_only(scheme)}
    fit = Storage.objects.filter(project=storage.project_id, state=StorageState.ACTIVE, scheme__in=written)
    free = Coalesce(
        F("capacity_bytes") - F("used_bytes") - F("reserved_bytes"), Value(_NO_LIMIT), output_field=BigIntegerField()
    )
    found = list(fit.exclude(node=node).annotate(free=free).order_by("-tier", "-free", "name"))
    if not found:
        raise InvalidRequest(
            f"There is nowhere to move what lies on {storage}.", fields={"to": "no active storage is off the node"}
        )
    return next((one for one in found if not drains.hindrance(storage, one)), found[0])
