"""A real OpenSSH server for tests and the demo: the current user, a free loopback port, all its files in one folder."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process, Server, find_program

APT_PACKAGES = ("openssh-server", "openssh-client")

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_ed25519
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM {pam}
UseDNS no
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowUsers {user}
X11Forwarding no
AllowTcpForwarding no
PrintMotd no
PrintLastLog no
LoginGraceTime 20
MaxStartups 200
LogLevel VERBOSE
Subsystem sftp internal-sftp {sftp_options}
{extra}
"""


@dataclass
class Sshd(Server):
    """One sshd; any number may run side by side, each in its own folder.

    ``folder`` is the caller's and holds the configuration, the keys, the log and ``root``, the folder meant for
    objects. ``host_key`` is the public host key as ``ssh-ed25519 AAAA…`` and ``fingerprint`` the same as
    ``SHA256:…``. ``key_file`` logs ``user`` in, ``locked_key_file`` does so with ``passphrase``. ``extra`` is more
    sshd_config, ``sftp_options`` are those of sftp-server(8), and ``wrapper`` is a command that runs the server as the
    rest of its words. After ``stop`` or ``kill``, ``start`` brings the same server back on the same port.
    """

    folder: Path
    extra: str = ""
    sftp_options: str = ""
    wrapper: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    user: str = field(default_factory=lambda: pwd.getpwuid(os.getuid()).pw_name)
    passphrase: str = "a phrase for the tests"

    def __post_init__(self) -> None:
        self.folder = Path(self.folder).resolve()
        self.root = self.folder / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "sshd.log"
        self.known_hosts = self.folder / "known_hosts"
        self.key_file = _key_file(self.folder / "user_ed25519", passphrase="")
        self.locked_key_file = _key_file(self.folder / "user_locked_ed25519", passphrase=self.passphrase)
        self._host_key_file = _key_file(self.folder / "host_ed25519", passphrase="")
        kind, blob = _public(self._host_key_file).split()[:2]
        digest = hashlib.sha256(base64.b64decode(blob)).digest()
        self.host_key = f"{kind} {blob}"
        self.fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def launch(self) -> None:
        # sshd starts itself again for each connection and therefore insists on an absolute path.
        program = os.path.abspath(find_program("sshd", package="openssh-server"))
        if os.getuid() == 0:
            # It drops its privileges into this folder, which a system that never ran the service does not have.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (self.folder / "authorized_keys").write_text(_public(self.key_file) + _public(self.locked_key_file))
        self.known_hosts.write_text(f"[{self.host}]:{self.port} {self.host_key}\n")
        config = self.folder / "sshd_config"
        config.write_text(
            CONFIG.format(
                port=self.port,
                folder=self.folder,
                user=self.user,
                pam="yes" if _is_locked(self.user) else "no",
                sftp_options=self.sftp_options,
                extra=self.extra,
            )
        )
        command = [*self.wrapper, program, "-D", "-e", "-f", str(config)]
        process = Process.start("sshd", command, log=self.log)
        self.processes.append(process)
        process.wait_ready(self._greets, what=f"greeting on port {self.port}")

    def stop(self) -> None:
        with self._ending_sessions():
            super().stop()

    def kill(self) -> None:
        with self._ending_sessions():
            super().kill()

    def options(self) -> dict[str, str | int]:
        """The options of a storage on it, whose root is the whole of the server's folder."""
        login = {"host": self.host, "port": self.port, "username": self.user, "host_key": self.host_key}
        return {**login, "root": str(self.root)}

    def sessions(self) -> int:
        """How many connections are being served at this moment."""
        return sum(len(_children(process.pid)) for process in self.processes)

    @contextlib.contextmanager
    def _ending_sessions(self) -> Iterator[None]:
        """A session is a process group of its own that outlives the listener: find them before, end them after."""
        sessions = [pid for process in self.processes for pid in _descendants(process.pid)]
        try:
            yield
        finally:
            for pid in sessions:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False


def _is_locked(user: str) -> bool:
    """Whether no password can ever log the user in; sshd then refuses keys as well, unless it leaves that to PAM."""
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except OSError:
        return True  # A server that runs as us cannot read it either, and takes some system users to be locked.
    return any(line.startswith(f"{user}:!") for line in lines)


def _key_file(path: Path, *, passphrase: str) -> Path:
    """An ed25519 key, made where there is none yet."""
    if not path.exists():
        program = find_program("ssh-keygen", package="openssh-client")
        command = [program, "-q", "-t", "ed25519", "-N", passphrase, "-C", "waybill", "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return path


def _public(key_file: Path) -> str:
    return key_file.with_suffix(".pub").read_text()


def _children(pid: int) -> list[int]:
    return [child for child, parent in _parents() if parent == pid]


def _descendants(pid: int) -> list[int]:
    return [found for child in _children(pid) for found in (child, *_descendants(child))]


def _parents() -> Iterator[tuple[int, int]]:
    """Every process of this machine with its parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                # The parent is the second field behind the name, which may itself hold spaces and parentheses.
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])
