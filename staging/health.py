"""Health: which storages this process leaves alone and why, and what of that and of credentials' use is written down.

What is to be written is only remembered while storages are called; ``write_down`` writes it between requests and tasks.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

import structlog
from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models import Q
from django.utils import timezone

from adapters.breaker import Breaker, Health, Rule
from staging import events
from staging.connections import release
from staging.models import Credential, Storage

log = structlog.get_logger(__name__)

#: Told a storage's name when this process begins (true) or ends (false) to leave it alone; metrics set it.
tell: Callable[[str, bool], None] | None = None

#: The first wait lasts up to so many seconds; each that follows may be twice as long.
FIRST_WAIT_S = 2.0
#: How exactly it is known when a credential was last used.
USE_NOTED_EVERY = timedelta(minutes=5)

_breakers: dict[int, Breaker] = {}
_left_alone: set[int] = set()
_changes: dict[int, Health] = {}
_uses: dict[int, datetime] = {}
_noted: dict[int, datetime] = {}
_writing = Lock()


def breaker_for(storage: Storage) -> Breaker | None:
    """A new breaker in the place of the storage's old one; None where none is wanted."""
    _retire(storage.pk)
    if not settings.BREAKER_FAILURES:
        return None
    rule = Rule(
        failures=settings.BREAKER_FAILURES,
        span_s=settings.BREAKER_SPAN_S,
        first_wait_s=FIRST_WAIT_S,
        longest_wait_s=settings.BREAKER_MAX_WAIT_S,
    )
    pk, name = storage.pk, storage.name

    def changed(health: Health) -> None:
        _changes[pk] = health
        if health.failing_since:
            log.error("storage.failing", storage=name, error=health.code, detail=health.detail)
        else:
            log.info("storage.recovered", storage=name)
        _tell(pk, name, is_failing=health.failing_since is not None)

    breaker = _breakers[pk] = Breaker(name, rule, changed=changed, suspect=storage.failing_since is not None)
    return breaker


def forget_all() -> None:
    """Begin anew, as a process does that has called no storage yet."""
    for pk in list(_breakers):
        _retire(pk)
    _uses.clear()
    _noted.clear()


def refuses(storage: Storage) -> bool:
    """Whether a call would be refused at this moment, by this process."""
    breaker = _breakers.get(storage.pk)
    return breaker is not None and breaker.refuses


def check(storage: Storage) -> None:
    """Raises Failing where a call would be refused now; calls nothing."""
    breaker = _breakers.get(storage.pk)
    if breaker is not None:
        breaker.check()


def of(storage: Storage) -> Health:
    """What this process has found, or else what another wrote down; that has no ``next_try_at``."""
    breaker = _breakers.get(storage.pk)
    own = breaker.health if breaker else Health()
    if own.failing_since or storage.failing_since is None:
        return own
    return Health(storage.failing_since, storage.failing_code, storage.failing_detail)


def note_use(credential: Credential) -> None:
    """The credential is used now."""
    _uses[credential.pk] = timezone.now()


def write_down(**_: object) -> None:
    """Write what is due; called where no byte moves. What the catalog does not take now it is told the next time."""
    # Who finds another at it leaves what it has to that one, which therefore looks once more.
    while (due := _uses_due()) or _changes:
        if not _writing.acquire(blocking=False):
            return
        try:
            _write_due(due)
        except Error as exc:
            log.warning("health.not_written", error=type(exc).__name__)
            return
        finally:
            _writing.release()
            if not connection.in_atomic_block:
                release()


def write_change(pk: int, health: Health) -> None:
    """Have the storage's row say so, and record the event if it did not say so before."""
    was = Q(failing_since__isnull=health.failing_since is not None)
    with transaction.atomic():
        if Storage.objects.filter(was, pk=pk).update(
            failing_since=health.failing_since, failing_code=health.code, failing_detail=health.detail
        ):
            storage = Storage.objects.get(pk=pk)
            if health.failing_since:
                facts = {"error": health.code, "detail": health.detail}
                events.record(storage.project_id, "storage.failing", storage.name, **facts)
            else:
                events.record(storage.project_id, "storage.recovered", storage.name)


def _uses_due() -> dict[int, datetime]:
    return {pk: at for pk, at in list(_uses.items()) if pk not in _noted or at - _noted[pk] >= USE_NOTED_EVERY}


def _write_due(uses: dict[int, datetime]) -> None:
    for pk, at in uses.items():
        _write_use(pk, at)
        _noted[pk] = at
    while change := _next_change():
        pk, health = change
        try:
            write_change(pk, health)
        except Error:
            _changes.setdefault(pk, health)
            raise


def _next_change() -> tuple[int, Health] | None:
    try:
        return _changes.popitem()
    except KeyError:
        return None


def _write_use(pk: int, at: datetime) -> None:
    earlier = Q(last_used_at__isnull=True) | Q(last_used_at__lte=at - USE_NOTED_EVERY)
    Credential.objects.filter(earlier, pk=pk).update(last_used_at=at)


def _retire(pk: int) -> None:
    breaker = _breakers.pop(pk, None)
    if breaker is not None:
        breaker.retire()
        _changes.pop(pk, None)
        _tell(pk, breaker.storage, is_failing=False)


def _tell(pk: int, name: str, *, is_failing: bool) -> None:
    """Tell the metrics, which count the storages that this process itself leaves alone."""
    if is_failing != (pk in _left_alone):
        (_left_alone.add if is_failing else _left_alone.discard)(pk)
        if tell:
            tell(name, is_failing)
