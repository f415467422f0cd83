"""Coverage: which bytes of an object partial reads have brought. Pure functions over ranges ``[start, stop)``."""

from collections.abc import Iterable, Sequence

#: A client that reads in more pieces than this at a time, all apart from each other, has not read the whole.
MAX_RANGES = 1000


def join(ranges: Iterable[Sequence[int]], start: int, stop: int) -> list[list[int]]:
    """The ranges with one more, in order and as few as can be; the first are forgotten where there are too many."""
    joined: list[list[int]] = []
    for begin, end in sorted([*(list(each) for each in ranges), [start, stop]]):
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        elif begin < end:
            joined.append([begin, end])
    return joined[-MAX_RANGES:]


def is_whole(ranges: Sequence[Sequence[int]], size: int) -> bool:
    """Whether they hold every byte of an object of ``size``."""
    return size == 0 or (len(ranges) == 1 and ranges[0][0] == 0 and ranges[0][1] >= size)
