"""deploy/nginx.conf and the gateways behind it, as tests start and use them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from staging import aliases
from staging.models import Alias
from tests.servers.gateway import ROOT, Gateway
from tests.servers.nginx import Nginx


@dataclass
class Site:
    """nginx, and the gateways behind it."""

    port: int
    http2_port: int
    nginx: Nginx
    data: Gateway

    def url(self, alias: Alias, *, port: int | None = None) -> str:
        """The alias's URL behind nginx, or at another port."""
        path = self.data.alias_path(aliases.token_of(alias), aliases.file_name(alias))
        return f"http://127.0.0.1:{port or self.port}{path}"

    def log(self, name: str) -> str:
        return (self.nginx.folder / name).read_text()


def site_config(folder: Path, port: int, control: int, data: int, *, http2_port: int) -> Path:
    """The shipped files with the addresses and paths of this test; every other line is as shipped."""
    folder.mkdir(parents=True, exist_ok=True)
    replaced = {
        "listen 80;": f"listen 127.0.0.1:{port}; listen 127.0.0.1:{http2_port} http2;",
        "pid /run/nginx.pid;": f"pid {folder}/nginx.pid;",
        "/var/log/nginx/error.log": f"{folder}/error.log",
        "/var/log/nginx/access.log": f"{folder}/access.log",
        "worker_processes auto;": "worker_processes 1;",
        "worker_rlimit_nofile 65536;": "",
        "worker_connections 16384;": "worker_connections 512;",
        "127.0.0.1:8080": f"127.0.0.1:{control}",
        "127.0.0.1:8081": f"127.0.0.1:{data}",
    }
    texts = {name: (ROOT / "deploy" / name).read_text() for name in ("nginx.conf", "nginx-upstreams.conf")}
    for shipped, ours in replaced.items():
        assert sum(text.count(shipped) for text in texts.values()) == 1, shipped
        texts = {name: text.replace(shipped, ours) for name, text in texts.items()}
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    texts["nginx-upstreams.conf"] += "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder / "nginx.conf"


def curl(
    *arguments: str | Path, body: bytes | None = None, stdin: IO[bytes] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """What curl prints and how it ends; ``-w`` lines are its last."""
    given: dict[str, Any] = {"stdin": stdin} if body is None else {"input": body}
    return subprocess.run(["curl", "-sS", *map(str, arguments)], **given, capture_output=True, timeout=60)
