"""A server and its processes: found, started with a log file, waited for by a condition, ended by pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self


class ProgramMissing(RuntimeError):
    """A program that a server needs is not installed; the message names the Debian package."""


class ServerFailed(RuntimeError):
    """A server ended or did not become ready; the message holds the end of its log."""


def find_program(name: str, *, package: str, folders: Sequence[Path] = ()) -> str:
    """The path of a program on PATH, in ``/usr/sbin`` or in ``folders``; raises ProgramMissing."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", *map(str, folders)])
    found = shutil.which(name, path=path)
    if found is None:
        raise ProgramMissing(f"{name} is not installed: apt-get install {package} (or python -m tests.servers.install)")
    return found


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float = 60.0) -> None:
    """Return once ``condition()`` holds; raises ServerFailed naming ``what`` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ServerFailed(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.02)  # between two looks at the condition


@dataclass
class Process:
    """A started program, leader of its own process group."""

    name: str
    log: Path
    popen: subprocess.Popen[bytes]

    @classmethod
    def start(cls, name: str, arguments: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> Process:
        """Start it with standard output and error appended to ``log``."""
        with log.open("ab") as output:
            popen = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else None,
                start_new_session=True,
            )
        return cls(name=name, log=log, popen=popen)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def wait_ready(self, condition: Callable[[], bool], *, what: str, timeout_s: float = 60.0) -> None:
        """Like ``wait_until``, but a process that ends meanwhile raises ServerFailed at once and is not left behind."""

        def ready_or_ended() -> bool:
            return self.popen.poll() is not None or condition()

        try:
            wait_until(ready_or_ended, what=f"{self.name}: {what}", timeout_s=timeout_s)
        except ServerFailed as exc:
            self.kill()
            raise ServerFailed(f"{exc}\n{self.last_words()}") from exc
        if self.popen.returncode is not None:
            raise ServerFailed(f"{self.name} ended with status {self.popen.returncode}\n{self.last_words()}")

    def stop(self, ask: signal.Signals = signal.SIGTERM, *, timeout_s: float = 15.0) -> None:
        """Ask it to end, and end it when it does not in time. Idempotent."""
        if self.popen.poll() is None:
            self.popen.send_signal(ask)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End it and its children without a word, as a crash would. Idempotent."""
        if self.popen.poll() is None:
            # The group's number is the leader's pid, and is ours for as long as the leader was not waited for.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()

    def last_words(self, count: int = 2_000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-count:] if self.log.exists() else "(no log)"


@dataclass
class Server(ABC):
    """One or more processes that make up a server: ``with Redis(folder) as server: ...``, or ``start`` and ``stop``."""

    processes: list[Process] = field(default_factory=list, init=False)

    @abstractmethod
    def launch(self) -> None:
        """Start the processes, append each to ``processes`` and return once the server answers."""

    def start(self) -> Self:
        """Launch it. Raises ProgramMissing or ServerFailed, and leaves nothing running then."""
        try:
            self.launch()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End it in good order. Idempotent."""
        while self.processes:
            self.processes.pop().stop()

    def kill(self) -> None:
        """End it as a crash would. Idempotent."""
        while self.processes:
            self.processes.pop().kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
