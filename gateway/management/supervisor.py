"""The supervisor of `manage.py up`: honcho, which ends all processes when one ends, with a word when they are ready."""

import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import honcho.manager
from django.conf import settings

READY_WITHIN_S = 60
#: honcho kills what has not stopped by then. Streams have 20 s to finish (deploy/gunicorn_embedded.py).
STOP_WITHIN_S = 25
honcho.manager.KILL_WAIT = STOP_WITHIN_S


class Supervisor(honcho.manager.Manager):
    """Calls ``on_ready`` once the gateway serves; ``was_asked`` tells a stop by a signal from one by a failure."""

    def __init__(self, on_ready: Callable[[], object]) -> None:
        super().__init__()
        self._on_ready = on_ready

    @property
    def was_asked(self) -> bool:
        """Whether ``loop`` returned because of SIGINT or SIGTERM."""
        return self.returncode in {signal_["rc"] for signal_ in honcho.manager.SIGNALS.values()}

    def _start(self) -> None:
        """Threads come after the processes were forked, so that none of these inherits a lock that is held."""
        super()._start()
        for work in (self._announce, self._watch_make):
            threading.Thread(target=work, daemon=True).start()

    def _announce(self) -> None:
        host = "127.0.0.1" if settings.HOST in ("0.0.0.0", "::") else settings.HOST  # noqa: S104  compared, not bound
        probe, deadline = f"http://{host}:{settings.PORT}/ready", time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(probe, timeout=2):
                    self._on_ready()
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        sys.stderr.write(f"The gateway is not ready after {READY_WITHIN_S} s; see its lines above and {probe}\n")

    def _watch_make(self) -> None:
        """Stop when the process that started us is gone, or was interrupted alone.

        GNU make that is sent SIGINT by itself (not by the terminal, which tells the whole group) restores the signal's
        default action and waits for us without a word, so that action is all there is to see.
        """
        parent = os.getppid()
        caught = _catches_interrupt(parent)
        while os.getppid() == parent and _catches_interrupt(parent) == caught:
            time.sleep(0.5)
        if self.returncode is None:
            os.kill(os.getpid(), signal.SIGTERM)


def _catches_interrupt(pid: int) -> bool:
    """Whether the process has a handler for SIGINT, by the bit mask in its status; false where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    mask = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(mask >> (signal.SIGINT - 1) & 1)
