"""Transfers: run by whoever claims them, tried again where a fault may pass, cancelled, and tried anew by hand."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Case, F, Q, QuerySet, TextField, Value, When
from django.utils import timezone

from adapters.errors import (
    AdapterError,
    Busy,
    ChecksumMismatch,
    Damaged,
    Failing,
    NotTried,
    OutOfSpace,
    SizeMismatch,
    WriteLost,
)
from staging import carrying, claims, copy_progress, copying, planning, purging, queue, replicas, replication, verifying
from staging.claims import Claim, TransferCancelled, WorkerStops
from staging.connections import release
from staging.errors import InvalidRequest, LeaseLost, NoSpace, StagingError, StorageClosed, Unforeseen
from staging.models import Replica, Storage, Transfer
from staging.states import ReplicaState, TransferKind, TransferState
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

#: Full-jitter retry: a random wait of at most this many seconds, doubled with each attempt up to the cap.
RETRY_BASE_S = 2
RETRY_CAP_S = 900
#: So long at least a transfer waits for a storage that takes nothing at the moment.
CLOSED_S = 30
#: What went wrong with the bytes of one attempt: the next one writes others.
_OF_ONE_ATTEMPT = (ChecksumMismatch, Damaged, SizeMismatch, WriteLost)
#: So many transfers of a storage are woken that others hide from the sweep.
_HIDDEN = 100
#: What a transfer's row says that has not failed yet.
_UNTRIED = ("", Busy.code, Failing.code, StorageClosed.code, claims.WORKER_LOST["error_code"])


def run(transfer_id: str) -> None:
    """Do the transfer if it is due and nobody else does. Safe to call twice, late or never."""
    transfer = claims.take(transfer_id)
    release()
    if transfer is None:
        return
    try:
        _WORK[TransferKind(transfer.kind)](transfer, Claim(transfer))
    except LeaseLost as exc:
        log.warning("transfer.taken_over", transfer=str(transfer.pk), detail=str(exc))
    except TransferCancelled:
        _end(transfer, TransferState.CANCELLED)
    except WorkerStops:
        done = {"token": transfer.token, "bytes_done": transfer.bytes_done, "attempts": transfer.attempts - 1}
        if claims.finish(transfer, TransferState.QUEUED, not_before=timezone.now(), **done):
            queue.enqueue_transfer(transfer)
    except (AdapterError, StagingError) as exc:
        _fail(transfer, exc)
    except (OperationalError, InterfaceError):
        raise  # The catalog is away, or others were faster: the lease runs out, and it is taken anew.
    except Exception as exc:  # It is given back at once: until its lease ran out, it would keep a slot from the others.
        log.exception("transfer.broken", transfer=str(transfer.pk))
        _fail(transfer, Unforeseen(f"{type(exc).__name__}: {exc}"))
    _wake_next(transfer)
    if transfer.job_id:
        copy_progress.go_on(transfer.job_id)


def sweep(limit: int = 500) -> int:
    """Queue anew what lost its worker, and wake workers for all that is due; returns how many were woken."""
    now = timezone.now()
    lost = Transfer.objects.filter(state=TransferState.RUNNING, lease_expires_at__lt=now)
    often = Q(attempts__gte=claims.OFTEN, error_code__in=_UNTRIED)
    told = {
        name: Case(When(often, then=Value(text)), default=F(name), output_field=TextField())
        for name, text in claims.WORKER_LOST.items()
    }
    lost.update(state=TransferState.QUEUED, lease_expires_at=None, **told)
    due = Transfer.objects.filter(state=TransferState.QUEUED, not_before__lte=now).order_by("priority", "not_before")
    woken = list(due[:limit])
    if len(woken) == limit:
        woken += _hidden(due, woken)
    for transfer in woken:
        queue.enqueue_transfer(transfer)
    return len(woken)


def _hidden(due: QuerySet[Transfer], found: Sequence[Transfer]) -> list[Transfer]:
    """Of each storage, and of its removals apart, what is due where nothing of it is among those that were found.

    However much waits for one storage, what waits for others has its turn.
    """
    seen = {(transfer.target_id, TransferKind(transfer.kind).removes) for transfer in found}
    more = list[Transfer]()
    for storage in Storage.objects.order_by("pk").values_list("pk", flat=True):
        here = due.filter(target=storage)
        if (storage, False) not in seen:
            more += here.exclude(kind__in=claims.REMOVING)[:_HIDDEN]
        if (storage, True) not in seen:
            # By what is to go: the transfers themselves would all be passed over.
            going = Replica.objects.filter(storage=storage, state=ReplicaState.DELETING)
            more += here.filter(kind__in=claims.REMOVING, source__in=going)[:_HIDDEN]
    return more


def cancel(transfer: Transfer) -> None:
    """Have the transfer stopped: at once where it waits, within seconds where it runs. One that has ended stays.

    Raises InvalidRequest for a removal: its bytes are nobody's any more.
    """
    if TransferKind(transfer.kind).removes:
        raise InvalidRequest("Bytes that are being removed cannot be kept: nobody reads them any more.")
    now = timezone.now()
    row = Transfer.objects.filter(pk=transfer.pk)
    row.filter(state__in=replication.LIVE, cancelled_at=None).update(cancelled_at=now)
    if row.filter(state=TransferState.QUEUED).update(
        state=TransferState.RUNNING, fence=F("fence") + 1, lease_expires_at=now + timedelta(seconds=60)
    ):
        transfer.refresh_from_db()
        _end(transfer, TransferState.CANCELLED)
        if transfer.job_id:
            copy_progress.go_on(transfer.job_id)
    transfer.refresh_from_db()


def hasten(transfer: Transfer) -> None:
    """Have the transfer done before all that nobody waits for."""
    if Transfer.objects.filter(pk=transfer.pk, priority__gt=planning.URGENT).update(priority=planning.URGENT):
        transfer.priority = planning.URGENT
        queue.enqueue_transfer(transfer)


def retry(transfer: Transfer) -> None:
    """Try a transfer again that failed for good. Raises InvalidRequest where it did not, or another does its work."""
    try:
        with transaction.atomic():
            again = replication.revive(transfer)
    except IntegrityError as exc:
        raise InvalidRequest("Another transfer does the same work already.") from exc
    if not again:
        raise InvalidRequest(f"Only a transfer that failed can be tried again; this one is {transfer.state}.")


def purge(before: datetime) -> int:
    """Remove rows of transfers that ended well before ``before``; returns how many."""
    return purging.purge(
        Transfer.objects.filter(state__in=[TransferState.DONE, TransferState.CANCELLED], finished_at__lt=before)
    )


def retry_delay_s(attempt: int, *, chance: float | None = None) -> float:
    """Seconds to wait before attempt ``attempt + 1``; ``chance`` in [0, 1) replaces the dice in tests."""
    ceiling = min(float(RETRY_CAP_S), RETRY_BASE_S * 2.0 ** min(attempt, 20))
    return ceiling * (random.random() if chance is None else chance)  # noqa: S311  jitter is no secret


def _remove_bytes(transfer: Transfer, _claim: Claim) -> None:
    replica = transfer.source
    with transaction.atomic():
        # Where other versions have their bytes there too, only this one lets go of them, at once: each of two that
        # waited until later would take the other for the one that removes them.
        is_last = replica is None or replicas.is_last(replica)
        if not is_last:
            _forget(transfer)
    if is_last:
        if replica and replica.state == ReplicaState.DELETING:
            adapter = adapter_for(replica.storage)
            release()
            adapter.delete(replica.key)
        with transaction.atomic():
            _forget(transfer)
    if transfer.object and transfer.object.kept:
        replication.settle(transfer.object)


def _forget(transfer: Transfer) -> None:
    if claims.finish(transfer, TransferState.DONE, bytes_done=transfer.size) and transfer.source:
        replicas.forget(transfer.source)


_WORK: Mapping[TransferKind, Callable[[Transfer, Claim], None]] = {
    TransferKind.FLUSH: copying.copy,
    TransferKind.REPLICATE: copying.copy,
    TransferKind.PROMOTE: copying.copy,
    TransferKind.VERIFY: verifying.verify,
    TransferKind.EVICT: _remove_bytes,
    TransferKind.DELETE: _remove_bytes,
    TransferKind.COPY: carrying.carry,
    TransferKind.MOVE: carrying.carry,
}


def _end(transfer: Transfer, state: TransferState, **changes: object) -> None:
    """End the transfer for good, and leave nothing of a copy behind; what cannot be removed now is tried again."""
    try:
        if TransferKind(transfer.kind).copies:
            copying.discard(transfer)
        elif TransferKind(transfer.kind).carries:
            carrying.discard(transfer)
    except (AdapterError, StagingError) as exc:
        log.warning("transfer.not_cleaned", transfer=str(transfer.pk), error=exc.code, detail=str(exc))
        later = timezone.now() + timedelta(seconds=retry_delay_s(transfer.attempts))
        claims.finish(transfer, TransferState.QUEUED, not_before=later, **changes)
        return
    claims.finish(transfer, state, **changes)


def _fail(transfer: Transfer, exc: AdapterError | StagingError) -> None:
    no_room = isinstance(exc, NoSpace | OutOfSpace)
    again = (exc.transient or no_room or isinstance(exc, _OF_ONE_ATTEMPT)) and transfer.attempts < transfer.max_attempts
    delay_s, changes = retry_delay_s(transfer.attempts), dict[str, object]()
    if transfer.error_code in _UNTRIED:
        changes = {"error_code": exc.code, "error_detail": str(exc)}
    waits_s = _left_alone_s(exc)
    if waits_s is None or transfer.last_error_code in _UNTRIED:
        changes |= {"last_error_code": exc.code, "last_error_detail": str(exc)}
    if waits_s is not None:
        # A storage that was not even asked has not failed the transfer: the attempt does not count.
        changes["attempts"], again = transfer.attempts - 1, True
        delay_s += waits_s
    if transfer.job_id and not isinstance(exc, NotTried):
        copy_progress.note_error(transfer.job_id, exc.code, f"{transfer.label}: {exc}")
    log.warning("transfer.failed", transfer=str(transfer.pk), error=exc.code, detail=str(exc), again=again)
    if transfer.kind == TransferKind.PROMOTE and no_room:
        _end(transfer, TransferState.CANCELLED, **changes)  # A faster copy is a favour, and there is no room for it.
    elif again:
        changes |= {"token": transfer.token, "bytes_done": transfer.bytes_done}
        later = timezone.now() + timedelta(seconds=delay_s)
        claims.finish(transfer, TransferState.QUEUED, not_before=later, **changes)
    else:
        _end(transfer, TransferState.FAILED, **changes)


def _left_alone_s(exc: AdapterError | StagingError) -> float | None:
    """How long a storage is left alone that was not even asked; None where it was."""
    if isinstance(exc, StorageClosed):
        return exc.retry_after_s or CLOSED_S
    return (exc.retry_after_s or 0) if isinstance(exc, NotTried) else None


def _wake_next(ended: Transfer) -> None:
    """A slot is free: wake workers for what waits for one."""
    for transfer in claims.refused(ended, limit=2):
        queue.enqueue_transfer(transfer)
