"""Waiting in one process: no wake-up is lost, and those who wait for one object share each look."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partialmethod
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from adapters.errors import Offline
from adapters.local import LocalAdapter
from staging import aliases, arrivals, events, listening, reading, waiting
from staging.arrivals import HUB, topic, topics_in, topics_of
from staging.errors import DataPending, SourceMissing
from staging.models import Alias, Event
from staging.reading import Found
from staging.states import AliasMode
from staging.waiting import Seat
from tests.place import Place
from tests.servers.process import wait_until
from tests.staging.bodies import KEY, put

DATA = b"what was waited for"


@pytest.fixture(autouse=True)
def nobody_listens_before_or_afterwards(transactional_db: None) -> Iterator[None]:
    HUB.close()
    yield
    HUB.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as threads:
        yield threads


def wait(alias: Alias, wait_s: float = 20) -> Found:
    try:
        with Seat(alias, alias.key, wait_s, lambda: reading.find(alias)) as seat:
            return seat.wait()
    finally:
        connections.close_all()


def wait_for_seats(count: int) -> None:
    """Return once so many sit at tables that have had a look."""
    wait_until(lambda: seats() == count, what=f"{count} wait")


def seats() -> int:
    return sum(len(table.seats) for table in waiting._TABLES.values() if table._last is not None)


class Finder:
    """``reading.find`` with its calls counted, and something done within the first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.within_first = 0, lambda: None
        self._real = reading.find
        monkeypatch.setattr(reading, "find", self._find)

    def _find(self, alias: Alias) -> Found:
        self.calls += 1
        try:
            return self._real(alias)
        finally:
            if self.calls == 1:
                self.within_first()


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Finder:
    return Finder(monkeypatch)


def test_a_publish_between_the_look_and_the_wait_is_not_lost(place: Place, finder: Finder) -> None:
    finder.within_first = lambda: put(place, DATA)
    alias, began = place.alias(KEY), time.monotonic()
    assert wait(alias).size == len(DATA)
    assert time.monotonic() - began < 10  # and not by the last look at the end


def unheard(monkeypatch: pytest.MonkeyPatch, publish: Callable[[], object]) -> None:
    """Publish as another process would whose message is lost."""
    with monkeypatch.context() as patched:
        patched.setattr(arrivals, "announce", lambda events: None)
        publish()


def test_a_publish_before_the_process_listens_is_not_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    may_listen = threading.Event()

    def listen_later(source: listening.Source, listen: Callable[[Any], Iterator[None]]) -> Iterator[None]:
        may_listen.wait(20)
        yield from listen(source)

    for kind in (listening._Postgres, listening._Sqlite):
        monkeypatch.setattr(kind, "listen", partialmethod(listen_later, kind.listen))
    waiter = pool.submit(wait, place.alias(KEY))
    wait_for_seats(1)
    unheard(monkeypatch, lambda: put(place, DATA))
    may_listen.set()
    assert waiter.result(10).size == len(DATA)


