"""Transfers: claimed by conditional UPDATE, run, and finished only by whoever still holds the fence."""

import random
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from adapters.errors import AdapterError, Busy, Failing, NotTried
from staging import catalog, purging, queue
from staging.connections import release
from staging.errors import StagingError
from staging.models import Transfer
from staging.states import ReplicaState, TransferState
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

#: Full-jitter retry: a random wait of at most this many seconds, doubled with each attempt up to the cap.
RETRY_BASE_S = 2
RETRY_CAP_S = 900
#: What a transfer's row says that has not failed yet.
_UNTRIED = ("", Busy.code, Failing.code)


def run(transfer_id: str) -> None:
    """Do the transfer if it is due and nobody else does. Safe to call twice, late or never."""
    transfer = _claim(transfer_id)
    if transfer is None:
        return
    try:
        _delete_bytes(transfer)
    except (AdapterError, StagingError) as exc:
        _fail(transfer, exc)


def sweep(limit: int = 500) -> int:
    """Queue anew what lost its worker, and wake workers for all that is due; returns how many were woken."""
    now = timezone.now()
    Transfer.objects.filter(state=TransferState.RUNNING, lease_expires_at__lt=now).update(
        state=TransferState.QUEUED, lease_expires_at=None
    )
    due = Transfer.objects.filter(state=TransferState.QUEUED, not_before__lte=now).order_by("not_before")
    ids = list(due.values_list("pk", flat=True)[:limit])
    for transfer_id in ids:
        queue.enqueue_transfer(str(transfer_id))
    return len(ids)


def purge(before: datetime) -> int:
    """Remove rows of transfers that ended well before ``before``; returns how many."""
    return purging.purge(Transfer.objects.filter(state=TransferState.DONE, finished_at__lt=before))


def retry_delay_s(attempt: int, *, chance: float | None = None) -> float:
    """Seconds to wait before attempt ``attempt + 1``; ``chance`` in [0, 1) replaces the dice in tests."""
    ceiling = min(float(RETRY_CAP_S), RETRY_BASE_S * 2.0 ** min(attempt, 20))
    return ceiling * (random.random() if chance is None else chance)  # noqa: S311  jitter is no secret


def _claim(transfer_id: str) -> Transfer | None:
    now = timezone.now()
    due = Q(state=TransferState.QUEUED, not_before__lte=now)
    abandoned = Q(state=TransferState.RUNNING, lease_expires_at__lt=now)
    claimed = Transfer.objects.filter(due | abandoned, pk=transfer_id).update(
        state=TransferState.RUNNING,
        fence=F("fence") + 1,
        attempts=F("attempts") + 1,
        started_at=now,
        lease_expires_at=now + timedelta(seconds=settings.TRANSFER_LEASE_S),
    )
    if not claimed:
        return None
    return Transfer.objects.select_related("source__storage__credential").get(pk=transfer_id)


def _delete_bytes(transfer: Transfer) -> None:
    replica = transfer.source
    if replica is not None and replica.state == ReplicaState.DELETING:
        adapter = adapter_for(replica.storage)
        release()
        adapter.delete(replica.key)
    with transaction.atomic():
        if _finish(transfer, TransferState.DONE, bytes_done=transfer.size) and replica is not None:
            catalog.forget(replica)


def _fail(transfer: Transfer, exc: AdapterError | StagingError) -> None:
    changes: dict[str, object] = {}
    if transfer.error_code in _UNTRIED:
        changes = {"error_code": exc.code, "error_detail": str(exc)}
    delay_s, again = retry_delay_s(transfer.attempts), exc.transient and transfer.attempts < transfer.max_attempts
    if isinstance(exc, NotTried):
        # A storage that was not even asked has not failed the transfer: the attempt does not count.
        changes["attempts"], again = transfer.attempts - 1, True
        delay_s += exc.retry_after_s or 0
    if again:
        _finish(transfer, TransferState.QUEUED, not_before=timezone.now() + timedelta(seconds=delay_s), **changes)
    else:
        _finish(transfer, TransferState.FAILED, **changes)
    log.warning("transfer.failed", transfer=str(transfer.pk), error=exc.code, detail=str(exc), again=again)


def _finish(transfer: Transfer, state: TransferState, **changes: object) -> bool:
    """Write the outcome if the fence is still ours."""
    ended = None if state == TransferState.QUEUED else timezone.now()
    ours = Transfer.objects.filter(pk=transfer.pk, fence=transfer.fence, state=TransferState.RUNNING)
    return ours.update(state=state, lease_expires_at=None, finished_at=ended, **changes) == 1
