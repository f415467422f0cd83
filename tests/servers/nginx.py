"""nginx with a given configuration file, in the foreground."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.ports import is_listening
from tests.servers.process import Process, Server, find_program

APT_PACKAGES = ("nginx",)


@dataclass
class Nginx(Server):
    """``folder`` is nginx's prefix: relative paths in ``config`` lie below it.

    ``config`` says nothing of ``daemon``; the server is ready once it listens on all of ``ports``.
    """

    config: Path
    folder: Path
    ports: Sequence[int]

    def test(self) -> str:
        """What ``nginx -t`` says of the configuration; raises CalledProcessError, its output attached, on a fault."""
        self.folder.mkdir(parents=True, exist_ok=True)
        answer = subprocess.run([*self._command(), "-t"], check=True, text=True, capture_output=True, timeout=30)
        return answer.stderr

    def launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = [*self._command(), "-g", "daemon off;"]
        process = Process.start("nginx", arguments, log=self.folder / "nginx.log")
        self.processes.append(process)
        process.wait_ready(lambda: all(map(is_listening, self.ports)), what=f"listening on {list(self.ports)}")

    def reload(self) -> None:
        """Read the configuration again; connections that are open finish under the old one."""
        for process in self.processes:
            process.popen.send_signal(signal.SIGHUP)

    def _command(self) -> list[str]:
        program = find_program("nginx", package="nginx")
        return [program, "-p", str(self.folder.resolve()), "-c", str(self.config.resolve()), "-e", "stderr"]
