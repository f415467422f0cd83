"""deploy/nginx.conf as it is shipped, in front of real gateways of both roles, used with curl."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from staging import aliases
from staging.models import Alias
from staging.states import AliasMode
from tests.conftest import Place, test_installation
from tests.servers.gateway import ROOT, Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.process import wait_until

pytestmark = pytest.mark.xdist_group("nginx")

SIZE = 8 * 1024 * 1024


@dataclass
class Site:
    """nginx, and the gateways behind it."""

    port: int
    nginx: Nginx
    data: Gateway

    def url(self, alias: Alias) -> str:
        return f"http://127.0.0.1:{self.port}" + self.data.alias_path(aliases.token_of(alias), "x.bin")

    def log(self, name: str) -> str:
        return (self.nginx.folder / name).read_text()


def site_config(folder: Path, port: int, control: int, data: int) -> Path:
    """The shipped files with the addresses and paths of this test; every other line is as shipped."""
    folder.mkdir(parents=True, exist_ok=True)
    replaced = {
        "listen 80;": f"listen 127.0.0.1:{port};",
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


@pytest.fixture(scope="module")
def site_processes(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    for name in ("control", "data"):
        (folder / name).mkdir()
    control = Gateway(folder / "control", **test_installation(), config="gunicorn_control.py")
    data = Gateway(folder / "data", **test_installation(), config="gunicorn_data.py")
    port = free_port()
    config = site_config(folder / "nginx", port, control.port, data.port)
    nginx = Nginx(config, folder / "nginx", [port])
    assert "test is successful" in nginx.test()
    with control, data, nginx:
        yield Site(port, nginx, data)


@pytest.fixture
def site(site_processes: Site, transactional_db: None) -> Site:
    return site_processes


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    file = tmp_path / "sent"
    file.write_bytes(b"0123456789abcdef" * (SIZE // 16))
    return file


def curl(*arguments: str | Path, body: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """What curl prints and how it ends; ``-w`` lines are its last."""
    return subprocess.run(["curl", "-sS", *map(str, arguments)], input=body, capture_output=True, timeout=60)


def test_a_file_and_a_stream_go_up_and_come_down_whole(site: Site, place: Place, sent: Path, tmp_path: Path) -> None:
    for key, upload in {"file": ["-T", sent], "stream": ["-T", "-"]}.items():
        url = site.url(place.alias(key, AliasMode.WRITE))
        up = curl("-f", *upload, url, body=sent.read_bytes() if upload[1] == "-" else None)
        assert up.returncode == 0, up.stderr
        url, received = site.url(place.alias(key)), tmp_path / key
        assert curl("-f", "-o", received, url).returncode == 0
        assert received.read_bytes() == sent.read_bytes()
        part = curl("-f", "-r", "4194300-4194309", "-D", "-", "-o", tmp_path / "part", url)
        assert b"206" in part.stdout.splitlines()[0]
        assert (tmp_path / "part").read_bytes() == sent.read_bytes()[4194300:4194310]


def test_nothing_is_kept_on_the_proxys_disk(site: Site, place: Place, sent: Path) -> None:
    curl("-f", "-T", sent, site.url(place.alias("k", AliasMode.WRITE)))
    curl("-f", "-o", "/dev/null", "--limit-rate", "8M", site.url(place.alias("k")))
    assert "temporary file" not in site.log("error.log")


def test_every_refused_upload_shows_its_status(site: Site, place: Place, sent: Path) -> None:
    alias = place.alias("refused", AliasMode.WRITE)
    url = site.url(alias)
    aliases.revoke(alias)
    for arguments in (["-T", sent], ["-T", sent, "-H", "Expect:"], ["-T", "-"]):
        for _ in range(5):
            answer = curl(
                "-o", "/dev/null", "-w", "%{http_code} %header{waybill-error-code}", *arguments, url, body=b"x" * SIZE
            )
            assert answer.stdout == b"410 alias_revoked", (arguments, answer)


def test_the_logs_hold_no_token_however_the_path_is_written(site: Site, place: Place, sent: Path) -> None:
    alias = place.alias("secret", AliasMode.WRITE)
    token, url = aliases.token_of(alias), site.url(alias)
    curl("-f", "-T", sent, url)
    for path in (
        f"/%61/{token}/x",
        f"//a/{token}/x",
        f"/live/../a/{token}/x",
        f"/a/{token}/x?{token}",
        f"/live?{token}",
    ):
        curl("--path-as-is", f"http://127.0.0.1:{site.port}{path}")
    last = curl("-D", "-", f"http://127.0.0.1:{site.port}/live").stdout.decode()
    request_id = re.search(r"(?i)x-request-id: (\w+)", last)
    assert request_id
    wait_until(lambda: request_id[1] in site.log("access.log"), what="the last request is logged")
    lines = [json.loads(line) for line in site.log("access.log").splitlines()]
    assert {"/a/", "/live"} <= {line["path"] for line in lines}
    for log in ("access.log", "error.log", "nginx.log"):
        assert token not in site.log(log)


def test_metrics_are_for_the_inside(site: Site) -> None:
    for path in ("/metrics", "//metrics", "/%6detrics", "/metrics?x"):
        answer = curl("--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{site.port}{path}")
        assert answer.stdout == b"403", path


def test_the_admin_is_served(site: Site) -> None:
    page = curl("-L", f"http://127.0.0.1:{site.port}/admin/").stdout.decode()
    assert "csrfmiddlewaretoken" in page
    styles = re.findall(r'href="(/static/[^"]+\.css)"', page)
    assert styles
    assert curl("-f", "-o", "/dev/null", f"http://127.0.0.1:{site.port}{styles[0]}").returncode == 0


def test_without_a_gateway_the_proxy_says_come_back_and_names_no_token(
    tmp_path: Path, place: Place, sent: Path
) -> None:
    port = free_port()
    nginx = Nginx(site_config(tmp_path / "nginx", port, free_port(), free_port()), tmp_path / "nginx", [port])
    token = aliases.token_of(place.alias("nobody", AliasMode.WRITE))
    with nginx:
        answer = curl("-D", "-", "-T", sent, f"http://127.0.0.1:{port}/a/{token}/x").stdout.decode()
    assert " 503 " in answer
    assert "Retry-After: 5" in answer
    assert json.loads(answer.splitlines()[-1])["code"] == "gateway_unavailable"
    assert not any(token in log.read_text() for log in (tmp_path / "nginx").glob("*.log"))
