"""deploy/nginx.conf as it is shipped, in front of real gateways of both roles, used with curl."""

import json
import re
from pathlib import Path

import pytest

from staging import aliases
from staging.states import AliasMode
from tests.place import Place
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.process import wait_until
from tests.system.site import Site, curl, site_config

pytestmark = pytest.mark.xdist_group("nginx")

SIZE = 8 * 1024 * 1024


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    file = tmp_path / "sent"
    file.write_bytes(b"0123456789abcdef" * (SIZE // 16))
    return file


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
    config = site_config(tmp_path / "nginx", port, free_port(), free_port(), http2_port=free_port())
    nginx = Nginx(config, tmp_path / "nginx", [port])
    token = aliases.token_of(place.alias("nobody", AliasMode.WRITE))
    with nginx:
        answer = curl("-D", "-", "-T", sent, f"http://127.0.0.1:{port}/a/{token}/x").stdout.decode()
        read = curl("-D", "-", f"http://127.0.0.1:{port}/a/{token}/x").stdout.decode()
        stream = curl("-D", "-", "-T", "-", f"http://127.0.0.1:{port}/a/{token}/x", body=b"x" * SIZE).stdout.decode()
    assert " 503 " in read
    assert " 422 " in stream
    assert "Waybill-Retryable: false" in stream
    assert "Retry-After" not in stream
    assert json.loads(stream.splitlines()[-1])["code"] == "gateway_unavailable"
    assert " 503 " in answer
    assert "Retry-After: 5" in answer
    assert json.loads(answer.splitlines()[-1])["code"] == "gateway_unavailable"
    assert not any(token in log.read_text() for log in (tmp_path / "nginx").glob("*.log"))
