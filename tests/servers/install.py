"""``python -m tests.servers.install [SERVER…]``: what the real servers need, installed where that is possible.

With names of servers (modules of this package) it installs only what these need.

As root it installs the Debian packages that are missing; nothing that comes with them is started. As another user it
prints what to install and goes on. Then it makes the virtual environments of Swift and of the workflow engines.
Doing it twice costs nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.servers import apache, gridftp, nginx, nginx_dav, postgres, rclone_dav, redis, sshd, swift
from tests.zoo import workflows

#: What tests need that no server module names: a browser, the clients that jobs use, shells and programs for archives.
OTHER_PACKAGES = (
    *("aria2", "chromium", "curl", "rclone", "wget"),
    *("busybox", "dash", "libarchive-tools", "shellcheck", "tar", "zip", "zstd"),
)

_MODULES = {
    "apache": apache,
    "gridftp": gridftp,
    "nginx": nginx,
    "nginx_dav": nginx_dav,
    "postgres": postgres,
    "rclone_dav": rclone_dav,
    "redis": redis,
    "sshd": sshd,
    "swift": swift,
}
_POLICY = Path("/usr/sbin/policy-rc.d")


def main(servers: Sequence[str]) -> None:
    missing = missing_packages(servers)
    if missing and os.getuid() == 0 and shutil.which("apt-get"):
        install_packages(missing)
    elif missing:
        print("Not installed, so what needs them is skipped (and fails in CI). As root:")
        print("    apt-get install --no-install-recommends " + " ".join(missing))
    if not servers or "swift" in servers:
        swift.install()
    if not servers:
        workflows.install()


def missing_packages(servers: Sequence[str] = ()) -> list[str]:
    """The Debian packages that are not installed, of these servers or of all; all of them where there is no dpkg."""
    others = ("curl",) if servers else OTHER_PACKAGES
    wanted = {*others, *(package for name in servers or _MODULES for package in _MODULES[name].APT_PACKAGES)}
    if shutil.which("dpkg-query") is None:
        return sorted(wanted)
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted],
        text=True,
        capture_output=True,
        check=False,  # it complains of the packages that it does not know
    )
    return sorted(package for package in wanted if f"{package} installed" not in answer.stdout.splitlines())


def install_packages(packages: Sequence[str]) -> None:
    """Install with apt-get; raises CalledProcessError where that fails."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with services_kept_from_starting():
        subprocess.run(["apt-get", "update", "-q"], env=environment, check=True)
        subprocess.run(
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], env=environment, check=True
        )


@contextlib.contextmanager
def services_kept_from_starting() -> Iterator[None]:
    """Have ``invoke-rc.d`` refuse to start services (exit 101) for the time, and restore what was there."""
    saved = _POLICY.with_name("policy-rc.d.waybill-saved")
    if _POLICY.exists() and not saved.exists():
        _POLICY.rename(saved)
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if saved.exists():
            saved.replace(_POLICY)
        else:
            _POLICY.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
