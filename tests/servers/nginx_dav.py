"""nginx with its WebDAV module and the one that adds PROPFIND, on a free loopback port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.process import ProgramMissing

APT_PACKAGES = ("nginx", "libnginx-mod-http-dav-ext")

_MODULE = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")

_CONFIG = """\
load_module {module};
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    dav_ext_lock_zone zone=dav:1m;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        location / {{
            dav_methods PUT DELETE MKCOL COPY MOVE;
            dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK;
            dav_ext_lock zone=dav;
            {extra}
        }}
    }}
}}
"""


@dataclass(frozen=True)
class NginxDav:
    """What runs: its address, and the folder that it serves."""

    url: str
    port: int
    root: Path


@contextmanager
def nginx_dav(folder: Path, *, extra: str = "") -> Iterator[NginxDav]:
    """One nginx for the block; ``extra`` is more of its location's configuration."""
    if not _MODULE.exists():
        raise ProgramMissing("nginx has no PROPFIND: apt-get install libnginx-mod-http-dav-ext")
    root, port = folder / "root", free_port()
    root.mkdir(parents=True)
    config = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    config.write_text(_CONFIG.format(module=_MODULE, user=user, folder=folder, root=root, port=port, extra=extra))
    with Nginx(config, folder, [port]):
        yield NginxDav(f"http://127.0.0.1:{port}/", port, root)
