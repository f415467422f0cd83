"""``rclone serve webdav`` on a free loopback port: a folder behind Go's WebDAV library."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ports import free_port, is_listening
from tests.servers.process import Process, Server, find_program

APT_PACKAGES = ("rclone",)


@dataclass
class RcloneDav(Server):
    """``folder`` is the caller's; the server shows the folder ``root`` in it, without a password."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.root = self.folder / "root"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def launch(self) -> None:
        program = find_program("rclone", package="rclone")
        self.root.mkdir(parents=True, exist_ok=True)
        where = ["--addr", f"127.0.0.1:{self.port}", "--config", "/dev/null", "--cache-dir", str(self.folder / "cache")]
        # Without this, it goes on showing for minutes what is no longer in the folder.
        command = [program, "serve", "webdav", str(self.root), *where, "--dir-cache-time", "0s"]
        process = Process.start("rclone", command, log=self.folder / "rclone.log")
        self.processes.append(process)
        process.wait_ready(lambda: is_listening(self.port), what=f"listening on port {self.port}")
