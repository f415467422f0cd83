"""How much is run: CI's selection, or by `make sweep` everything, in an order by seed and within a time."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.sweep import cases
from tests.sweep.cases import Case

IS_FULL = os.environ.get("SWEEP") == "full"
SEED = int(os.environ.get("SWEEP_SEED") or 1)
#: Of the whole sweep on one database; 0: as long as it takes. Each test has an equal share of it.
SECONDS = int(os.environ.get("SWEEP_SECONDS") or 0)
TESTS = 24
#: How many cases of each fault have been run, and how many the time did not suffice for.
DONE: Counter[str] = Counter()
LEFT: Counter[str] = Counter()


def chosen() -> list[Case]:
    """The cases to be run; of everything, some middles more by the seed, shuffled."""
    if not IS_FULL:
        return cases.selection()
    draw = random.Random(SEED)
    found = cases.every(draw.randrange(1, cases.SIZE - cases.BEGUN) for _ in range(3))
    draw.shuffle(found)
    return found


def portions(found: Sequence[Case], size: int) -> Iterator[list[Case]]:
    """The cases, so many at a time, for as long as there is time."""
    until = time.monotonic() + SECONDS / TESTS
    for start in range(0, len(found), size):
        portion = list(found[start : start + size])
        if SECONDS and time.monotonic() > until:
            LEFT[portion[0].fault] += len(found) - start
            return
        yield portion
        DONE[portion[0].fault] += len(portion)
        if IS_FULL:
            print(f"  {start + len(portion)} of {len(found)}: {portion[-1].id}", flush=True)
