"""Nodes: how they register and are heard of, and what becomes of their storages when they fall silent or come back.

A storage of a node that is SUSPECT is read last and takes nothing new; one of a LOST node is not read at all. Each
remembers the state that it returns to.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, F, Value, When
from django.utils import timezone

from staging import chores, events, replicas, replication
from staging.errors import InvalidRequest
from staging.models import Node, Project, Storage, Transfer
from staging.states import NodeState, StorageState, TransferState

log = structlog.get_logger(__name__)

Secrets = Mapping[str, str]

#: So far apart at most do the processes of one gateway hear that it stops.
_TOLD_AT_ONCE = timedelta(seconds=5)
#: Whatever becomes of the node: what is empty, and what was given up before.
_STAYS = (StorageState.DRAINED, StorageState.LOST)
#: Storages of this tier are empty once their machine was started anew.
MEMORY_TIER = 0


def beat(started_at: datetime) -> bool:
    """Say that this gateway's node is there, as a process that began at ``started_at`` may; registers it first.

    False where another gateway speaks for a node of this name, or this process was told to stop.
    """
    now = timezone.now()
    mine = Node.objects.filter(name=settings.NODE_NAME, url=settings.NODE_URL, boot_id=_boot_id())
    if mine.filter(state=NodeState.ACTIVE, leaving_at=None).update(seen_at=now):
        return True
    return _register(started_at, now)


def leave() -> None:
    """Say that this node stops, so that nobody has to find out by its silence."""
    with transaction.atomic():
        node = Node.objects.select_for_update().filter(name=settings.NODE_NAME, url=settings.NODE_URL).first()
        if node is None or node.leaving_at is not None:
            return
        Node.objects.filter(pk=node.pk).update(leaving_at=timezone.now())
        if node.state == NodeState.ACTIVE:
            _change(node, NodeState.SUSPECT, "node.leaving")


def judge() -> None:
    """Suspect the nodes that were silent for long, and give up those that were for longer.

    Only a node that was suspect all the while is given up: where the catalog itself was away, nobody was heard.
    """
    now = timezone.now()
    for node in Node.objects.exclude(state=NodeState.LOST):
        with chores.apart("nodes.judge", node):
            _judge_by_silence(node, now)


def is_elsewhere(storage: Storage) -> bool:
    """Whether the storage's bytes are on another node, so that this process reaches them through its gateway."""
    return storage.node is not None and storage.node.name != settings.NODE_NAME


def url_of(storage: Storage) -> str | None:
    """The internal URL of the node that has the storage's bytes; None where this process reaches them by itself."""
    return storage.node.url if storage.node is not None and is_elsewhere(storage) else None


def named(name: str) -> Node:
    """The node. Raises InvalidRequest."""
    node = Node.objects.filter(name=name).first()
    if node is None:
        raise InvalidRequest(f"There is no node {name}.", fields={"node": "no gateway has registered it"})
    return node


def seen_from_here(storage: Storage, secrets: Secrets) -> tuple[str, str, Mapping[str, Any], Secrets]:
    """Scheme, name, options and secrets of its adapter in this process: its own, or what asks its node's gateway."""
    node = storage.node
    if node is None or not is_elsewhere(storage):
        return storage.scheme, storage.name, storage.options, secrets
    options = {"url": node.url, "node": node.name, "number": storage.pk}
    return "peer", storage.name, options, {"secret": settings.PEER_SECRETS[0]}


def give(storage: Storage, node: Node | None) -> None:
    """Have the storage be one of the node from now on. Raises InvalidRequest where one of its nodes is not at work."""
    for one in (node, storage.node):
        if one is not None and one.standing != NodeState.ACTIVE:
            raise InvalidRequest(f"The node {one} is {one.standing}.", fields={"node": f"it is {one.standing}"})
    Storage.objects.filter(pk=storage.pk).update(node=node, revision=F("revision") + 1)
    storage.refresh_from_db()


def _has_left(node: Node, started_at: datetime, now: datetime) -> bool:
    """Whether a process that began then was told to stop with its node.

    All processes of a gateway are told so at once. One that goes on was not: another process of it has made way for it.
    """
    return node.leaving_at is not None and max(started_at, now - _TOLD_AT_ONCE) <= node.leaving_at


def _register(started_at: datetime, now: datetime) -> bool:
    with transaction.atomic():
        node, made = Node.objects.select_for_update().get_or_create(
            name=settings.NODE_NAME,
            defaults={
                "url": settings.NODE_URL,
                "boot_id": _boot_id(),
                "started_at": started_at,
                "seen_at": now,
                "changed_at": now,
            },
        )
        if made:
            log.info("node.registered", node=node.name)
            return True
        if _has_left(node, started_at, now):
            return False
        moved = node.url != settings.NODE_URL
        if moved and node.leaving_at is None and now - node.seen_at < timedelta(seconds=settings.NODE_SUSPECT_S):
            log.error("node.name_taken", node=node.name, by=node.url)
            return False
        was_off = node.boot_id != _boot_id()
        Node.objects.filter(pk=node.pk).update(
            url=settings.NODE_URL, boot_id=_boot_id(), started_at=started_at, seen_at=now, leaving_at=None
        )
        if moved:
            node.storages.update(revision=F("revision") + 1)
        if was_off:
            replicas.doubt_all(node.storages.filter(tier=MEMORY_TIER))
        if node.state != NodeState.ACTIVE:
            _change(node, NodeState.ACTIVE, "node.back")
    return True


def _judge_by_silence(node: Node, now: datetime) -> None:
    silent = now - node.seen_at
    if node.state == NodeState.ACTIVE and silent > timedelta(seconds=settings.NODE_SUSPECT_S):
        _judge(node, NodeState.SUSPECT, "node.suspect")
    was_suspect_for = now - node.changed_at if node.state == NodeState.SUSPECT else timedelta()
    patience = timedelta(seconds=settings.NODE_LOST_S - settings.NODE_SUSPECT_S)
    if silent > timedelta(seconds=settings.NODE_LOST_S) and was_suspect_for > patience:
        _judge(node, NodeState.LOST, "node.lost")


def _judge(node: Node, state: NodeState, kind: str) -> None:
    with transaction.atomic():
        silent = Node.objects.select_for_update().filter(pk=node.pk, state=node.state, seen_at=node.seen_at)
        if silent.exists():
            _change(node, state, kind)


def _change(node: Node, state: NodeState, kind: str) -> None:
    """In the transaction that has the node's row locked."""
    Node.objects.filter(pk=node.pk).update(state=state, changed_at=timezone.now())
    here = Storage.objects.filter(node=node)
    if state == NodeState.SUSPECT:
        here.filter(state=StorageState.ACTIVE).update(state=StorageState.SUSPECT, returns_to=StorageState.ACTIVE)
    elif state == NodeState.LOST:
        known = Case(When(returns_to="", then=F("state")), default=F("returns_to"))
        here.exclude(state__in=_STAYS).update(state=StorageState.LOST, returns_to=known)
    else:
        here.exclude(returns_to="").update(state=F("returns_to"), returns_to=Value(""))
        _revive(node)
    log.warning(kind, node=node.name)
    for project in Project.objects.filter(storages__node=node).distinct():
        names = list(here.filter(project=project).values_list("name", flat=True))
        events.record(project, kind, node.name, storages=names)


def _revive(node: Node) -> None:
    """What was given up because the node was away is tried again, unless another does it already."""
    for transfer in Transfer.objects.filter(
        target__node=node, state=TransferState.FAILED, finished_at__gte=node.seen_at
    ).iterator():
        with suppress(IntegrityError), transaction.atomic():
            replication.revive(transfer)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
