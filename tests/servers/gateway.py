"""A real gateway: gunicorn with a configuration of ``deploy/`` over any database, and a worker if wanted."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tests.servers.ports import free_port
from tests.servers.process import Process, Server

APT_PACKAGES: tuple[str, ...] = ()

ROOT = Path(__file__).resolve().parent.parent.parent


#: All that work is sent to.
QUEUES = "interactive,bulk,eviction,maintenance"


@dataclass
class Gateway(Server):
    """``folder`` holds its log; ``shared_data_dir`` the keys and storages it has in common with other processes."""

    folder: Path
    database_url: str = ""
    shared_data_dir: Path | None = None
    config: str = "gunicorn_embedded.py"
    application: str = "gateway.wsgi:application"
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "gateway.log"

    @property
    def pid(self) -> int:
        """The gunicorn master."""
        return self.processes[0].pid

    def environment(self) -> dict[str, str]:
        """The environment its commands run in."""
        return {
            **{name: value for name, value in os.environ.items() if name not in ("BROKER_URL", "CI")},
            "DATA_DIR": str(self.shared_data_dir or self.folder),
            "DATABASE_URL": self.database_url,
            "PORT": str(self.port),
            "WAYBILL_LOG_FORMAT": "json",
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
            **self.settings,
        }

    def launch(self) -> None:
        arguments = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "deploy" / self.config)]
        self._start("gateway", [*arguments, "--chdir", str(ROOT), self.application])
        self.processes[0].wait_ready(self.is_ready, what="/ready answers 200")

    def start_worker(self) -> Process:
        """A Celery worker with its schedule, in the same installation."""
        schedule = str(self.folder / "schedule")
        arguments = [sys.executable, "-m", "celery", "-A", "workers", "worker", "--beat", "-s", schedule]
        return self._start("worker", [*arguments, "--pool", "solo", "--loglevel", "warning", "--queues", QUEUES])

    def alias_path(self, token: str, name: str) -> str:
        return f"/a/{token}/{quote(name, safe='')}"

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _start(self, name: str, arguments: list[str]) -> Process:
        process = Process.start(name, arguments, log=self.folder / f"{name}.log", env=self.environment())
        self.processes.append(process)
        return process
