"""`manage.py up`: migrate, bootstrap, and run gateway, worker and scheduler under one supervisor until Ctrl-C."""

import os
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections

from gateway.management import preflight
from gateway.management.supervisor import Supervisor

_python = sys.executable
_worker = (
    f"exec {_python} -m celery --quiet -A workers worker --pool threads --concurrency 4 --loglevel warning "
    "--without-gossip --without-mingle --without-heartbeat"
)
_COMMANDS = {
    "gateway": f"exec {_python} -m gunicorn -c deploy/gunicorn_embedded.py gateway.wsgi:application",
    "worker": f"{_worker} --queues interactive,eviction,maintenance --hostname short@%h",
    "mover": f"{_worker} --queues bulk --hostname bulk@%h",
    "scheduler": f"exec {_python} -m celery --quiet -A workers beat --loglevel warning --pidfile=",
}


class Command(BaseCommand):
    """What `make up` runs."""

    help = "Set up the database and run gateway, worker and scheduler together until Ctrl-C. Keeps all data."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--processes", default="gateway,worker,mover,scheduler", help="which of them to run")

    def handle(self, *_args: Any, **options: Any) -> None:
        names = options["processes"].split(",")
        if unknown := set(names) - set(_COMMANDS):
            raise CommandError(f"--processes: {', '.join(sorted(unknown))} is none of {', '.join(_COMMANDS)}")
        preflight.check()
        try:
            call_command("migrate", verbosity=0)
            call_command("bootstrap", stdout=self.stdout)
        except Error as exc:
            raise CommandError(f"The catalog cannot be set up: {exc}") from exc
        connections.close_all()
        self.stdout.flush()
        supervisor = Supervisor(on_ready=self._welcome)
        for name in names:
            supervisor.add_process(name, _COMMANDS[name], cwd=str(settings.BASE_DIR), env=_environment())
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))  # the terminal was closed
        supervisor.loop()
        if not supervisor.was_asked:
            raise CommandError("One of the processes ended by itself, so all were stopped; its lines above say why.")

    def _welcome(self) -> None:
        self.stdout.write(_welcome())
        self.stdout.flush()


def _environment() -> dict[str, str]:
    """Celery need not warn of root in a worker that runs no code but ours and reads its broker from our own folder."""
    quiet = "ignore:You're running the worker with superuser privileges"
    warnings = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), quiet]))
    return {**os.environ, "PYTHONWARNINGS": warnings, "PYTHONUNBUFFERED": "1"}


def _welcome() -> str:
    url, env = settings.PUBLIC_URL, settings.DATA_DIR / "quickstart.env"
    call = 'curl -fsS -H "Authorization: Bearer $WAYBILL_KEY" -H "Content-Type: application/json" -d'
    body = '{"bucket":"scratch","key":"hello.txt","mode":"write"}'
    pick = """grep -o '"url": *"[^"]*"' | cut -d'"' -f4"""
    create = f"{call} '{body}' $WAYBILL_URL/api/v1/aliases | {pick}"
    return f"""
Waybill is ready:  {url}
Web admin:         {url}/admin/  (sign in as 'admin')
API documentation: {url}/api/v1/docs

Create an alias, upload and download with curl (paste these three lines into another terminal):

  . {env}; OUT=$({create})
  echo "hello, world" > hello.txt; curl -fsS -T hello.txt "$OUT"
  IN=$({create.replace("write", "read")}); curl -fsS "$IN"

Ctrl-C stops everything.
"""