def test_a_lost_message_is_made_up_for_by_a_last_look(
    place: Place, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    class Silent:
        def keep(self) -> bool:
            return True

        def stop(self) -> None:
            pass

    monkeypatch.setattr(listening, "start", lambda ears: Silent())
    waiter = pool.submit(wait, place.alias(KEY), 2)
    wait_for_seats(1)
    unheard(monkeypatch, lambda: put(place, DATA))
    assert waiter.result(10).size == len(DATA)


def test_those_who_wait_for_one_object_share_each_look(place: Place, finder: Finder, pool: ThreadPoolExecutor) -> None:
    waiters = [pool.submit(wait, place.alias(KEY)) for _ in range(20)]
    wait_for_seats(20)
    before = finder.calls
    put(place, DATA)
    assert {waiter.result(10).size for waiter in waiters} == {len(DATA)}
    assert finder.calls - before <= 3


def test_a_file_of_a_mounted_bucket_is_looked_for_once_for_all_who_wait(
    place: Place, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    looks: list[str] = []
    stat = LocalAdapter.stat
    monkeypatch.setattr(LocalAdapter, "stat", lambda self, key: (looks.append(key), stat(self, key))[1])
    monkeypatch.setattr(waiting, "RELOOK_S", 0.2)
    place.alias(KEY, AliasMode.WRITE, mounted=True)
    waiters = [pool.submit(wait, place.alias(KEY, mounted=True), 2) for _ in range(20)]
    for waiter in waiters:
        assert isinstance(waiter.exception(10), DataPending)
    assert 20 + 20 >= len(looks) >= 5  # one at most for each arrival, ten for all in two seconds, and the last


def ending(waiter: "Future[Found]") -> type[BaseException]:
    return type(waiter.exception(10))


def test_a_fault_that_passes_does_not_end_the_wait(
    place: Place, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    monkeypatch.setattr(waiting, "RELOOK_S", 0.1)
    faults: list[Exception] = [OperationalError("gone"), Offline("gone", storage="far")]
    find = reading.find

    def fail_first(alias: Alias) -> Found:
        if faults:
            raise faults.pop()
        return find(alias)

    monkeypatch.setattr(reading, "find", fail_first)
    waiter = pool.submit(wait, place.alias(KEY))
    wait_until(lambda: not faults, what="both faults have happened")
    put(place, DATA)
    assert waiter.result(10).size == len(DATA)


def test_what_will_not_come_ends_the_wait(place: Place, pool: ThreadPoolExecutor) -> None:
    producer = place.alias(KEY, AliasMode.WRITE, mounted=True)
    waiter = pool.submit(wait, place.alias(KEY, mounted=True))
    wait_for_seats(1)
    aliases.revoke(producer)
    assert ending(waiter) is SourceMissing


def test_nothing_is_kept_of_who_has_left(place: Place, pool: ThreadPoolExecutor) -> None:
    waiters = [pool.submit(wait, place.alias(f"a/{n}"), 0.2) for n in range(5)]
    assert {ending(waiter) for waiter in waiters} == {DataPending}
    assert (waiting._TABLES, HUB._sleepers) == ({}, {})


def test_the_process_stops_listening_when_nobody_has_waited_for_a_while(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "LINGER_S", 0.1)
    with pytest.raises(DataPending):
        wait(place.alias(KEY), 0.1)
    wait_until(lambda: "arrivals" not in {thread.name for thread in threading.enumerate()}, what="the thread ends")
    put(place, DATA)
    assert wait(place.alias(KEY)).size == len(DATA)


def topics_told(project: int, kind: str, subject: str) -> list[str]:
    return topics_in([Event(project_id=project, kind=kind, subject=subject)])


def test_an_event_wakes_those_below_its_subject_and_nobody_else() -> None:
    below = topics_of(7, "data", "a/b/c d")
    assert topic(7, "data/a/b/c d") in below
    for subject in ("data/", "data/a/", "data/a/b/"):
        assert topics_told(7, "alias.failed", f"write-prefix {subject}")[0] in below
    for project, kind, subject in (
        (8, "object.created", "data/a/b/c d"),
        (7, "object.deleted", "data/a/b/c d"),
        (7, "object.created", "data/a/b/c"),
        (7, "object.created", "data/a/b/c d/e"),
        (7, "alias.revoked", "read data2/a/b/c d"),
    ):
        assert not set(topics_told(project, kind, subject)) & set(below), subject


def test_what_a_process_has_told_itself_it_does_not_hear_again(place: Place) -> None:
    class Sleeper:
        woken = 0

        def wake(self) -> None:
            self.woken += 1

    with transaction.atomic():
        events.record(place.project, "object.created", "data/own")
    own = Event.objects.latest("pk")
    other = Event(pk=own.pk + 1, project=place.project, kind="object.created", subject="data/own")
    sleeper, topics = Sleeper(), topics_of(place.project.pk, "data", "own")
    hub = arrivals.HUB
    hub.join(sleeper, topics)
    wait_until(lambda: sleeper.woken == 1, what="it is told to look once, as the process listens")
    hub.hear([own])
    assert sleeper.woken == 1
    hub.hear([other])
    assert sleeper.woken == 2
    hub.leave(sleeper, topics)
    assert listening.topics_from_others([listening.message("a"), "b another"]) == ["b"]
