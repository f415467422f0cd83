"""Workers that a test may kill: processes of their own that do whatever is due, forked in no time from one that waits.

`python -m tests.servers.mortals` forks one for each line that it reads, and answers with its number.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.process import wait_until

#: How long a worker waits where nothing is due.
IDLE_S = 0.005


class Mortals:
    """The process that forks, and those that it forked: ``with Mortals(folder, environment) as mortals: ...``."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.log = folder / "mortals.log"
        self._environment = {**os.environ, **environment}
        self._alive: set[int] = set()

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "tests.servers.mortals"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in list(self._alive):
            self.kill(pid)
        self._parent.communicate(timeout=30)

    def start(self) -> int:
        """A worker more; its process's number."""
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.write("\n")
        self._parent.stdin.flush()
        pid = int(self._parent.stdout.readline())
        self._alive.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        """End it at once, wherever it is; returns when it is gone."""
        self._alive.discard(pid)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), what=f"the process {pid} is gone")


def main() -> None:
    """Fork on request. Nothing here has a connection to the database, which a fork would share."""
    import django

    django.setup()
    from django.db import connection

    from staging import queue, transfers
    from tests.servers import faulty

    faulty.install()
    connection.ensure_connection  # noqa: B018  loads the database's driver, and opens nothing
    gc.freeze()
    queue._send = lambda *_: None  # Nobody is woken: all look by themselves.
    transfers.RETRY_BASE_S = 0
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for the dead.
    while sys.stdin.readline():
        pid = os.fork()
        if not pid:
            os.close(0)
            work()
        print(pid, flush=True)


def work() -> None:
    """What a worker does, for ever."""
    from django.utils import timezone

    from staging import transfers
    from staging.models import Transfer
    from staging.states import TransferState

    while True:
        transfers.sweep()
        due = Transfer.objects.filter(state=TransferState.QUEUED, not_before__lte=timezone.now())
        for name in list(due.order_by("priority", "not_before").values_list("pk", flat=True)[:10]):
            transfers.run(str(name))
        time.sleep(IDLE_S)


if __name__ == "__main__":
    main()
