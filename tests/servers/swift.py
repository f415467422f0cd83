"""OpenStack Swift with its S3 face: one replica, four processes, plain HTTP on loopback.

It enforces signatures, expiry, part sizes, short bodies and ``If-None-Match``. Swift has a virtual environment of its
own, because its pins are not ours.
"""

from __future__ import annotations

import base64
import hmac
import os
import pwd
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from tests.servers import own_venv
from tests.servers.ports import free_port, is_listening
from tests.servers.process import Process, ProgramMissing, Server, ServerFailed

APT_PACKAGES = ("python3-venv",)

ACCESS_KEY = "test:tester"
SECRET_KEY = "testing"
REGION = "us-east-1"

VENV = own_venv.ROOT / ".venv-swift"
REQUIREMENTS = Path(__file__).with_name("swift-requirements.txt")

#: The module that the proxy's filter ``cache`` is in.
_CACHE = Path(__file__).with_name("swift_cache.py")

_SWIFT_CONF = """\
[swift-hash]
swift_hash_path_prefix = waybill
swift_hash_path_suffix = waybill

[storage-policy:0]
name = gold
default = yes
"""

_STORAGE_CONF = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/node
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
workers = 0
log_address = /dev/null
log_level = WARNING
recon_cache_path = {folder}

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
mb_per_sync = 512
"""

_PROXY_CONF = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
workers = 0
log_address = /dev/null
log_level = WARNING

[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes proxy-server

[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
node_timeout = 60
recoverable_node_timeout = 60
conn_timeout = 5

[filter:cache]
paste.filter_factory = swift_cache:filter_factory

[filter:s3api]
use = egg:swift#s3api
location = {region}
allow_multipart_uploads = true
auth_pipeline_check = true

[filter:tempauth]
use = egg:swift#tempauth
user_{user_of_key} = {secret} .admin

[filter:slo]
use = egg:swift#slo
allow_async_delete = false

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true

"""

_PLAIN_FILTERS = ("catch_errors", "listing_formats", "bulk", "copy", "dlo")

#: Run by Swift's Python: a ring of one device for each kind of server.
_MAKE_RINGS = """\
import sys
from swift.common.ring import RingBuilder
folder, *pairs = sys.argv[1:]
for kind, port in (pair.split("=") for pair in pairs):
    builder = RingBuilder(4, 1, 0)
    address = {"ip": "127.0.0.1", "port": int(port), "replication_ip": "127.0.0.1", "replication_port": int(port)}
    builder.add_dev({"region": 1, "zone": 1, "device": "disk", "weight": 1, **address})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""


def install() -> None:
    """Make Swift's virtual environment, unless it is there with exactly the pinned versions."""
    own_venv.make(VENV, REQUIREMENTS)


@dataclass
class Swift(Server):
    """All data and logs lie in ``folder``, whose file system must take user extended attributes."""

    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        if not own_venv.is_made(VENV):
            raise ProgramMissing(f"Swift is not installed in {VENV.name}: python -m tests.servers.install")
        self.folder = self.folder.resolve()
        (self.folder / "node" / "disk").mkdir(parents=True, exist_ok=True)
        _require_user_attributes(self.folder)
        ports = {kind: free_port() for kind in ("account", "container", "object")}
        self._configure(ports)
        for kind in (*ports, "proxy"):
            program = [str(VENV / "bin" / "python"), str(VENV / "bin" / f"swift-{kind}-server")]
            self.processes.append(
                Process.start(
                    f"swift-{kind}-server",
                    [*program, str(self.folder / f"{kind}-server.conf")],
                    log=self.folder / f"{kind}.log",
                    env=_environment() | {"PYTHONPATH": str(self.folder)},
                )
            )
        for process, port in zip(self.processes, (*ports.values(), self.port), strict=True):
            process.wait_ready(lambda port=port: is_listening(port), what=f"listening on {port}")
        # The account's database is made at the first request; one made now spares every client that moment.
        self.create_bucket("ready")

    def create_bucket(self, name: str) -> None:
        """Make a bucket; one that exists is success."""
        date = formatdate(usegmt=True)
        digest = hmac.digest(SECRET_KEY.encode(), f"PUT\n\n\n{date}\n/{name}".encode(), "sha1")
        headers = {"Date": date, "Authorization": f"AWS {ACCESS_KEY}:{base64.b64encode(digest).decode()}"}
        try:
            urllib.request.urlopen(
                urllib.request.Request(f"{self.endpoint}/{name}", method="PUT", headers=headers)
            ).close()
        except urllib.error.HTTPError as exc:
            with exc:
                if exc.code != 409:
                    raise ServerFailed(f"bucket {name}: {exc} {exc.read().decode()}") from exc

    def _configure(self, ports: Mapping[str, int]) -> None:
        (self.folder / "swift.conf").write_text(_SWIFT_CONF)
        shutil.copy(_CACHE, self.folder)
        values = {"user": pwd.getpwuid(os.getuid()).pw_name, "folder": self.folder}
        for kind, port in ports.items():
            text = _STORAGE_CONF.format(kind=kind, port=port, **values)
            (self.folder / f"{kind}-server.conf").write_text(text)
        proxy = _PROXY_CONF.format(
            port=self.port, region=REGION, user_of_key=ACCESS_KEY.replace(":", "_"), secret=SECRET_KEY, **values
        )
        proxy += "\n".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in _PLAIN_FILTERS)
        (self.folder / "proxy-server.conf").write_text(proxy)
        pairs = [f"{kind}={port}" for kind, port in ports.items()]
        answer = subprocess.run(
            [str(VENV / "bin" / "python"), "-c", _MAKE_RINGS, str(self.folder), *pairs],
            env=_environment(),
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        if answer.returncode:
            raise ServerFailed(f"Swift's rings could not be made: {answer.stderr}")


def _environment() -> dict[str, str]:
    """Ours without what is meant for our own Python (PYTHONPATH, PYTHONWARNINGS and the like)."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _require_user_attributes(folder: Path) -> None:
    """Swift keeps an object's metadata in its file's user extended attributes."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        try:
            os.setxattr(probe.fileno(), "user.swift.metadata", b"x" * 2_000)
        except OSError as exc:
            raise ServerFailed(
                f"Swift's data cannot lie in {folder}: its file system takes no user extended attributes of 2,000"
                f" bytes ({exc.strerror}); ext4, xfs and btrfs do, tmpfs does since Linux 6.6"
            ) from exc
