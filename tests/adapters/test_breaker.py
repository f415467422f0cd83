"""The breaker opens on a storage that fails and on nothing else, lets one call try, and never holds up what is well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.base import CheckStep, ObjectStat, WriteMode, WriteSession
from adapters.breaker import Breaker, Health, Rule
from adapters.errors import (
    AccessDenied,
    AdapterError,
    Busy,
    Failing,
    InvalidKey,
    NotFound,
    Offline,
    RangeInvalid,
    TimedOut,
    Truncated,
    Unavailable,
)
from adapters.guard import Guarded, guard
from adapters.memory import MemoryAdapter

RULE = Rule(failures=5, span_s=10, first_wait_s=2, longest_wait_s=60)


class Bench:
    """A breaker under a clock and dice of the test's own; the dice show the longest wait unless told otherwise."""

    def __init__(self, *, suspect: bool = False) -> None:
        self.now = 1000.0
        self.chance = 1.0
        self.told: list[Health] = []
        self.breaker = Breaker(
            "far",
            RULE,
            changed=self.told.append,
            suspect=suspect,
            clock=lambda: self.now,
            chance=lambda: self.chance,
        )

    def call(
        self, error: AdapterError | None = None, *, operation: str = "stat", key: str = "", took_s: float = 0
    ) -> None:
        """One call that takes so long and ends so."""
        trying = self.breaker.admit()
        began = self.now
        self.now += took_s
        self.breaker.note(operation, key, began, error, trying=trying)

    def fail(self, times: int, kind: type[AdapterError] = Offline, *, every_s: float = 3, key: str = "k") -> None:
        for turn in range(times):
            self.call(kind("no route"), key=f"{key}{turn}" if key == "k" else key)
            self.now += every_s

    @property
    def is_open(self) -> bool:
        return self.breaker.health.failing_since is not None

    def wait_s(self) -> float:
        """How long a call is refused from now."""
        with pytest.raises(Failing) as refused:
            self.breaker.admit()
        assert refused.value.retry_after_s
        return refused.value.retry_after_s


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("kind", [Offline, TimedOut, Unavailable])
def test_failures_in_a_row_over_some_time_open_it_and_say_why(bench: Bench, kind: type[AdapterError]) -> None:
    bench.fail(4, kind)
    assert not bench.is_open
    bench.fail(1, kind, every_s=0)
    with pytest.raises(Failing, match=rf"since .* UTC, last with {kind.code} \(no route\); it is tried again at"):
        bench.breaker.admit()
    [told] = bench.told
    assert (told.code, told.detail) == (kind.code, "no route")
    assert told.failing_since
    assert told.next_try_at
    assert told.next_try_at > told.failing_since


def test_a_burst_of_failures_is_one_incident(bench: Bench) -> None:
    bench.fail(100, every_s=0.05)
    assert not bench.is_open


@pytest.mark.parametrize("kind", [NotFound, AccessDenied])
def test_whatever_the_storage_answers_is_a_sign_of_life(bench: Bench, kind: type[AdapterError]) -> None:
    for _ in range(5):
        bench.fail(4)
        bench.call(kind())
    assert not bench.is_open


@pytest.mark.parametrize("kind", [InvalidKey, RangeInvalid, Truncated, Busy])
def test_what_is_the_callers_or_one_objects_fault_counts_neither_way(bench: Bench, kind: type[AdapterError]) -> None:
    for _ in range(20):
        bench.fail(1, kind)
    assert not bench.is_open
    bench.fail(4)
    bench.fail(1, kind)
    bench.fail(1)
    assert bench.is_open


def test_one_object_that_fails_again_and_again_does_not_open_it(bench: Bench) -> None:
    bench.fail(50, TimedOut, key="on tape")
    assert not bench.is_open
    bench.fail(1, TimedOut, key="another")
    assert bench.is_open


def test_calls_that_hung_while_others_were_answered_do_not_count(bench: Bench) -> None:
    for turn in range(20):
        began = bench.now
        bench.call(operation="stat", took_s=30)
        bench.breaker.note("read", f"{turn}", began, TimedOut(), trying=False)
        bench.breaker.note("write", f"{turn}", began, Offline(), trying=False)
    bench.fail(4)
    assert not bench.is_open


def test_waits_grow_to_a_cap_and_are_jittered_and_one_call_at_a_time_tries(bench: Bench) -> None:
    bench.fail(5, every_s=3)
    bench.now = 1012.0  # the moment at which it opened
    for longest in (2, 4, 8, 16, 32, 60, 60):
        assert bench.wait_s() == longest
        bench.now += longest
        assert not bench.breaker.refuses
        assert bench.breaker.admit()
        assert bench.breaker.refuses, "another tries at this moment"
        began = bench.now
        bench.now += 100
        assert bench.breaker.refuses, "it still does, however long it takes"
        bench.breaker.note("stat", "k", began, TimedOut(), trying=True)
    bench.chance = 0.25
    bench.now += 60
    bench.call(Offline())
    assert bench.wait_s() == 15
    assert len(bench.told) == 1, "it is told once that it fails"


