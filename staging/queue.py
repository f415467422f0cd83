"""The one place that sends work to Celery: by name, and only once the rows are committed."""

import structlog
from celery import Celery
from django.db import transaction
from kombu.exceptions import KombuError

log = structlog.get_logger(__name__)

_sender = Celery("waybill-sender", set_as_current=False)
_sender.config_from_object("django.conf:settings", namespace="CELERY")


def enqueue_transfer(transfer_id: str) -> None:
    """Wake a worker for a transfer after commit. A lost message does no harm: the sweep finds the row."""
    transaction.on_commit(lambda: _send("workers.tasks.run_transfer", transfer_id))


def _send(task: str, *arguments: str) -> None:
    try:
        _sender.send_task(task, args=arguments, retry=False, ignore_result=True)
    except (OSError, KombuError) as exc:
        log.warning("queue.unreachable", task=task, error=str(exc))
