"""A bounded number of gfal2 processes for one storage, kept for a while between two uses."""

from __future__ import annotations

import threading
import time

from adapters.errors import Unavailable
from adapters.gfal_client import GfalProcess
from adapters.gfal_credential import CredentialFile
from adapters.gfal_settings import Endpoint

#: How many idle processes are kept, and for how long.
SPARE = 4
IDLE_S = 60.0
#: A process that was used this recently is trusted without asking.
TRUSTED_S = 1.0


class GfalPool:
    """Thread-safe. At most ``max_processes`` exist; each belongs to one user between ``take`` and ``give_back``."""

    def __init__(self, endpoint: Endpoint, *, idle_s: float = IDLE_S) -> None:
        self._endpoint = endpoint
        self._credential = CredentialFile(endpoint.credential)
        self._idle_s = idle_s
        self._slots = threading.BoundedSemaphore(endpoint.max_processes)
        self._lock = threading.Lock()
        self._idle: list[GfalProcess] = []
        self._busy = 0
        self._sweeper: threading.Timer | None = None
        self._closed = False

    def take(self) -> GfalProcess:
        """A process whose session worked a moment ago. Raises what starting one raises, and Unavailable without one."""
        wait_s = self._endpoint.connect_timeout_s
        if not self._slots.acquire(timeout=wait_s):
            detail = f"all {self._endpoint.max_processes} gfal2 processes (max_processes) stayed in use for {wait_s} s"
            raise Unavailable(detail, storage=self._endpoint.storage)
        with self._lock:
            self._busy += 1
        try:
            while (process := self._pop()) is not None:
                recent = time.monotonic() - process.idle_since < TRUSTED_S
                if process.runs if recent else process.answers():
                    return process
                process.close()
            return self.start()
        except BaseException:
            self._release()
            raise

    def give_back(self, process: GfalProcess) -> None:
        """Keep the process for the next user, or end it where it is not usable or enough are kept."""
        try:
            process.idle_since = time.monotonic()
            if not (process.runs and self._keep(process)):
                process.close()
        finally:
            self._release()

    def close(self) -> None:
        """End the idle processes, and from now on every other one when it is given back; then the credential goes."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            if self._sweeper is not None:
                self._sweeper.cancel()
        for process in idle:
            process.close()
        self._forget_credential()

    def start(self) -> GfalProcess:
        """A process with a session that is none of the pool's; the caller closes it."""
        process = GfalProcess(self._endpoint, self._credential)
        try:
            process.enter_root()
        except BaseException:
            process.close()
            raise
        return process

    def _release(self) -> None:
        with self._lock:
            self._busy -= 1
        self._slots.release()
        self._forget_credential()

    def _forget_credential(self) -> None:
        with self._lock:
            if self._closed and not self._busy:
                self._credential.remove()

    def _pop(self) -> GfalProcess | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, process: GfalProcess) -> bool:
        with self._lock:
            if self._closed or len(self._idle) >= SPARE:
                return False
            self._idle.append(process)
            if self._sweeper is None:
                self._plan_sweep()
            return True

    def _plan_sweep(self) -> None:
        """Look again when the process that has been idle longest becomes stale."""
        wait_s = self._idle[0].idle_since + self._idle_s - time.monotonic()
        self._sweeper = threading.Timer(max(wait_s, 0.01), self._sweep)
        self._sweeper.daemon = True
        self._sweeper.start()

    def _sweep(self) -> None:
        stale_since = time.monotonic() - self._idle_s
        with self._lock:
            self._sweeper = None
            stale = [process for process in self._idle if process.idle_since <= stale_since]
            self._idle = [process for process in self._idle if process.idle_since > stale_since]
            if self._idle:
                self._plan_sweep()
        for process in stale:
            process.close()
