"""The tasks: three lines each. A task may run twice, late or never; the row decides."""

from celery import shared_task

from staging import janitor, transfers


@shared_task
def run_transfer(transfer_id: str) -> None:
    """Do one transfer."""
    transfers.run(transfer_id)


@shared_task
def sweep_transfers() -> None:
    """Wake workers for whatever lost its message."""
    transfers.sweep()


@shared_task
def sweep_leftovers() -> None:
    """Settle what crashed writers left behind."""
    janitor.sweep()
