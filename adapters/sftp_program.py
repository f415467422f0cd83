"""The ssh program as a child: whether it can run here, the settings it is given, and a process that leaves nothing."""

from __future__ import annotations

import math
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import paramiko

from adapters import cores
from adapters.sftp_endpoint import Endpoint, host_key_algorithms

#: The name under which the host key stands in the private list of known hosts, whatever the host's is.
HOST_ALIAS = "waybill"
#: How much of what ssh says is kept: the end of it.
_KEPT_BYTES = 4096
#: As much as the system allows of it, both ways: fewer turns of ours and of ssh's for the same bytes.
_BUFFER_BYTES = 1024 * 1024
#: How long is waited for a process that was killed.
_END_S = 10.0
#: Where a program is looked for if this process has no PATH.
_PATH = "/usr/local/bin:/usr/bin:/bin"
#: A socket's path takes 108 bytes at most, and ssh would read other signs in its settings as patterns.
_PLAIN_FOLDER = re.compile(r"/[\w./-]{0,75}", re.ASCII)


class SshEnded(EOFError):
    """The ssh program ended; ``lines`` are the last that it said, the server's greeting perhaps among them."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(lines[-1] if lines else "the ssh program ended without a word")
        self.lines = tuple(lines)

    def line_with(self, words: str) -> str | None:
        """The last line in which ssh said this."""
        return next((line for line in reversed(self.lines) if words in line), None)


def obstacle() -> str | None:
    """Why the ssh program cannot be used on this machine, and what to do about it; None where it can."""
    if program() is None:
        return "there is no program ssh on this machine's PATH; install openssh-client"
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return f"ssh runs for no user without a name, and uid {os.getuid()} has none; add it to /etc/passwd"
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        return "there is no temporary folder that can be written to; set TMPDIR"
    if not _PLAIN_FOLDER.fullmatch(folder):
        return f"the temporary folder {folder!r} has too long a path or unusual signs in it; set TMPDIR"
    return None


def program() -> str | None:
    """Where ssh is, or None."""
    found = shutil.which("ssh", path=os.environ.get("PATH", _PATH))
    return found and os.path.abspath(found)


def command(endpoint: Endpoint, ssh: str, *, host_key: paramiko.PKey, known_hosts: Path, agent: Path) -> list[str]:
    """The words that run ssh for this server alone: no file of the user's or the system's settings is read.

    No secret is among them: the private key is behind ``agent``, and ``known_hosts`` holds the one key that the server
    must show.
    """
    settings = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": HOST_ALIAS,
        "HostKeyAlgorithms": ",".join(host_key_algorithms(host_key)),
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "VerifyHostKeyDNS": "no",
        "IdentityAgent": str(agent),
        "IdentityFile": "none",
        "PreferredAuthentications": "publickey",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "ControlMaster": "no",
        "ControlPath": "none",
        "Compression": "no",
        "EscapeChar": "none",
        "IPQoS": "none",
        # Below this it does not say why the two sides found no common algorithm.
        "LogLevel": "INFO",
        "ConnectTimeout": str(math.ceil(endpoint.connect_timeout_s)),
        # The time limit on each byte is ours; this one ends an ssh whose server has gone without a word.
        "ServerAliveInterval": str(math.ceil(endpoint.stall_timeout_s)),
        "ServerAliveCountMax": "2",
    }
    if _computes_aes():
        # In front of what ssh would take by itself, which is a cipher for processors without such instructions.
        settings["Ciphers"] = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
    words = [ssh, "-F", "none", "-a", "-T", "-x"]
    for name, value in settings.items():
        words += ["-o", f"{name}={value}"]
    return [*words, "-p", str(endpoint.port), "-l", endpoint.username, "-s", "--", endpoint.host, "sftp"]


class SshProcess:
    """A running ssh whose standard input and output are ``near``.

    It is in a session of its own, so that no Ctrl-C reaches it and no terminal is asked, and it inherits neither our
    environment nor our descriptors. A thread keeps the end of what it says and waits for its end, so that it is never
    a zombie for longer than a moment; it ends by itself when this process does, because its input does.
    """

    def __init__(self, words: list[str]) -> None:
        near, far = socket.socketpair()
        for end in (near, far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        with far:
            try:
                self._process = subprocess.Popen(
                    words,
                    stdin=far.fileno(),
                    stdout=far.fileno(),
                    stderr=subprocess.PIPE,
                    env={"PATH": _PATH, "LC_ALL": "C"},
                    cwd="/",
                    start_new_session=True,
                )
            except BaseException:
                near.close()
                raise
        cores.release(self._process.pid)
        self.near = near
        self._owner = os.getpid()
        self._said = b""
        self._lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name="sftp-ssh", daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def is_running(self) -> bool:
        return self._owner == os.getpid() and self._watcher.is_alive()

    def ended(self) -> SshEnded:
        """Why nothing comes any more. ssh closes its output a moment before it says why, and ends."""
        self._watcher.join(1.0)
        lines = (" ".join(line.split()) for line in self._said.decode("utf-8", "replace").splitlines())
        return SshEnded(["".join(filter(str.isprintable, line))[:300] for line in lines if line])

    def shut_down(self) -> None:
        """End it from any thread; whoever waits at ``near`` wakes up. A process that was forked off ends nothing."""
        if self._owner != os.getpid():
            return
        with suppress(OSError):  # It was shut down before.
            self.near.shutdown(socket.SHUT_RDWR)
        with self._lock:
            if self._process.returncode is None:
                self._process.kill()

    def close(self) -> None:
        """End it, and return when it is gone. Idempotent."""
        self.shut_down()
        self._watcher.join(_END_S)
        self.near.close()

    def _watch(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            while words := os.read(stderr.fileno(), _KEPT_BYTES):
                self._said = (self._said + words)[-_KEPT_BYTES:]
        with suppress(ChildProcessError):  # Somebody who waits for any child took it.
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        # Its number is free for others from here on, so that nobody may send it a signal meanwhile.
        with self._lock:
            self._process.wait()


@cache
def _computes_aes() -> bool:
    """Whether the processor has instructions for AES; taken for granted where the system does not tell."""
    try:
        told = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return True
    return re.search(r"^(flags|Features)\s*:.*\baes\b", told, re.MULTILINE) is not None
