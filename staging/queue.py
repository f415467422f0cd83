"""The one place that sends work to Celery: by name, and only once the rows are committed."""

import structlog
from celery import Celery
from django.db import transaction
from kombu.exceptions import KombuError

from staging.models import Checkpoint, CopyJob, Transfer
from staging.states import TransferKind

log = structlog.get_logger(__name__)

_sender = Celery("waybill-sender", set_as_current=False)
_sender.config_from_object("django.conf:settings", namespace="CELERY")

#: What no worker has come to in this time is forgotten: the sweep tells again of all that is due, so that the queues
#: would grow without end where there is more to do than workers can.
WAKE_S = 60
#: Up to this priority somebody waits for the transfer.
_SOMEBODY_WAITS = 10


def enqueue_transfer(transfer: Transfer) -> None:
    """Wake a worker for a transfer after commit. A lost message does no harm: the sweep finds the row."""
    name, queue = str(transfer.pk), queue_of(transfer)
    transaction.on_commit(lambda: _send("workers.tasks.run_transfer", queue, name))


def enqueue_copy(job: CopyJob) -> None:
    """Wake a worker after commit that plans a copy job on; the sweep finds those that nobody was told of."""
    name = str(job.pk)
    transaction.on_commit(lambda: _send("workers.tasks.advance_copy", "bulk", name))


def enqueue_checkpoint(checkpoint: Checkpoint) -> None:
    """Have a worker look after commit whether the checkpoint is complete; the sweep would see it some seconds later."""
    name = str(checkpoint.pk)
    transaction.on_commit(lambda: _send("workers.tasks.advance_checkpoint", "maintenance", name))


def queue_of(transfer: Transfer) -> str:
    """Which workers it is for: long work keeps nobody waiting who frees space, or for whom somebody waits."""
    kind = TransferKind(transfer.kind)
    if kind.removes:
        return "eviction"
    if transfer.priority <= _SOMEBODY_WAITS:
        return "interactive"
    return "maintenance" if kind == TransferKind.VERIFY else "bulk"


def _send(task: str, queue: str, *arguments: str) -> None:
    try:
        _sender.send_task(task, args=arguments, queue=queue, expires=WAKE_S, retry=False, ignore_result=True)
    except (OSError, KombuError) as exc:
        log.warning("queue.unreachable", task=task, error=str(exc))
