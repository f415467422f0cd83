"""Listening: one thread a process that learns what other processes have committed, while anybody waits for it.

PostgreSQL tells by NOTIFY, on one connection of its own. SQLite is asked every few milliseconds whether anybody has
committed anything, which costs no query; only then the new events are read.
"""

import os
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Protocol

import psycopg
import structlog
from django.db import Error, connection
from django.db.models import Max

from staging.models import Event

log = structlog.get_logger(__name__)

CHANNEL = "waybill_arrivals"
#: By which an operator finds the connection in ``pg_stat_activity``.
APPLICATION_NAME = "waybill-arrivals"
#: Said instead of very many topics.
EVERYBODY = "*"
#: How long a source goes on when nobody waits any more; the next one may come at once.
LINGER_S = 30.0
#: How often SQLite is asked.
POLL_S = 0.01
#: How often PostgreSQL's connection is tried out: one that only listens never learns that it is dead.
_CHECK_S = 5.0
#: How long a listener on PostgreSQL notices nothing else.
_PATIENCE_S = 1.0
_PAUSES_S = (0.1, 0.3, 1.0, 3.0)


_SENDER = uuid.uuid4().hex


def message(topic: str) -> str:
    """What PostgreSQL passes on: a topic, and which process tells of it."""
    return f"{topic} {_sender()}"


def topics_from_others(messages: Iterable[str]) -> list[str]:
    """The topics of messages that this process has not sent itself, and so does not know of yet."""
    parted = [message.partition(" ") for message in messages]
    return [topic for topic, _, sender in parted if sender != _sender()]


def _sender() -> str:
    return f"{_SENDER}.{os.getpid()}"


class Ears(Protocol):
    """Who is told."""

    def is_awaited(self) -> bool:
        """Whether anybody waits."""

    def wake(self, topics: Iterable[str]) -> None:
        """These happened."""

    def wake_all(self) -> None:
        """Anything may have happened."""

    def hear(self, events: Iterable[Event]) -> None:
        """These events were committed by somebody."""


class Source(ABC, threading.Thread):
    """A thread that listens until nobody has waited for ``LINGER_S``, or until it is stopped.

    Whenever it begins to listen, after a failure too, everybody is told to look once more.
    """

    def __init__(self, ears: Ears) -> None:
        super().__init__(name="arrivals", daemon=True)
        self.ears = ears
        self._lock = threading.Lock()
        self._needed_at = time.monotonic()
        self._stopping = threading.Event()
        self._ended = False

    def keep(self) -> bool:
        """Go on for as long as somebody waits; False where it is too late for that."""
        with self._lock:
            self._needed_at = time.monotonic()
            return not self._ended and self.is_alive()

    def stop(self) -> None:
        """End it, and wait for that."""
        self._stopping.set()
        self.join(timeout=_CHECK_S)

    def run(self) -> None:
        failures = 0
        while self.is_wanted():
            try:
                for _ in self.listen():
                    failures = 0
                    if not self.is_wanted():
                        break
            except (Error, psycopg.Error, OSError) as exc:
                log.warning("arrivals.deaf", error=type(exc).__name__)
                self._stopping.wait(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1
            finally:
                connection.close()

    def is_wanted(self) -> bool:
        """Whether to go on. Once it says no the thread ends."""
        with self._lock:
            now = time.monotonic()
            if self.ears.is_awaited():
                self._needed_at = now
            self._ended = self._ended or self._stopping.is_set() or now - self._needed_at > LINGER_S
            return not self._ended

    @abstractmethod
    def listen(self) -> Iterator[None]:
        """Listen and tell ``ears``; yields about once a second or more often."""


class _Postgres(Source):
    def listen(self) -> Iterator[None]:
        parameters = connection.get_connection_params()
        parameters |= {"application_name": APPLICATION_NAME, "connect_timeout": 5}
        parameters |= {"keepalives_idle": 10, "tcp_user_timeout": 10_000}
        with psycopg.connect(**parameters, autocommit=True) as listener:
            listener.execute(f"LISTEN {CHANNEL}")
            self.ears.wake_all()
            checked_at = time.monotonic()
            while True:
                told = topics_from_others(m.payload for m in listener.notifies(timeout=_PATIENCE_S, stop_after=1))
                if EVERYBODY in told:
                    self.ears.wake_all()
                elif told:
                    self.ears.wake(told)
                if time.monotonic() - checked_at > _CHECK_S:
                    listener.execute("SELECT 1")
                    checked_at = time.monotonic()
                yield


class _Sqlite(Source):
    def listen(self) -> Iterator[None]:
        seen = self._version()
        last = Event.objects.aggregate(last=Max("pk"))["last"] or 0
        self.ears.wake_all()
        while not self._stopping.wait(POLL_S):
            if (version := self._version()) != seen:
                seen = version
                events = list(Event.objects.filter(pk__gt=last).order_by("pk").defer("facts"))
                if events:
                    last = events[-1].pk
                    self.ears.hear(events)
            yield

    def _version(self) -> int:
        """Another number as soon as any other connection has committed (https://sqlite.org/pragma.html)."""
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA data_version")
            (version,) = cursor.fetchone()
        return int(version)


def start(ears: Ears) -> Source:
    """Begin to listen on the database that there is; returns at once."""
    source: Source = _Postgres(ears) if connection.vendor == "postgresql" else _Sqlite(ears)
    source.start()
    return source
