"""Local storage against nginx: its static files for downloads, its WebDAV module for uploads."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from staging.storages import StorageSpec
from tests.bench import clients
from tests.bench.contest import Contender
from tests.bench.rivalry import Rivalry
from tests.bench.usage import ProcessTree
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port

_CONFIG = """\
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_max_body_size 0;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/unused;
  fastcgi_temp_path {folder}/unused;
  uwsgi_temp_path {folder}/unused;
  scgi_temp_path {folder}/unused;
  server {{
    listen 127.0.0.1:{port};
    location /stored/ {{ alias {stored}/; }}
    location / {{
      root {root};
      dav_methods PUT;
      create_full_put_path on;
    }}
  }}
}}
"""


class Local(Rivalry):
    """nginx reads and writes in the same memory-backed file system; it hashes nothing and syncs nothing."""

    name = "local"

    def __init__(self, folder: Path, large: Path, small: bytes) -> None:
        super().__init__(folder, large, small)
        self._stored = Path(settings.LOCAL_ROOTS[0]) / "bench"
        self._root = folder / "root"
        for each in (self._stored, self._root):
            each.mkdir(parents=True)
        port = free_port()
        config = folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(user=getpass.getuser(), folder=folder, port=port, stored=self._stored, root=self._root)
        )
        self._server = Nginx(config, folder, [port])
        self._url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Local:
        self._server.start()
        self._usage = ProcessTree(self._server.processes[0].pid)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def spec(self) -> StorageSpec:
        return StorageSpec("bench-local", "local", {"root": str(self._stored)}, tier=1)

    def put_large(self) -> list[Contender]:
        def run(_: int) -> clients.Work:
            return clients.curl_put(f"{self._url}/large", self.large)

        return [Contender("nginx dav", run, self._usage, 0.5, tidy=lambda _: (self._root / "large").unlink())]

    def get_large(self, key: str) -> list[Contender]:
        def run(_: int) -> clients.Work:
            return clients.curl_get(f"{self._url}/stored/{key}", self.size)

        return [Contender("nginx static", run, self._usage, 0.9)]

    def put_small(self, batches: Sequence[Sequence[str]]) -> list[Contender]:
        def run(number: int) -> clients.Work:
            return clients.put_all(self._small(batches[number]), self.small)

        return [Contender("nginx dav", run, self._usage)]

    def get_small(self, batches: Sequence[Sequence[str]], *, seconds: int) -> list[Contender]:
        def run(_: int) -> clients.Work:
            names = [name for batch in batches for name in batch]
            return clients.wrk(self._small(names), self.folder, seconds=seconds)

        return [Contender("nginx static", run, self._usage)]

    def _small(self, names: Sequence[str]) -> list[str]:
        return [f"{self._url}/small/{name}" for name in names]
