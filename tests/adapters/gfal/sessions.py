"""Losing the line to a GridFTP server, whose data connections pass by any proxy: by what its processes suffer.

A session's process that is killed cuts its control and data connections, one that is stopped keeps them and is silent.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from tests.servers.gridftp import GridFtp


class Sessions:
    """What the kit's network tests ask of a proxy, done to one server."""

    def __init__(self, server: GridFtp) -> None:
        self._server = server
        self._restored = threading.Event()
        self._cutter: threading.Thread | None = None

    def cut_after(self, count: int) -> None:
        self._restored.clear()
        start = self._moved()
        self._cutter = threading.Thread(target=self._cut_at, args=(start + count,), daemon=True)
        self._cutter.start()

    def stall(self) -> None:
        self._server.stall()

    def refuse(self) -> None:
        self._server.kill()

    def restore(self) -> None:
        self._restored.set()
        if self._cutter is not None:
            self._cutter.join()
        self._server.resume()
        if not self._server.processes:
            self._server.start()

    def _cut_at(self, count: int) -> None:
        while not self._restored.wait(0.0005):  # between two looks at the counters
            if self._moved() >= count:
                self._server.kill()
                return

    def _moved(self) -> int:
        """How many bytes the sessions have read and written."""
        return sum(_counted(pid) for pid in self._server.sessions())


def _counted(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        counters = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(counters["rchar"]) + int(counters["wchar"])
    return 0
