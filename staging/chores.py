"""Chores: any number of schedulers may ask for one, and it is done once in its time."""

from datetime import timedelta

from django.utils import timezone

from staging.models import Chore


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