def test_one_success_closes_it(bench: Bench) -> None:
    bench.fail(5)
    bench.now += 2
    bench.call()
    assert not bench.is_open
    assert bench.told[1:] == [Health()]
    bench.fail(4)
    assert not bench.is_open


def test_a_refusal_of_our_credential_closes_it_too_because_it_is_what_callers_have_to_hear(bench: Bench) -> None:
    bench.fail(5)
    bench.now += 2
    bench.call(AccessDenied())
    assert not bench.is_open


def test_a_try_that_shows_nothing_by_succeeding_is_followed_by_what_comes_of_it(bench: Bench) -> None:
    bench.fail(5)
    bench.now += 2
    bench.call(operation="open_write")  # S3 is not asked anything here
    assert bench.is_open
    assert bench.wait_s() == 2, "nobody else tries meanwhile"
    bench.breaker.note("write", "k", bench.now, Offline(), trying=False)
    assert bench.wait_s() == 4
    bench.breaker.note("publish", "k", bench.now, None, trying=False)
    assert not bench.is_open


def test_a_try_that_never_reached_the_storage_leaves_it_to_the_next(bench: Bench) -> None:
    bench.fail(5)
    bench.now += 2
    bench.call(InvalidKey())
    assert bench.breaker.admit()


def test_what_another_process_found_failing_is_told_at_the_first_sign_of_life() -> None:
    bench = Bench(suspect=True)
    bench.fail(2)
    assert not bench.told
    bench.call()
    bench.call()
    assert bench.told == [Health()]


class Frail(MemoryAdapter):
    """Fails where it is told to."""

    failure: AdapterError | None = None

    def stat(self, key: str) -> ObjectStat:
        if self.failure:
            raise self.failure
        return super().stat(key)

    def check(self) -> list[CheckStep]:
        return [CheckStep("connect", self.failure is None, "")]


@pytest.fixture
def frail() -> Iterator[Guarded]:
    """A guarded adapter whose breaker is open, and stays so for ever if nobody tries."""
    inner = Frail("far")
    breaker = Breaker("far", Rule(failures=2, span_s=0, first_wait_s=1e6, longest_wait_s=1e6), chance=lambda: 1.0)
    guarded = guard(inner, breaker=breaker)
    store(guarded, "old")
    with guarded.open_read("old") as stream, guarded.open_write("begun", size=1) as session:
        inner.failure = Offline()
        for _ in range(2):
            with pytest.raises(Offline):
                guarded.stat("old")
        yield guarded
        assert stream.read() == b"x", "a stream goes on"
        session.write(b"x")
        session.publish()
        assert breaker.health == Health(), "and what was published shows that the storage answers"


def store(adapter: Guarded, key: str, *, size: int | None = 1) -> None:
    with adapter.open_write(key, size=size, mode=WriteMode.REPLACE) as session:
        session.write(b"x")
        session.publish()


def test_while_it_is_open_nothing_is_begun(frail: Guarded) -> None:
    told: list[tuple[str, str]] = []
    frail.observe = lambda _storage, operation, _seconds, outcome: told.append((operation, outcome))
    for begin in (
        lambda: frail.stat("old"),
        lambda: frail.open_read("old"),
        lambda: frail.open_write("new", size=1),
        lambda: frail.delete("old"),
        lambda: list(frail.scan()),
        lambda: frail.unfinished_writes("old"),
    ):
        with pytest.raises(Failing) as refused:
            begin()
        assert refused.value.storage == "far"
    assert set(told) == {
        (operation, "failing")
        for operation in ("stat", "open_read", "open_write", "delete", "open_scan", "unfinished_writes")
    }


def test_a_body_that_cannot_be_sent_again_is_tried_all_the_same(frail: Guarded) -> None:
    session: WriteSession = frail.open_write("stream", size=None)
    session.abort()
    store(frail, "stream", size=None)
    assert frail.breaker
    assert not frail.breaker.refuses


def test_a_check_goes_through_and_closes_it_where_it_passes(frail: Guarded) -> None:
    assert frail.breaker
    assert not frail.check()[0].ok
    assert frail.breaker.refuses
    frail.inner.failure = None  # type: ignore[attr-defined]
    assert frail.check()[0].ok
    assert frail.stat("old").size == 1
