"""Bounds: what is opened is closed again."""

from __future__ import annotations

import os
import threading

from adapters.base import Adapter
from adapters.testkit.base import Contract


class Bounds(Contract):
    #: How many descriptors an adapter may keep for later beyond those it has after its first calls.
    spare_descriptors: int = 4

    def test_opening_and_closing_leaks_no_descriptor(self, adapter: Adapter, folder: str) -> None:
        self.store(adapter, f"{folder}object", self.content(300_000))
        self._open_and_close(adapter, folder, times=3)
        descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        self._open_and_close(adapter, folder, times=200)
        assert len(os.listdir("/proc/self/fd")) <= descriptors + self.spare_descriptors
        assert threading.active_count() <= threads + self.spare_descriptors

    def _open_and_close(self, adapter: Adapter, folder: str, *, times: int) -> None:
        for turn in range(times):
            with adapter.open_read(f"{folder}object") as stream:
                stream.read(1000)
            if turn % 10 == 0:
                adapter.open_write(f"{folder}never", size=None).abort()
                next(iter(adapter.scan(folder)))
