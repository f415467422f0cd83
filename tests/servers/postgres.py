"""A PostgreSQL server on a temporary folder of its own, which it loses at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process, Server, ServerFailed, find_program

APT_PACKAGES = ("postgresql",)

USER = "waybill"

#: Nothing here has to survive a power cut.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@dataclass
class Postgres(Server):
    """PostgreSQL refuses to run as root: root starts it as an unprivileged user.

    Its folder is therefore not the caller's, which that user could perhaps not reach.
    """

    port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = field(default=None, init=False)

    def launch(self) -> None:
        initdb = _find("initdb")
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        if os.getuid() == 0:
            account = _unprivileged_account()
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        data = str(self.folder / "data")
        answer = subprocess.run(
            _as_unprivileged(
                [initdb, "-D", data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
            ),
            cwd=self.folder,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        if answer.returncode:
            raise ServerFailed(f"initdb failed: {answer.stderr}")
        self.serve()

    def serve(self) -> None:
        """Serve the databases of the folder, again after ``crash``."""
        assert self.folder is not None, "the databases are made by ``start``"
        postgres, data = _find("postgres"), str(self.folder / "data")
        settings = [
            word for name, value in {**_SETTINGS, **self.settings}.items() for word in ("-c", f"{name}={value}")
        ]
        process = Process.start(
            "postgres",
            _as_unprivileged([postgres, "-D", data, "-p", str(self.port), *settings]),
            log=self.folder / "postgres.log",
        )
        self.processes.append(process)
        process.wait_ready(self._is_ready, what="connections are accepted")

    def database_url(self, name: str) -> str:
        return f"postgres://{USER}@127.0.0.1:{self.port}/{name}"

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        arguments = [_find("createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name]
        answer = subprocess.run(arguments, text=True, capture_output=True, timeout=60, check=False)
        if answer.returncode:
            raise ServerFailed(f"createdb {name} failed: {answer.stderr}")
        return self.database_url(name)

    def crash(self) -> None:
        """End it at once and keep its databases, in which all is that was committed with ``synchronous_commit``."""
        while self.processes:
            self.processes.pop().stop(signal.SIGQUIT)

    def stop(self) -> None:
        for process in self.processes:
            process.stop(signal.SIGINT)  # "fast": sessions that are open are ended
        super().stop()
        self._remove()

    def kill(self) -> None:
        super().kill()
        self._remove()

    def _is_ready(self) -> bool:
        arguments = [_find("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(arguments, timeout=10, check=False).returncode == 0

    def _remove(self) -> None:
        if self.folder is not None:
            # The children of a killed server notice it a moment later and may still write.
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


def _find(program: str) -> str:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    return find_program(program, package="postgresql", folders=versions)


def _unprivileged_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _as_unprivileged(arguments: Sequence[str]) -> list[str]:
    if os.getuid() != 0:
        return list(arguments)
    account = _unprivileged_account()
    setpriv = find_program("setpriv", package="util-linux")
    return [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--", *arguments]
