"""Holding a request whose object is not there yet, or not safe yet: how long, by whose wish, and in whose place.

Who waits has a seat; when the object has come it keeps that seat, and with it its thread, until a stream is free.
"""

import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from gateway import metrics
from gateway.data.departures import DEPARTURES
from gateway.data.slots import SHARE, SLOTS, Slot
from staging import persisting
from staging.errors import (
    AliasExpired,
    AliasRevoked,
    AliasUsedUp,
    DataPending,
    InvalidRequest,
    ProducerFailed,
    StagingError,
)
from staging.models import Alias, Object
from staging.reading import Found
from staging.states import Durability
from staging.waiting import Seat

#: How long one who has waited for the object waits for a stream at least.
STREAM_WAIT_S = 5.0
#: How many requests of this process may wait at a time.
SEATS = threading.BoundedSemaphore(SHARE.waiters)

_OUTCOMES: dict[type[StagingError], str] = {
    DataPending: "pending",
    ProducerFailed: "failed",
    AliasRevoked: "ended",
    AliasExpired: "ended",
    AliasUsedUp: "ended",
}
#: A preference of RFC 7240; a wait is whole seconds, anything else of that name is none.
_WAIT = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:;.*)?', re.IGNORECASE | re.DOTALL)
_IN_QUERY = re.compile(r"(?:^|&)wait=([^&]*)")
_SECONDS = re.compile(r"[0-9]{1,9}")
#: Where the request's environment keeps it.
_APPLIED = "waybill.preference_applied"


def wait_s(request: HttpRequest) -> int:
    """How long the request is to be held: what its query says, else its Prefer header, else the default.

    Raises InvalidRequest for a query that says it wrongly; a preference that is not understood is none.
    """
    if asked := _IN_QUERY.search(request.META.get("QUERY_STRING", "")):
        if not _SECONDS.fullmatch(asked[1]):
            raise InvalidRequest("wait is not a whole number of seconds.", fields={"wait": "a whole number of seconds"})
        return min(int(asked[1]), settings.MAX_WAIT_S)
    for preference in request.META.get("HTTP_PREFER", "").split(","):
        if match := _WAIT.fullmatch(preference):
            preferred = min(int(match[1]), settings.MAX_WAIT_S)
            request.META[_APPLIED] = f"wait={preferred}"
            return preferred
    return min(settings.WAIT_S, settings.MAX_WAIT_S)


def wait_for_durability(request: HttpRequest, made: Object, durability: Durability) -> Durability:
    """How safe the object is; a request that prefers ``wait=persisted`` is held for it, up to the longest wait."""
    preferences = [word.strip().lower() for word in request.META.get("HTTP_PREFER", "").split(",")]
    if "wait=persisted" not in preferences or durability == Durability.PERSISTED:
        applied = "wait=persisted" in preferences
    elif not SEATS.acquire(blocking=False):
        return durability
    else:
        try:
            durability = persisting.wait(made, settings.MAX_WAIT_S)
        finally:
            SEATS.release()
        applied = durability == Durability.PERSISTED
    if applied:
        request.META[_APPLIED] = "wait=persisted"
    return durability


def note_preference(request: HttpRequest, response: HttpResponseBase) -> None:
    """Say which preference ``wait_s`` has followed, if any."""
    if applied := request.META.get(_APPLIED):
        response["Preference-Applied"] = ", ".join(filter(None, [response.get("Preference-Applied"), applied]))


class Hold:
    """One request's patience. It costs nothing as long as the object is there. A context manager.

    ``find`` looks for the object at ``key``, as ``reading.find`` does.
    """

    def __init__(self, request: HttpRequest, alias: Alias, key: str, find: Callable[[], Found]) -> None:
        self._request, self._alias, self._key, self._find = request, alias, key, find
        self._wait_s = wait_s(request)
        self._seat: Seat | None = None
        self._taken = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._taken.close()

    def find(self) -> Found:
        """The object, after a wait where that is needed. Raises what the look and ``Seat.wait`` raise."""
        if self._seat is None:
            try:
                return self._find()
            except DataPending:
                if not self._wait_s:
                    raise
            self._seat = self._sit_down()
        return self._wait(self._seat)

    def slot(self, size: int) -> Slot:
        """``SLOTS.take``; one that has waited for the object is not sent away because many have come at once."""
        return SLOTS.take(self._alias, size, wait_s=max(self._seat.left_s(), STREAM_WAIT_S) if self._seat else 0.0)

    def _sit_down(self) -> Seat:
        if not SEATS.acquire(blocking=False):
            metrics.WAITS.labels("refused").inc()
            raise DataPending("The data is not there yet, and as many requests wait here as this process takes.")
        self._taken.callback(SEATS.release)
        metrics.WAITERS.inc()
        self._taken.callback(metrics.WAITERS.dec)
        seat = self._taken.enter_context(Seat(self._alias, self._key, self._wait_s, self._find))
        self._taken.enter_context(DEPARTURES.watch(self._request.META, seat.leave))
        return seat

    def _wait(self, seat: Seat) -> Found:
        try:
            found = seat.wait()
        except Exception as exc:
            outcome = next((name for kind, name in _OUTCOMES.items() if isinstance(exc, kind)), "error")
            metrics.WAITS.labels("gone" if seat.is_left else outcome).inc()
            raise
        metrics.WAITS.labels("found").inc()
        return found
