"""`manage.py reseal_credentials`: the second step of a rotation of WAYBILL_SECRET_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand

from staging import credentials


class Command(BaseCommand):
    """Safe to repeat, and to run while gateways serve."""

    help = (
        "Seal every credential by the newest key of WAYBILL_SECRET_KEYS. An older key may be taken off the ring once "
        "this has run on all gateways' common database and the aliases made under it have expired."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(f"{credentials.reseal_all()} credentials sealed by the newest key.")
