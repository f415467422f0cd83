"""Arrivals: what becomes of each of many published uploads that are to become current together. Pure functions."""

import uuid
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from staging.errors import ContentDiffers
from staging.models import Object


@dataclass(frozen=True, slots=True)
class Arrival:
    """One published upload: where its bytes lie, and for which key they are."""

    upload_id: uuid.UUID
    key: str
    place: str
    size: int
    sha256: str
    sums: bytes
    storage_version: str


def choose(
    arrivals: Sequence[Arrival], standing: Mapping[str, Object], *, may_replace: bool, lost: Set[uuid.UUID]
) -> tuple[list[Arrival], list[Arrival]]:
    """Those that become current, and those whose equal stands at the key already and is not ``lost``.

    Raises ContentDiffers where other content stands and may not be replaced.
    """
    fresh: list[Arrival] = []
    replayed: list[Arrival] = []
    for arrival in arrivals:
        found = standing.get(arrival.key)
        is_equal = found is not None and (found.size, found.sha256) == (arrival.size, arrival.sha256)
        if found and not is_equal and not may_replace:
            raise ContentDiffers(f"{arrival.key!r} was committed with other content.")
        (replayed if found and is_equal and found.pk not in lost else fresh).append(arrival)
    return fresh, replayed
