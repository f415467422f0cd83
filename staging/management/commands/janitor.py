"""`manage.py janitor`: one run of what the scheduler does every minute."""

from typing import Any

from django.core.management.base import BaseCommand

from staging import janitor, transfers


class Command(BaseCommand):
    """For operators without a scheduler, and for a look at what there is to do."""

    help = "Settle what crashed uploads left behind, purge old rows, and wake workers for transfers that are due."

    def handle(self, *_args: Any, **_options: Any) -> None:
        done = janitor.sweep()
        self.stdout.write(
            f"uploads: {done.adopted} adopted, {done.removed} removed, {done.postponed} postponed; "
            f"old rows purged: {done.purged}; transfers woken: {transfers.sweep()}"
        )
