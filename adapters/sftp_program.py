"""The ssh program: whether it can be used on this machine, and the settings that it is given."""

from __future__ import annotations

import math
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import paramiko

from adapters.sftp_endpoint import Endpoint, host_key_algorithms

#: The name under which the host key stands in the private list of known hosts, whatever the host's is.
HOST_ALIAS = "waybill"
#: The first that takes a list of ciphers to be put in front of its own.
_OLDEST = (8, 1)
#: How long it may take to tell its version.
_VERSION_S = 10.0
#: Where programs are, for this process if it has no PATH, and for ssh.
PATH = "/usr/local/bin:/usr/bin:/bin"
#: A socket's path takes 108 bytes at most, and ssh would read other signs in its settings as patterns.
_PLAIN_FOLDER = re.compile(r"/[\w./-]{0,75}", re.ASCII)


def obstacle() -> str | None:
    """Why the ssh program cannot be used on this machine, and what to do about it; None where it can."""
    ssh = program()
    if ssh is None:
        return "there is no program ssh on this machine's PATH; install openssh-client"
    if not _is_recent(ssh):
        oldest = ".".join(map(str, _OLDEST))
        return f"{ssh} is not OpenSSH {oldest} or newer; install openssh-client"
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
    found = shutil.which("ssh", path=os.environ.get("PATH", PATH))
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


@cache
def _is_recent(ssh: str) -> bool:
    """Whether this is an OpenSSH that knows all settings that it is given: other programs are called ssh too."""
    try:
        asked = subprocess.run(
            [ssh, "-V"], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_VERSION_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.match(rb"OpenSSH_(\d+)\.(\d+)", asked.stderr + asked.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= _OLDEST


@cache
def _computes_aes() -> bool:
    """Whether the processor has instructions for AES; taken for granted where the system does not tell."""
    try:
        told = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return True
    return re.search(r"^(flags|Features)\s*:.*\baes\b", told, re.MULTILINE) is not None
