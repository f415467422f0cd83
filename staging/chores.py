"""Chores: any number of schedulers may ask for one, and it is done once in its time.

What a chore does for many is done for each apart, so that nothing that fails keeps the others from their turn.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from django.utils import timezone

from staging.models import Chore

log = structlog.get_logger(__name__)

#: Begins the names of the rows that tell what failed, and how much of a row's name and place is kept.
_FAILED = "failed "
_MOST_NAME, _MOST_PLACE = 40, 64


def is_due(name: str, *, every_s: float) -> bool:
    """Whether the caller is to do the chore now; nobody else is told so for ``every_s`` seconds."""
    now = timezone.now()
    mine = Chore.objects.filter(name=name, begun_at__lte=now - timedelta(seconds=every_s))
    if mine.update(begun_at=now):
        return True
    _, made = Chore.objects.get_or_create(name=name, defaults={"begun_at": now})
    return made


def place(name: str) -> str:
    """Behind which row the chore's next pass goes on."""
    return Chore.objects.filter(name=name).values_list("place", flat=True).first() or ""


def note_place(name: str, place: str) -> None:
    """Have the next pass of a chore that was begun go on behind this row; empty: from the beginning."""
    Chore.objects.filter(name=name).update(place=place)


@contextmanager
def apart(name: str, about: object = "") -> Iterator[None]:
    """A part of a chore, ``about`` one row perhaps, that may fail in a way that nobody foresaw: the next has its turn.

    It is logged with its traceback, and ``failures`` tells of it. Where the catalog is away nothing can have its turn,
    and that is raised.
    """
    try:
        yield
    except Exception as exc:  # Whatever it is, it is this part's alone.
        log.exception("chore.failed", part=name, about=str(about))
        told = f"{type(exc).__name__} {about}".strip()[:_MOST_PLACE]
        row = f"{_FAILED}{name}"[:_MOST_NAME]
        Chore.objects.update_or_create(name=row, defaults={"begun_at": timezone.now(), "place": told})


def one_by_one(*parts: Callable[[], object]) -> None:
    """Do each of the parts apart from the others."""
    for part in parts:
        with apart(f"{part.__module__.rpartition('.')[2]}.{part.__name__}"):
            part()


def failures(since: datetime) -> list[tuple[str, datetime, str]]:
    """The parts of chores that failed in a way that nobody foresaw: name, when last, and what it was about then."""
    rows = Chore.objects.filter(name__startswith=_FAILED, begun_at__gte=since).order_by("name")
    return [(row.name.removeprefix(_FAILED), row.begun_at, row.place) for row in rows]
