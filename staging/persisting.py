"""Persisting: whoever uploads may wait until the bytes are where nothing but a disaster takes them."""

import time

from staging import placement, replication, transfers
from staging.connections import release
from staging.models import Object, Transfer
from staging.states import Durability

#: The catalog is asked after this time first, and then ever more seldom.
_FIRST_S, _SELDOM_S = 0.05, 0.5
_PERSISTENT_TIER = 2


def wait(target: Object, within_s: float) -> Durability:
    """How safe the version is once it is persisted, nothing works on that any more, or the time is over.

    The transfers that it waits for go first.
    """
    until, pause = time.monotonic() + within_s, _FIRST_S
    for transfer in _under_way(target):
        transfers.hasten(transfer)
    while True:
        works = bool(_under_way(target))  # Before the copies: what ends in between has left its copy.
        durability = placement.durability(target.replicas.select_related("storage"))
        release()
        left = until - time.monotonic()
        if durability == Durability.PERSISTED or not works or left <= 0:
            return durability
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _SELDOM_S)


def _under_way(target: Object) -> list[Transfer]:
    live = target.transfers.filter(state__in=replication.LIVE, kind__in=replication.COPYING)
    return list(live.filter(target__tier__gte=_PERSISTENT_TIER))
