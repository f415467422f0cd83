"""A real GridFTP server for tests: the current user, a free loopback port, its own authority, all in one folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process, Server, find_program, wait_until

#: Debian's; the rest is what the adapter needs to speak to it.
APT_PACKAGES = ("globus-gridftp-server-progs", "libgfal2-2", "gfal2-plugin-gridftp", "gfal2-plugin-srm", "openssl")

_SIGNING_POLICY = """\
access_id_CA X509 '{subject}'
pos_rights globus CA:sign
cond_subjects globus '"{organisation}/*"'
"""
_AUTHORITY_CONFIG = """\
[ca]
default_ca = authority
[authority]
database = {folder}/index.txt
rand_serial = yes
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
policy = anything
unique_subject = no
email_in_dn = no
x509_extensions = user
[anything]
O = supplied
CN = supplied
[user]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature,keyEncipherment
subjectAltName = DNS:localhost
[top]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
[req]
distinguished_name = empty
[empty]
"""


#: The name in the certificate of the user who is let in.
USER = "Test User"


class Authority:
    """A certification authority; ``trusted`` is the folder of those who trust it and nobody else."""

    organisation = "/O=Waybill Tests"

    def __init__(self, folder: Path, *, name: str = "Test Authority") -> None:
        self.folder = folder
        self.trusted = folder / "trusted"
        self.trusted.mkdir(parents=True)
        (folder / "index.txt").touch()
        self._config = folder / "openssl.cnf"
        self._config.write_text(_AUTHORITY_CONFIG.format(folder=folder))
        subject = f"{self.organisation}/CN={name}"
        key, certificate = folder / "ca.key", folder / "ca.pem"
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config", str(self._config)),
            *("-extensions", "top", "-subj", subject, "-keyout", str(key), "-out", str(certificate)),
        )
        digest = self._openssl("x509", "-noout", "-hash", "-in", str(certificate)).strip()
        (self.trusted / f"{digest}.0").write_text(certificate.read_text())
        policy = _SIGNING_POLICY.format(subject=subject, organisation=self.organisation)
        (self.trusted / f"{digest}.signing_policy").write_text(policy)

    def issue(self, name: str, *, expired: bool = False) -> tuple[Path, Path]:
        """A certificate for ``CN=name`` and its key, which only we may read; an expired one ended in 2020."""
        stem = self.folder / f"{name.replace(' ', '-')}{'-expired' * expired}"
        key, request, certificate = (stem.with_suffix(suffix) for suffix in (".key", ".csr", ".pem"))
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-config", str(self._config)),
            *("-subj", f"{self.organisation}/CN={name}", "-keyout", str(key), "-out", str(request)),
        )
        key.chmod(0o600)
        when = ("200101000000Z", "200102000000Z") if expired else ()
        self._openssl(
            *("ca", "-batch", "-notext", "-config", str(self._config), "-in", str(request), "-out", str(certificate)),
            *(("-startdate", when[0], "-enddate", when[1]) if when else ("-days", "2")),
        )
        return certificate, key

    def proxy(self, certificate: Path, key: Path) -> str:
        """A proxy of the certificate for a day, as grid-proxy-init makes it: RFC 3820, with its key and chain."""
        proxy, request, own = (self.folder / f"proxy.{suffix}" for suffix in ("pem", "csr", "key"))
        subject = self._openssl("x509", "-noout", "-subject", "-nameopt", "compat", "-in", str(certificate))
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-config", str(self._config), "-keyout", str(own)),
            *("-subj", f"{subject.strip().removeprefix('subject=')}/CN=20261126", "-out", str(request)),
        )
        extensions = self.folder / "proxy.cnf"
        extensions.write_text(
            "proxyCertInfo = critical,language:id-ppl-inheritAll\nkeyUsage = critical,digitalSignature\n"
        )
        self._openssl(
            *("x509", "-req", "-days", "1", "-in", str(request), "-out", str(proxy), "-set_serial", "20261126"),
            *("-CA", str(certificate), "-CAkey", str(key), "-extfile", str(extensions)),
        )
        return "".join(part.read_text() for part in (proxy, own, certificate))

    @staticmethod
    def _openssl(*arguments: str) -> str:
        program = find_program("openssl", package="openssl")
        done = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@dataclass(frozen=True)
class Identity:
    """An authority, and certificates of it (each with its key) for the host and for the one user who is let in."""

    authority: Authority
    host: tuple[Path, Path]
    user: tuple[Path, Path]

    @classmethod
    def make(cls, folder: Path) -> Identity:
        authority = Authority(folder)
        return cls(authority, authority.issue("localhost"), authority.issue(USER))

    def secrets(self) -> dict[str, str]:
        """What logs the user in."""
        certificate, key = self.user
        return {"certificate": certificate.read_text(), "private_key": key.read_text()}


@dataclass
class GridFtp(Server):
    """One globus-gridftp-server; any number may run side by side, each in its own folder.

    ``root`` is the folder meant for objects, and the only one that the server gives access to. ``identity`` says who
    it is and whom it lets in; making one takes a second, so that servers may share it. ``extra`` are more options of
    the server. After ``stop`` or ``kill``, ``start`` brings the same server back on the same port.
    """

    folder: Path
    identity: Identity
    extra: tuple[str, ...] = ()
    root: Path | None = None
    host: str = "localhost"
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder).resolve()
        self.log = self.folder / "gridftp.log"
        self.root = self.root or self.folder / "root"
        self.root.mkdir(parents=True, exist_ok=True)

    def launch(self) -> None:
        program = find_program("globus-gridftp-server", package="globus-gridftp-server-progs")
        account = pwd.getpwuid(os.getuid()).pw_name
        gridmap = self.folder / "gridmap"
        gridmap.write_text(f'"{Authority.organisation}/CN={USER}" {account}\n')
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "X509_CERT_DIR": str(self.identity.authority.trusted),
            "X509_USER_CERT": str(self.identity.host[0]),
            "X509_USER_KEY": str(self.identity.host[1]),
            "GRIDMAP": str(gridmap),
        }
        command = [
            *(program, "-c", os.devnull, "-daemon", "-p", str(self.port)),
            *("-control-interface", "127.0.0.1", "-data-interface", "127.0.0.1"),
            *(
                "-allow-root",
                "-allow-disabled-login",
                "-restrict-paths",
                str(self.root),
                "-log-level",
                "ERROR,WARN,INFO",
            ),
            *self.extra,
        ]
        process = Process.start("gridftp", command, log=self.log, env=environment)
        self.processes.append(process)
        process.wait_ready(self._greets, what=f"greeting on port {self.port}")

    def stop(self) -> None:
        self.kill()  # It keeps nothing that a good end would save.

    def kill(self) -> None:
        sessions = self.sessions()
        super().kill()
        self._signal(sessions, signal.SIGKILL)

    def options(self) -> dict[str, str | int]:
        """The options of a storage on it, whose root is the whole of the server's folder."""
        where = {"host": self.host, "port": self.port, "root": str(self.root)}
        return {**where, "ca_folder": str(self.identity.authority.trusted)}

    def sessions(self) -> list[int]:
        """The processes that serve a connection at this moment."""
        return [child for process in self.processes for child in _children(process.pid)]

    def kill_sessions(self) -> None:
        """End every session as a crash would, and its connections with it; the server takes new ones."""
        self._signal(self.sessions(), signal.SIGKILL)
        wait_until(lambda: not self.sessions(), what="the server has no session")

    def stall(self) -> None:
        """Keep the server and its sessions with all connections, and have none of them do anything."""
        self._signal([*(process.pid for process in self.processes), *self.sessions()], signal.SIGSTOP)

    def resume(self) -> None:
        self._signal([*self.sessions(), *(process.pid for process in self.processes)], signal.SIGCONT)

    @staticmethod
    def _signal(processes: list[int], number: signal.Signals) -> None:
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                return probe.recv(3) == b"220"
        except OSError:
            return False


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []
