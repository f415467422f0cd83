"""What a reader has to know of the machine to make sense of the numbers."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_PROGRAMS: Mapping[str, tuple[list[str], str]] = {
    "curl": (["curl", "--version"], r"curl (\S+)"),
    "wrk": (["wrk", "--version"], r"wrk (?:debian/)?(\S+)"),
    "nginx": (["/usr/sbin/nginx", "-v"], r"nginx/(\S+)"),
    "OpenSSH": (["ssh", "-V"], r"OpenSSH_([^\s,]+)"),
    "rclone": (["rclone", "version", "--config", "/dev/null"], r"rclone v(\S+)"),
    "globus-url-copy": (["globus-url-copy", "-version"], r"globus-url-copy: (\S+)"),
}
_PACKAGES = ("Django", "gunicorn", "paramiko", "boto3", "python-irodsclient")


def collect() -> dict[str, str]:
    """Names and values, in the order in which they are shown."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": f"{_from_cpuinfo('model name')}, {os.cpu_count()} cores",
        "memory": f"{_memory_bytes() / 1024**3:.0f} GiB",
        "system": f"{_distribution()}, Linux {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "load before": f"{os.getloadavg()[0]:.1f} processes wanted a core in the minute before",
        "programs": ", ".join(f"{name} {_program(*how)}" for name, how in _PROGRAMS.items()),
    }


def _program(command: list[str], pattern: str) -> str:
    if shutil.which(command[0]) is None:
        return "missing"
    ended = subprocess.run(command, text=True, capture_output=True, check=False)  # wrk ends with 1
    found = re.search(pattern, ended.stdout + ended.stderr)
    return found[1] if found else "of unknown version"


def _from_cpuinfo(name: str) -> str:
    found = re.search(rf"^{name}\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown distribution")
