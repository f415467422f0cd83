"""Claims: a worker's time-limited right to one transfer, with a fencing number that makes it harmless once late."""

import threading
import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from staging.connections import release
from staging.errors import LeaseLost, StagingError
from staging.models import Storage, Transfer
from staging.states import TransferKind, TransferState

#: Progress is written down, and the claim confirmed, no more seldom than this.
CONFIRM_S = 3.0
#: One worker may be killed any time. Work that has lost so many says so: it may be what ends them.
OFTEN = 3
WORKER_LOST = {
    "error_code": "worker_lost",
    "error_detail": "Its workers were killed, or failed in a way that their logs tell; it is tried again.",
}
#: What a transfer's row says that is tried anew; when is for the caller to say.
ANEW: Mapping[str, object] = {
    "state": TransferState.QUEUED,
    "attempts": 0,
    "finished_at": None,
    "cancelled_at": None,
    "error_code": "",
    "error_detail": "",
    "last_error_code": "",
    "last_error_detail": "",
}
REMOVING = [kind for kind in TransferKind if kind.removes]

#: Set when this process is told to end: transfers that run are handed back with what they have done.
stopping = threading.Event()


class TransferCancelled(StagingError):
    """Somebody cancelled the transfer."""

    code = "cancelled"


class WorkerStops(StagingError):
    """The worker was told to end, so that another goes on with the transfer."""

    code = "worker_stops"
    transient = True


def take(transfer_id: str) -> Transfer | None:
    """Claim the transfer if it is due, nobody else runs it, and its storages have a slot free; None otherwise."""
    now = timezone.now()
    due = Q(state=TransferState.QUEUED, not_before__lte=now)
    abandoned = Q(state=TransferState.RUNNING, lease_expires_at__lt=now)
    with transaction.atomic():
        rows = Transfer.objects.filter(due | abandoned, pk=transfer_id)
        # Whoever ends a transfer has its row first and its storages' then; in the other order each would wait for the
        # other. A row that somebody has is being ended or claimed.
        mine = rows.select_for_update(of=("self",), no_key=True, skip_locked=True)
        found = mine.select_related("source", "job__source_bucket").first()
        if found is None or not _has_slot(found, now):
            return None
        claimed = Transfer.objects.filter(due | abandoned, pk=transfer_id, fence=found.fence).update(
            state=TransferState.RUNNING,
            fence=F("fence") + 1,
            attempts=F("attempts") + 1,
            started_at=now,
            lease_expires_at=_lease_end(),
        )
    if not claimed:
        return None
    rows = Transfer.objects.select_related(
        "source__storage__credential",
        "source__object__bucket",
        "target__credential",
        "object__bucket__storage",
        "job__source_bucket__storage__credential",
        "job__target_bucket__storage__credential",
        "job__alias",
    )
    return rows.get(pk=transfer_id)


class Claim:
    """Keeps the lease of a running transfer, tells how far it is, and notices that it is to end."""

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        self._due_s = min(CONFIRM_S, settings.TRANSFER_LEASE_S / 3)
        self._confirm_at = time.monotonic() + self._due_s

    def keep(self, bytes_done: int) -> None:
        """To be called before each write. Raises LeaseLost, TransferCancelled and WorkerStops."""
        if stopping.is_set():
            raise WorkerStops
        if time.monotonic() > self._confirm_at:
            self.confirm(bytes_done)

    def confirm(self, bytes_done: int) -> None:
        """The same at once, whenever the last time was."""
        mine = owned(self.transfer)
        if not mine.filter(cancelled_at=None).update(lease_expires_at=_lease_end(), bytes_done=bytes_done):
            is_mine = mine.exists()
            release()
            raise TransferCancelled if is_mine else LeaseLost("Another worker has taken the transfer over.")
        release()
        self._confirm_at = time.monotonic() + self._due_s


def owned(transfer: Transfer) -> QuerySet[Transfer]:
    """The row as long as nobody else has claimed it."""
    return Transfer.objects.filter(pk=transfer.pk, fence=transfer.fence, state=TransferState.RUNNING)


def finish(transfer: Transfer, state: TransferState, **changes: object) -> bool:
    """Write the outcome if the claim still holds."""
    ended = None if state == TransferState.QUEUED else timezone.now()
    return owned(transfer).update(state=state, lease_expires_at=None, finished_at=ended, **changes) == 1


def _lease_end() -> datetime:
    return timezone.now() + timedelta(seconds=settings.TRANSFER_LEASE_S)


def _has_slot(transfer: Transfer, now: datetime) -> bool:
    """Whether every storage that it works on may have one transfer more. Those who ask take turns by its row."""
    removes = TransferKind(transfer.kind).removes
    # Rows are locked in one order, so that two who ask never wait for each other.
    storages = _storages_of(transfer).select_for_update(no_key=True).order_by("pk")
    return all(_running(storage, removes, now) < storage.max_transfers for storage in storages)


def _storages_of(transfer: Transfer) -> QuerySet[Storage]:
    wanted = {transfer.target_id, *([transfer.source.storage_id] if transfer.source else [])}
    if transfer.job and transfer.job.source_bucket.mounted:
        wanted.add(transfer.job.source_bucket.storage_id)
    return Storage.objects.filter(pk__in=wanted)


def _running(storage: Storage, removes: bool, now: datetime) -> int:
    read_by_jobs = Q(job__source_bucket__storage=storage, job__source_bucket__mounted=True)
    here = Transfer.objects.filter(Q(target=storage) | Q(source__storage=storage) | read_by_jobs)
    alike = here.filter(kind__in=REMOVING) if removes else here.exclude(kind__in=REMOVING)
    return alike.filter(state=TransferState.RUNNING, lease_expires_at__gte=now).count()


def refused(ended: Transfer, limit: int) -> list[Transfer]:
    """Those that may have found no slot because of the transfer that has ended now.

    Where a slot had been free all the time none had to wait: telling workers of them again is work for nothing, which
    is most where there is too much of it.
    """
    removes, now = TransferKind(ended.kind).removes, timezone.now()
    if all(_running(storage, removes, now) + 1 < storage.max_transfers for storage in _storages_of(ended)):
        return []
    return next_at([ended.target_id], limit)


def next_at(storages: Collection[int], limit: int) -> list[Transfer]:
    """Transfers that wait for a slot at one of the storages and are due, the most urgent first."""
    due = Transfer.objects.filter(state=TransferState.QUEUED, not_before__lte=timezone.now())
    return list(due.filter(target__in=storages).order_by("priority", "not_before")[:limit])
