"""What the benchmarks make of measurements: turns, ratios, bars and the page."""

from collections.abc import Callable

import pytest

from tests.bench import page
from tests.bench.contest import MIB, Contender, Contest, Result, Work, hold
from tests.bench.usage import Usage
from tests.bench.waiting import Wait


class Known(Usage):
    """Spends a second each time it is looked at and holds what it is told to."""

    def __init__(self, extra_bytes: int) -> None:
        self._extra_bytes = extra_bytes
        self._spent = 0.0

    def cpu_s(self) -> float:
        self._spent += 1
        return self._spent

    def forget_peak(self) -> None:
        pass

    def extra_bytes(self) -> int:
        return self._extra_bytes


def in_seconds(*seconds: float) -> Callable[[int], Work]:
    return lambda number: Work(1024**3, seconds[number])


def held(contest: Contest) -> Result:
    return hold(contest, rounds=3, report=lambda _: None)


@pytest.fixture
def contest() -> Contest:
    ours = Contender("Waybill", in_seconds(2, 4, 4), Known(20 * MIB))
    rival = Contender("nginx", in_seconds(2, 2, 1), bar=0.9)
    return Contest("GET", ours, [rival], large=True, most_extra_bytes=16 * MIB)


def test_contenders_take_turns_in_going_first_and_are_tidied_up_after() -> None:
    done: list[str] = []

    def contender(name: str) -> Contender:
        def run(number: int) -> Work:
            done.append(f"{name}{number}")
            return Work(1, 1)

        return Contender(name, run, tidy=lambda _: done.append("-"))

    held(Contest("x", contender("a"), [contender("b")], large=False))
    assert " ".join(done) == "a0 - b0 - b1 - a1 - a2 - b2 -"


def test_ratios_are_of_one_round_each(contest: Contest) -> None:
    result = held(contest)
    assert result.waybill.ratios(result.scores["nginx"]) == [1, 0.5, 0.25]


def test_every_bar_that_was_missed_is_told(contest: Contest) -> None:
    assert list(held(contest).misses()) == [
        "GET: 0.50 of nginx, the bar is 0.90",
        "GET: 20.0 MiB more memory for a transfer, the bar is 16 MiB",
    ]


def test_a_rate_below_its_bar_is_told() -> None:
    slow = Contender("Waybill", lambda _: Work(100, 1))
    assert list(held(Contest("GET", slow, [], large=False, least_rate=800)).misses()) == [
        "GET: 100 requests a second, the bar is 800"
    ]


def test_the_page_shows_medians_spread_and_misses(contest: Contest) -> None:
    text = page.write([held(contest)], {"date": "today"}, connections=16, seconds=5)
    assert "| **GET** | Waybill | 268 (268 to 537) |  |  | 1.00 | 20.0 MiB **missed** (bar 16) |" in text
    assert "|  | nginx | 537 (537 to 1,074) | 0.50 (0.25 to 1.00) | 0.90 **missed** |  |  |" in text
    assert "- GET: 0.50 of nginx" in text


def test_the_page_shows_how_long_readers_waited_and_whether_that_was_too_long() -> None:
    quick = Wait("SQLite", True, 50, [0.001 * n for n in range(1, 51)])
    slow = Wait("SQLite", True, 50, [0.06] * 50)
    polling = Wait("SQLite", False, 50, [1.0] * 50)
    text = page.write([], {}, connections=16, seconds=5, waits=[quick, slow, polling])
    assert "| SQLite | 50 | waiting | 26 ms | 48 ms | 50 ms | 50 ms |" in text
    assert "| SQLite | 50 | waiting | 60 ms | 60 ms | 60 ms | 50 ms **missed** |" in text
    assert "| SQLite | 50 | polling each second | 1,000 ms | 1,000 ms | 1,000 ms |  |" in text
    assert "- 50 readers waiting, SQLite: 95 % have the first byte after 60 ms, the bar is 50 ms" in text
