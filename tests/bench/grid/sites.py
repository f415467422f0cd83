"""The storages of the grid: a server, an adapter's settings for it, and who else moves files there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.bench.clients import sftp_command
from tests.bench.contest import MIB
from tests.bench.grid.loads import Job, Load
from tests.bench.grid.movers import PUT, Mover, Program, curl, rclone
from tests.servers.nginx_dav import nginx_dav
from tests.servers.sshd import Sshd

WAYBILL = "Waybill"
_CIPHER = "aes128-gcm@openssh.com"


class Site(AbstractContextManager["Site"], ABC):
    """``folder`` is the caller's. Entering starts the server; the movers can be made from then on.

    ``remark`` is what a reader has to know of the figures.
    """

    name: str
    remark: str
    #: Small files besides, and how many of them a second Waybill has to move.
    small: Load | None = None
    least_small: float | None = None
    #: The most memory above the idle amount for one file at a time.
    most_extra_bytes: int | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Scheme, options and credential of the adapter."""

    def ours(self) -> Mapping[str, Mapping[str, Any]]:
        """The settings of each of Waybill's contenders."""
        return {WAYBILL: self.settings()}

    @abstractmethod
    def rivals(self) -> Sequence[Mover]:
        """The native client first."""

    def bars(self, ours: str) -> Mapping[str, float]:
        """The least part of a rival's speed, by its name, that this contender of ours has to reach in every cell."""
        return {}


class LocalSite(Site):
    name = "local"
    remark = "`cp` and rclone copy files of one file system, `cp` within the kernel; nothing of it is hashed."

    def __exit__(self, *_: object) -> None:
        pass

    def settings(self) -> dict[str, Any]:
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        return {"scheme": "local", "options": {"root": str(root)}, "credential": {}}

    def rivals(self) -> Sequence[Mover]:
        root = self.folder / "root"

        def command(job: Job, names: Sequence[str]) -> tuple[Sequence[str], str]:
            there, here = root / job.prefix, job.folder
            source, target = (here, there) if job.way == PUT else (there, here)
            target.mkdir(exist_ok=True)
            return ["cp", "-t", str(target), *(str(source / name) for name in names)], ""

        return [Program("cp", command), rclone(f"{root}/", type="local")]


class SftpSite(Site):
    name = "SFTP"
    remark = (
        "All speak aes128-gcm. rclone is told that the server has no shell: it would start a program there for each"
        " file, to compare checksums. The files of 4 KiB go over one connection, each of Waybill's synced and renamed."
    )
    small = Load(4096, 200, 1)
    least_small = 200
    most_extra_bytes = 32 * MIB

    def __enter__(self) -> SftpSite:
        self._server = Sshd(self.folder / "sshd")
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def settings(self) -> dict[str, Any]:
        credential = {"private_key": self._server.key_file.read_text()}
        return {"scheme": "sftp", "options": self._server.options(), "credential": credential}

    def ours(self) -> Mapping[str, Mapping[str, Any]]:
        settings = self.settings()
        return {
            f"{engine} engine": {**settings, "options": {**settings["options"], "engine": engine}}
            for engine in ("openssh", "paramiko")
        }

    def rivals(self) -> Sequence[Mover]:
        server, words = self._server, sftp_command(self._server, _CIPHER)

        def command(job: Job, names: Sequence[str]) -> tuple[Sequence[str], str]:
            pairs = [(job.file(name), server.root / job.key(name)) for name in names]
            lines = [f"put {here} {there}" if job.way == PUT else f"get {there} {here}" for here, there in pairs]
            return words, "\n".join([*lines, ""])

        login = {"host": server.host, "port": server.port, "user": server.user, "key_file": server.key_file}
        remote = rclone(f"{server.root}/", type="sftp", shell_type="none", **login, known_hosts_file=server.known_hosts)
        return [Program("sftp", command), remote]

    def bars(self, ours: str) -> Mapping[str, float]:
        return {"sftp": 1.0 if ours.startswith("openssh") else 0.6}


class WebDavSite(Site):
    name = "WebDAV"
    remark = "The server is nginx with its two WebDAV modules. `curl` puts a file in place, Waybill renames it."

    def __enter__(self) -> WebDavSite:
        self._serving = nginx_dav(self.folder / "nginx")
        self._server = self._serving.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._serving.__exit__(*error)

    def settings(self) -> dict[str, Any]:
        return {"scheme": "webdav", "options": {"url": self._server.url}, "credential": {}}

    def rivals(self) -> Sequence[Mover]:
        url = self._server.url
        return [curl("curl", lambda way, key: f"{url}{key}"), rclone("", type="webdav", url=url, vendor="other")]
