"""A real OpenSSH server for tests and the demo: the current user, a free loopback port, all its files in one folder."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

READY_WITHIN_S = 10
PASSPHRASE = "a phrase for the tests"

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_ed25519
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
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
Subsystem sftp internal-sftp
{extra}
"""


class SshdMissing(RuntimeError):
    """OpenSSH's server is not installed."""


def find_sshd() -> Path:
    """The sshd program. Raises SshdMissing, which says what to install."""
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"):
        candidate = Path(folder) / "sshd"
        # sshd starts itself again for each connection and therefore insists on an absolute path.
        if candidate.is_absolute() and os.access(candidate, os.X_OK):
            return candidate
    raise SshdMissing("OpenSSH's sshd was not found: install openssh-server (Debian: apt-get install openssh-server)")


@dataclass
class Sshd:
    """One sshd; ``with Sshd(folder) as server`` has it accepting connections inside the block and gone after it.

    ``folder`` is the caller's and holds the configuration, the keys, the log and ``root``, the folder meant for
    objects. ``host_key`` is the public host key as ``ssh-ed25519 AAAA…`` and ``fingerprint`` the same as
    ``SHA256:…``. ``key_file`` logs ``user`` in; ``locked_key_file`` does so with ``passphrase``. ``extra`` is more
    sshd_config. After ``stop`` or ``kill``, ``start`` brings the same server back on the same port.
    """

    folder: Path
    extra: str = ""
    port: int = 0
    user: str = field(default_factory=lambda: pwd.getpwuid(os.getuid()).pw_name)
    host: str = "127.0.0.1"
    passphrase: str = PASSPHRASE
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder).resolve()
        self.root = self.folder / "root"
        self.key_file = self.folder / "user_ed25519"
        self.locked_key_file = self.folder / "user_locked_ed25519"
        self.log_file = self.folder / "sshd.log"
        self.host_key = ""
        self.fingerprint = ""

    def start(self) -> None:
        """Start and wait until the server greets. Raises SshdMissing, or RuntimeError with the end of its log."""
        program = find_sshd()
        self._prepare()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-D", "-e", "-f", self.folder / "sshd_config"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._greets():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"sshd did not start; its log ends with:\n{self.log_file.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and every session it still serves; idempotent."""
        self.kill(signal.SIGTERM)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it and its sessions at once, as a crash of the machine would; idempotent."""
        if self._process is None:
            return
        # Sessions are processes of their own that outlive the listener, so they are found before it goes.
        family = [*_descendants(self._process.pid), self._process.pid]
        for pid in reversed(family):
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                continue
        self._process.wait(timeout=READY_WITHIN_S)
        self._process = None

    def sessions(self) -> int:
        """How many connections the server is serving at this moment."""
        return len(_children(self._process.pid)) if self._process else 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            # sshd drops its privileges into this folder; a system that never ran the service does not have it.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        host_key_file = self.folder / "host_ed25519"
        for path, phrase in ((host_key_file, ""), (self.key_file, ""), (self.locked_key_file, self.passphrase)):
            if not path.exists():
                _make_key(path, phrase)
        kind, blob = host_key_file.with_suffix(".pub").read_text().split()[:2]
        self.host_key = f"{kind} {blob}"
        digest = hashlib.sha256(base64.b64decode(blob)).digest()
        self.fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
        self.port = self.port or _free_port()
        known = [path.with_suffix(".pub").read_text() for path in (self.key_file, self.locked_key_file)]
        (self.folder / "authorized_keys").write_text("".join(known))
        (self.folder / "known_hosts").write_text(f"[{self.host}]:{self.port} {self.host_key}\n")
        config = CONFIG.format(port=self.port, folder=self.folder, user=self.user, extra=self.extra)
        (self.folder / "sshd_config").write_text(config)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False


def _make_key(path: Path, passphrase: str) -> None:
    if shutil.which("ssh-keygen") is None:
        raise SshdMissing("ssh-keygen was not found: install openssh-client")
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "waybill", "-f", path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # The parent is the second field behind the name, which may itself hold spaces and parentheses.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found


def _descendants(pid: int) -> list[int]:
    family = []
    for child in _children(pid):
        family += [child, *_descendants(child)]
    return family
