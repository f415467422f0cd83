"""A contest: Waybill and its rivals do the same work in turn, round by round, so that a busy machine hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.bench.usage import Usage

GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Work:
    """What one run did, in bytes or requests, and how long it took."""

    amount: float
    seconds: float


@dataclass(frozen=True)
class Contender:
    """One way to do the work. ``run`` does round n; ``tidy`` removes, outside the measured time, what it left.

    ``bar`` of a rival is the least part of its speed that Waybill has to reach.
    """

    name: str
    run: Callable[[int], Work]
    usage: Usage | None = None
    bar: float | None = None
    tidy: Callable[[int], object] = lambda _: None


@dataclass(frozen=True)
class Contest:
    """``large``: the work is counted in bytes, else in requests. ``least_rate`` and ``most_extra_bytes`` are bars."""

    title: str
    waybill: Contender
    rivals: Sequence[Contender]
    large: bool
    least_rate: float | None = None
    most_extra_bytes: int | None = None


@dataclass
class Score:
    """What one contender reached: amounts a second and CPU seconds per amount of each round, and its most memory."""

    contender: Contender
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    extra_bytes: int | None = None

    @property
    def rate(self) -> float:
        return median(self.rates)

    def add(self, work: Work, cpu_s: float | None, extra_bytes: int | None) -> None:
        self.rates.append(work.amount / work.seconds)
        if cpu_s is not None:
            self.cpu.append(cpu_s / work.amount)
        if extra_bytes is not None:
            self.extra_bytes = max(extra_bytes, self.extra_bytes or 0)

    def ratios(self, other: Score) -> list[float]:
        """This one's speed as a part of the other's, round by round."""
        return [ours / theirs for ours, theirs in zip(self.rates, other.rates, strict=True)]


@dataclass(frozen=True)
class Result:
    """The scores of a contest by the contenders' names, Waybill's first."""

    contest: Contest
    scores: Mapping[str, Score]

    @property
    def waybill(self) -> Score:
        return self.scores[self.contest.waybill.name]

    def misses(self) -> Iterator[str]:
        """A sentence for each bar that was not reached."""
        contest, ours = self.contest, self.waybill
        for rival in contest.rivals:
            if rival.bar is not None:
                reached = median(ours.ratios(self.scores[rival.name]))
                if reached < rival.bar:
                    yield f"{contest.title}: {reached:.2f} of {rival.name}, the bar is {rival.bar:.2f}"
        if contest.least_rate is not None and ours.rate < contest.least_rate:
            yield f"{contest.title}: {ours.rate:,.0f} requests a second, the bar is {contest.least_rate:,.0f}"
        if contest.most_extra_bytes is not None and (ours.extra_bytes or 0) > contest.most_extra_bytes:
            extra, most = (ours.extra_bytes or 0) / MIB, contest.most_extra_bytes / MIB
            yield f"{contest.title}: {extra:.1f} MiB more memory for a transfer, the bar is {most:.0f} MiB"


def hold(contest: Contest, *, rounds: int, report: Callable[[str], None]) -> Result:
    """Every contender once a round, each round in another order."""
    return hold_together([contest], contest.title, rounds=rounds, report=report)[0]


def hold_together(
    contests: Sequence[Contest], title: str, *, rounds: int, report: Callable[[str], None]
) -> list[Result]:
    """Contests in the same work, of which a contender takes part in all that name it, with a single run a round."""
    named = {each.name: each for contest in contests for each in (contest.waybill, *contest.rivals)}
    contenders, scores = list(named.values()), {name: Score(each) for name, each in named.items()}
    for number in range(rounds):
        shift = number % len(contenders)
        for contender in contenders[shift:] + contenders[:shift]:
            score = scores[contender.name]
            _run(contender, number, score)
            report(f"{title}, round {number + 1} of {rounds}: {contender.name} {_speed(score, contests[0].large)}")
    return [Result(contest, scores) for contest in contests]


def _run(contender: Contender, number: int, score: Score) -> None:
    usage = contender.usage
    if usage is None:
        score.add(contender.run(number), None, None)
    else:
        usage.forget_peak()
        before = usage.cpu_s()
        work = contender.run(number)
        score.add(work, usage.cpu_s() - before, usage.extra_bytes())
    contender.tidy(number)


def _speed(score: Score, large: bool) -> str:
    last = score.rates[-1]
    return f"{last / 1e6:,.0f} MB/s" if large else f"{last:,.0f} requests/s"


def size_in_words(size: int) -> str:
    """The largest unit that needs no fraction."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"
