"""Arrivals: wakes those who wait for an object as soon as an event tells that something became of it.

Who waits is woken by topic. A topic stands for the subject of an event in a project: an object, or a folder of them
where the event is a prefix alias's. This process is told directly once the transaction has ended; how the others
learn of it is the business of ``listening.py``.
"""

import hashlib
import re
import threading
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import structlog
from django.db import Error, connection, transaction

from staging import listening
from staging.models import Event

log = structlog.get_logger(__name__)

#: What those who wait have to look again for.
WAKING = frozenset(
    {"object.created", "object.replaced", "object.renamed", "object.restored", "alias.failed", "alias.revoked"}
)
#: The mode stands before an alias's bucket and key; neither it nor a bucket's name has a space or a slash.
_SUBJECT = re.compile(r"(?:[a-z-]+ )?([^/ ]+/.*)", re.DOTALL)
#: So many topics are cheaper told as one: everybody looks.
_MANY = 1000


class Sleeper(Protocol):
    """Whoever waits; ``wake`` must be quick and must not raise."""

    def wake(self) -> None:
        """Something happened: look again."""


def topic(project_id: int, subject: str) -> str:
    """Of the object or folder ``bucket/key``; short, whatever the key."""
    return hashlib.sha256(f"{project_id}:{subject}".encode()).hexdigest()[:32]


def topics_of(project_id: int, bucket: str, key: str) -> list[str]:
    """All that may tell of the object: its own topic and those of the folders that it lies in."""
    parts = key.split("/")
    folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    subjects = [f"{bucket}/", *(f"{bucket}/{folder}/" for folder in folders), f"{bucket}/{key}"]
    return [topic(project_id, subject) for subject in subjects]


def topics_in(events: Iterable[Event]) -> list[str]:
    """The topics of events, as far as anybody may wait for them."""
    found = ((event.project_id, _SUBJECT.fullmatch(event.subject)) for event in events if event.kind in WAKING)
    return list(dict.fromkeys(topic(project_id, match[1]) for project_id, match in found if match))


class Hub:
    """Who waits in this process, by topic. It listens for what other processes tell while there is anybody."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sleepers: dict[str, set[Sleeper]] = {}
        self._source: listening.Source | None = None
        self._told: deque[int] = deque(maxlen=_MANY)

    def join(self, sleeper: Sleeper, topics: Iterable[str]) -> None:
        """Wake it from now on. What happened before is not told, so look once after this."""
        with self._lock:
            for name in topics:
                self._sleepers.setdefault(name, set()).add(sleeper)
            if self._source is None or not self._source.keep():
                self._source = listening.start(self)

    def leave(self, sleeper: Sleeper, topics: Iterable[str]) -> None:
        """Wake it no more."""
        with self._lock:
            for name in topics:
                self._sleepers[name].discard(sleeper)
                if not self._sleepers[name]:
                    del self._sleepers[name]

    def is_awaited(self) -> bool:
        """Whether anybody waits here."""
        return bool(self._sleepers)

    def wake(self, topics: Iterable[str]) -> None:
        """Wake those who wait for any of the topics."""
        with self._lock:
            found = {sleeper for name in topics for sleeper in self._sleepers.get(name, ())}
        for sleeper in found:
            sleeper.wake()

    def wake_all(self) -> None:
        """Wake everybody, because something may have been missed."""
        with self._lock:
            found = set().union(*self._sleepers.values())
        for sleeper in found:
            sleeper.wake()

    def tell(self, topics: Iterable[str], events: Iterable[int]) -> None:
        """Wake those whom events of this process concern; by their ids they are known when they are heard again."""
        self._told.extend(events)
        self.wake(topics)

    def hear(self, events: Iterable[Event]) -> None:
        """Wake those whom events concern that somebody committed."""
        told = set(self._told)
        self.wake(topics_in(event for event in events if event.pk not in told))

    def close(self) -> None:
        """Stop listening, until somebody waits again. Returns once the connection is closed."""
        with self._lock:
            source, self._source = self._source, None
        if source is not None:
            source.stop()


HUB = Hub()


def announce(events: Iterable[Event]) -> None:
    """Tell all who wait, here and in the other processes, of events that the running transaction writes.

    It happens after the commit. A message that is lost costs those who wait their time, never the truth: they look
    once more at the end.
    """
    waking = [event for event in events if event.kind in WAKING]
    if waking:
        topics, ids = topics_in(waking), [event.pk for event in waking]
        transaction.on_commit(lambda: _tell(topics, ids))


def _tell(topics: list[str], ids: list[int]) -> None:
    HUB.tell(topics, ids)
    if connection.vendor != "postgresql":
        return
    told = [listening.message(name) for name in (topics if len(topics) <= _MANY else [listening.EVERYBODY])]
    try:
        with connection.cursor() as cursor:
            # In a transaction of its own: a commit with a notification takes a lock of the whole server.
            cursor.execute(
                "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload", [listening.CHANNEL, told]
            )
    except Error as exc:
        log.warning("arrivals.not_told", error=type(exc).__name__)
        connection.close()
