"""`manage.py up`: migrate, bootstrap, and run gateway, worker and scheduler under one supervisor until Ctrl-C."""

import os
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections
from honcho.manager import Manager

READY_WITHIN_S = 60


class Command(BaseCommand):
    """What `make up` runs."""

    help = "Set up the database and run gateway, worker and scheduler together until Ctrl-C. Keeps all data."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--processes", default="gateway,worker,scheduler", help="which of them to run")

    def handle(self, *_args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        call_command("bootstrap")
        connections.close_all()
        manager = Manager()
        manager.kill_wait = 30
        for name in options["processes"].split(","):
            manager.add_process(name, _COMMANDS[name], cwd=str(settings.BASE_DIR), env=dict(os.environ), quiet=False)
        threading.Thread(target=_announce, args=(self,), daemon=True).start()
        manager.loop()
        sys.exit(manager.returncode)


def _announce(command: BaseCommand) -> None:
    """Wait until the gateway is ready, then say how to use it."""
    host = "127.0.0.1" if settings.HOST in ("0.0.0.0", "::") else settings.HOST  # noqa: S104  compared, not bound
    probe, deadline = f"http://{host}:{settings.PORT}/ready", time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(probe, timeout=2):
                command.stdout.write(_welcome())
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    command.stderr.write(f"The gateway is not ready after {READY_WITHIN_S} s; see its log above and {probe}")


def _welcome() -> str:
    url, env = settings.PUBLIC_URL, settings.DATA_DIR / "quickstart.env"
    call = 'curl -fsS -H "Authorization: Bearer $WAYBILL_KEY" --json'
    body = '{"bucket":"scratch","key":"hello.txt","mode":"write"}'
    pick = """grep -o '"url": *"[^"]*"' | cut -d'"' -f4"""
    create = f"{call} '{body}' $WAYBILL_URL/api/v1/aliases | {pick}"
    return f"""
Waybill is ready:  {url}
Web admin:         {url}/admin/
API documentation: {url}/api/v1/docs

Create an alias, upload and download with curl (paste these three lines into another terminal):

  . {env}; OUT=$({create})
  echo "hello, world" > hello.txt; curl -fsS -T hello.txt "$OUT"
  IN=$({create.replace("write", "read")}); curl -fsS "$IN"

Ctrl-C stops everything.
"""


_python = sys.executable
_COMMANDS = {
    "gateway": f"{_python} -m gunicorn -c deploy/gunicorn_embedded.py gateway.wsgi:application",
    "worker": f"{_python} -m celery -A workers worker --concurrency 2 --loglevel warning "
    "--without-gossip --without-mingle",
    "scheduler": f"{_python} -m celery -A workers beat --loglevel warning --pidfile=",
}
