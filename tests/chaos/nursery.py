"""Gateways, workers and schedulers to be killed: each is forked in no time from a process that has loaded everything.

What a process is at work on stands in the folder ``doing``, a file for each piece of work, so that a killer can choose.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from tests.servers.gateway import QUEUES, ROOT

#: How often each chore is done, in seconds.
_CHORES_S = {
    "transfers.sweep": 2.0,
    "tiers.sweep": 0.6,
    "cache.sweep": 1.0,
    "nodes.sweep": 5.0,
    "janitor.sweep": 1.0,
    "upkeep.reconcile": 1.0,
    "upkeep.scrub": 5.0,
}
#: What takes minutes in an installation takes seconds here.
_SETTINGS = {
    "TRANSFER_LEASE_S": 2,
    "UPLOAD_LEASE_S": 3,
    "UPLOAD_KEEP_S": 3,
    "REPLACED_KEEP_S": 0,
    "BREAKER_SPAN_S": 2,
    "BREAKER_MAX_WAIT_S": 1,
    "WAIT_S": 0,
}
_DIE_WITH_PARENT = 1
#: What changes rows alone is over in no time: before and behind it, before it is committed, there is time to be killed.
_IN_NO_TIME = ("plan", "share", "rename", "drain", "checkpoint", "restore", "unpin", "demote")
_PAUSE_S = 0.02


class Nursery:
    """``with Nursery(folder) as nursery: nursery.start("worker")``; to be begun before any thread or connection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "doing").mkdir()

    def __enter__(self) -> Nursery:
        requests, self._requests = os.pipe()
        answers, answering = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._requests)
            os.close(answers)
            try:
                _serve(self.folder, os.fdopen(requests), os.fdopen(answering, "w"))
            finally:
                os._exit(0)
        os.close(requests)
        os.close(answering)
        self._answers = os.fdopen(answers)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._requests)
        os.waitpid(self._pid, 0)
        self._answers.close()

    def start(self, role: str) -> int:
        """A process more: ``gateway PORT``, ``worker`` or ``scheduler``; the number of its group."""
        os.write(self._requests, f"{role}\n".encode())
        return int(self._answers.readline())

    def doing(self) -> list[tuple[int, str]]:
        """What is being done at this moment: the process's number and the kind of work."""
        found = [path.name.split("-")[:2] for path in (self.folder / "doing").iterdir()]
        return [(int(pid), kind) for pid, kind in found]

    def take_work_of(self, pids: set[int]) -> list[str]:
        """What dead processes were at work on; it is forgotten."""
        kinds = []
        for path in (self.folder / "doing").iterdir():
            pid, kind, _ = path.name.split("-")
            if int(pid) in pids:
                path.unlink()
                kinds.append(kind)
        return kinds


def load() -> None:
    """Load all that the processes need, changed to run faster than in life."""
    from django.conf import settings
    from django.db import connection

    from staging import claims, leases, resuming, transfers
    from tests.servers import faulty
    from workers import schedule
    from workers.app import app

    for name in ("gateway.urls", "gateway.wsgi", "gunicorn.app.wsgiapp", "gateway.server"):
        import_module(name)
    faulty.install()
    for name, value in _SETTINGS.items():
        setattr(settings, name, value)
    transfers.RETRY_BASE_S, transfers.RETRY_CAP_S, transfers.CLOSED_S = 0.05, 1, 1
    leases.CONFIRM_S = resuming.CONFIRM_S = claims.CONFIRM_S = 1
    resuming.HANDOVER_S = 2
    schedule.EVERY_S.update(_CHORES_S)
    for name, entry in schedule.SCHEDULE.items():
        entry["schedule"] = _CHORES_S[name]
    app.loader.import_default_modules()
    app.finalize()
    connection.ensure_connection  # noqa: B018  loads the database's driver, and opens nothing


def _serve(folder: Path, requests: IO[str], answers: IO[str]) -> None:
    """Fork on request, until nobody asks any more; then all end."""
    _note_all_work(folder / "doing")
    gc.freeze()
    log = os.open(folder / "processes.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGCHLD, _bury)
    for line in requests:
        pid = os.fork()
        if not pid:
            try:
                os.setpgid(0, 0)
                ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                faulthandler.register(signal.SIGUSR2, all_threads=True)
                os.close(requests.fileno())
                os.close(answers.fileno())
                role, *arguments = line.split()
                _ROLES[role](folder, *arguments)
            finally:
                os._exit(1)
        with suppress(OSError):
            os.setpgid(pid, pid)
        print(pid, file=answers, flush=True)


def _bury(*_: object) -> None:
    """Forget the dead, but for the time that they took."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _gateway(_folder: Path, port: str) -> None:
    from gunicorn.app.wsgiapp import WSGIApplication

    os.environ["PORT"] = port
    sys.argv = ["gunicorn", "-c", str(ROOT / "deploy" / "gunicorn_embedded.py"), "gateway.wsgi:application"]
    WSGIApplication("").run()


def _worker(_folder: Path) -> None:
    from workers.app import app

    warnings.simplefilter("ignore")  # It is root that runs it, in CI.
    name = f"worker{os.getpid()}@chaos"
    quick = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True, "quiet": True}
    app.Worker(pool="threads", concurrency=4, queues=QUEUES, loglevel="WARNING", hostname=name, **quick).start()


def _scheduler(folder: Path) -> None:
    from workers.app import app

    app.Beat(schedule=str(folder / "schedule"), max_interval=0.2, loglevel="WARNING", quiet=True).run()


_ROLES: dict[str, Callable[..., None]] = {"gateway": _gateway, "worker": _worker, "scheduler": _scheduler}


def _note_all_work(folder: Path) -> None:
    """Have every piece of work noted while it is done."""
    from gateway.data import download, upload
    from staging import (
        checkpoint_work,
        checkpoints,
        copy_jobs,
        copying_within,
        drains,
        janitor,
        objects,
        renaming,
        retiring,
        sharing,
        tiers,
        transfers,
        upkeep,
    )

    for kind, work in transfers._WORK.items():
        transfers._WORK[kind] = _noted(folder, str(kind.value), work)  # type: ignore[index]
    for module, name, kind in [
        (upload, "_receive", "put"),
        (download, "answer", "get"),
        (retiring, "delete", "remove"),
        (renaming, "rename", "rename"),
        (drains, "advance", "drain"),
        (janitor, "_settle", "janitor"),
        (copying_within, "_copy", "within"),
        (copy_jobs, "_plan_page", "plan"),
        (sharing, "share", "share"),
        (checkpoints, "_fill", "checkpoint"),
        (checkpoint_work, "_make_safe", "checkpoint"),
        (checkpoint_work, "_restore", "restore"),
        (checkpoint_work, "_release", "unpin"),
        (objects, "demote", "demote"),
        (tiers, "_relieve", "relieve"),
        (upkeep, "reconcile", "reconcile"),
        (transfers, "sweep", "sweep"),
    ]:
        setattr(module, name, _noted(folder, kind, getattr(module, name)))


def _noted(folder: Path, kind: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def noting(*arguments: Any, **named: Any) -> Any:
        pause_s = _PAUSE_S if kind in _IN_NO_TIME else 0
        with _note(folder / f"{os.getpid()}-{kind}-{threading.get_ident()}"):
            time.sleep(pause_s)
            done = work(*arguments, **named)
            time.sleep(pause_s)
            return done

    return noting


@contextmanager
def _note(path: Path) -> Iterator[None]:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
