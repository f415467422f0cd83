"""How much of a drain is done: of what was there when it began, and of what came since and is still there."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Amount:
    """Some copies, and their bytes."""

    replicas: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Measure:
    """``start`` was there when the drain began, ``done`` of it has gone since. ``percent`` is 0 to 100, 100 once it is
    over and not before: what came since is part of the whole. ``bytes_per_s`` and ``seconds_left`` are None where
    nothing tells.
    """

    began_at: datetime
    start: Amount
    done: Amount
    percent: int
    bytes_per_s: int | None = None
    seconds_left: int | None = None


def measure(
    began_at: datetime, start: Amount, old: Amount, left: Amount, *, now: datetime, rate: int = 0, is_over: bool = False
) -> Measure:
    """Of what is ``left``, ``old`` was made before the drain began; ``rate`` is bytes a second, 0 where none is told.

    The count at the beginning may have missed a copy whose transaction ended just after it.
    """
    done = Amount(max(0, start.replicas - old.replicas), max(0, start.bytes - old.bytes))
    if is_over:
        return Measure(began_at, start, done, 100)
    whole = Amount(done.replicas + left.replicas, done.bytes + left.bytes)
    part, of = (done.bytes, whole.bytes) if whole.bytes else (done.replicas, whole.replicas)
    percent = min(99, 100 * part // of) if of else 0
    rate = rate or round(done.bytes / max((now - began_at).total_seconds(), 1.0))
    return Measure(began_at, start, done, percent, rate or None, round(left.bytes / rate) if rate else None)
