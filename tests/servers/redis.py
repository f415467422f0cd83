"""A Redis server without persistence."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process, Server, find_program

APT_PACKAGES = ("redis-server",)


@dataclass
class Redis(Server):
    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def launch(self) -> None:
        program = find_program("redis-server", package="redis-server")
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
        }
        arguments = [program, *(word for name, value in settings.items() for word in (f"--{name}", value))]
        process = Process.start("redis", arguments, log=self.folder / "redis.log")
        self.processes.append(process)
        process.wait_ready(self._answers, what="PING is answered")

    def ask(self, command: str) -> bytes:
        """The answer to one command, of which 16 bytes are enough. Raises OSError."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(16)

    def _answers(self) -> bool:
        try:
            return self.ask("PING").startswith(b"+PONG")
        except OSError:
            return False
