"""Two gateways, worker and scheduler over one PostgreSQL and one Redis: an alias of one works through the other."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.demo.engine import Engine
from tests.servers.gateway import ROOT, Gateway
from tests.servers.ports import free_port
from tests.servers.postgres import Postgres
from tests.servers.process import Process, wait_until
from tests.servers.redis import Redis
from tests.system import own_database

pytestmark = [own_database, pytest.mark.xdist_group("two_gateways")]


@dataclass
class Installation:
    """The first gateway's API, and the address of the second."""

    engine: Engine
    second: str
    data_dir: Path
    redis: Redis

    def through_second(self, url: str) -> str:
        return self.second + urlsplit(url).path


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The first is `make up` with its worker and scheduler, the second a data role beside it."""
    folder = tmp_path_factory.mktemp("two")
    data_dir = folder / "data"
    with Postgres() as postgres, Redis(folder / "redis") as redis:
        database = postgres.create_database("waybill")
        settings = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "DATA_DIR": str(data_dir),
            "PORT": str(free_port()),
            "DATABASE_URL": database,
            "BROKER_URL": redis.url,
        }
        command = ["env", "-C", str(ROOT), "make", "-s", "-o", "install", "up"]
        first = Process.start("up", command, log=folder / "up.log", env=settings)
        try:
            first.wait_ready(lambda: "Ctrl-C stops everything" in first.last_words(), what="ready")
            engine = Engine.from_quickstart(data_dir / "quickstart.env")
            assert engine
            broker = {"BROKER_URL": redis.url}
            with Gateway(folder, database, data_dir, config="gunicorn_data.py", settings=broker) as second:
                yield Installation(engine, second.url, data_dir, redis)
        finally:
            first.stop(timeout_s=40)


def curl(*arguments: str) -> str:
    answer = subprocess.run(["curl", "-sS", *arguments], text=True, capture_output=True, timeout=60, check=True)
    return answer.stdout


def test_an_alias_of_the_first_gateway_works_through_the_second(installation: Installation, tmp_path: Path) -> None:
    engine, sent, received = installation.engine, tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(os.urandom(3 * 1024 * 1024))
    place = {"bucket": "scratch", "key": "two/x.bin"}
    up = engine.call("POST", "aliases", {**place, "mode": "write"})
    down = engine.call("POST", "aliases", {**place, "mode": "read"})
    curl("-f", "-T", str(sent), installation.through_second(up["url"]))
    curl("-f", "-o", str(received), down["url"])
    assert received.read_bytes() == sent.read_bytes()
    curl("-f", "-o", str(received), installation.through_second(down["url"]))
    assert received.read_bytes() == sent.read_bytes()
    engine.call("DELETE", f"aliases/{down['id']}")
    status = curl("-o", os.devnull, "-w", "%{http_code}", installation.through_second(down["url"]))
    assert status == "410"


def test_the_worker_removes_the_bytes_of_a_deleted_object(installation: Installation, tmp_path: Path) -> None:
    engine, content = installation.engine, os.urandom(100_000)
    (tmp_path / "sent").write_bytes(content)
    up = engine.call("POST", "aliases", {"bucket": "scratch", "key": "two/gone", "mode": "write"})
    curl("-f", "-T", str(tmp_path / "sent"), installation.through_second(up["url"]))
    stored = engine.call("GET", "buckets/scratch/objects/two/gone")
    assert stored["digests"]["sha256"] == hashlib.sha256(content).hexdigest()
    file = installation.data_dir / "storages" / "local" / stored["replicas"][0]["key"]
    assert file.read_bytes() == content
    engine.call("DELETE", "buckets/scratch/objects/two/gone")
    wait_until(lambda: not file.exists(), what="the worker removes the file", timeout_s=20)
