"""The other end of a process that moves files as it is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.clients import WrongAnswer
from tests.bench.usage import ProcessTree
from tests.servers.gateway import ROOT


class Driver:
    """A process with one worker of ``driven.WORKERS``, which knows its ``settings`` already."""

    def __init__(self, kind: str, settings: Mapping[str, Any]) -> None:
        command = [sys.executable, "-m", "tests.bench.grid.driven"]
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._send({"kind": kind, **settings})

    def do(self, deed: str, lanes: Sequence[Sequence[Sequence[object]]]) -> float:
        """Its seconds. Raises WrongAnswer where it failed; the process has said why."""
        return self._order(deed=deed, lanes=lanes)

    def renew(self) -> None:
        """End its connections: the next order begins with connecting."""
        self._order(deed="renew")

    def usage(self) -> ProcessTree:
        """What it and the programs that it starts cost from now on."""
        return ProcessTree(self._process.pid)

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _order(self, **order: object) -> float:
        assert self._process.stdout is not None
        self._send(order)
        answer = self._process.stdout.readline()
        if not answer:
            raise WrongAnswer(f"the process that was to {order['deed']} has ended")
        return float(answer)

    def _send(self, told: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        print(json.dumps(told), file=self._process.stdin, flush=True)
