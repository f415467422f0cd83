"""The Celery application."""

import os
from pathlib import Path

from celery import Celery
from celery.signals import task_postrun, worker_process_shutdown, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

from django.conf import settings

from workers.schedule import SCHEDULE

app = Celery("waybill")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = SCHEDULE
app.conf.beat_schedule_filename = str(settings.DATA_DIR / "celerybeat-schedule")
app.autodiscover_tasks(["workers"])

if not settings.BROKER_URL:
    for name in ("broker", "broker-control"):
        Path(settings.DATA_DIR, name).mkdir(mode=0o700, exist_ok=True)


@task_postrun.connect
def write_health_down(**_: object) -> None:
    """Between tasks no byte moves."""
    from staging import health

    health.write_down()


@worker_process_shutdown.connect
def close_connections(**_: object) -> None:
    """Leave no storage connection open when a worker process ends."""
    from staging.storages import close_adapters

    close_adapters()


@worker_shutting_down.connect
def hand_transfers_back(**_: object) -> None:
    """Long copies are not waited for: they stop, and another worker goes on with them."""
    from staging import claims

    claims.stopping.set()
