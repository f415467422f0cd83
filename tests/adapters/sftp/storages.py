"""SFTP storages on the servers of these tests, and what is asked of them again and again."""

from __future__ import annotations

from adapters import registry
from adapters.base import Adapter, CheckStep
from adapters.sftp_endpoint import Endpoint, Engine
from adapters.sftp_settings import make_endpoint
from adapters.testkit import AdapterContract, Settings
from tests.adapters.sftp.stand_in import PASSWORD, USER, StandIn
from tests.servers.sshd import Sshd


def settings_of(server: Sshd, engine: Engine = Engine.AUTO, **changes: object) -> Settings:
    options = server.options() | {"engine": engine.value} | changes
    return Settings("sftp", options, {"private_key": server.key_file.read_text()})


def build(settings: Settings) -> Adapter:
    return registry.build(settings.scheme, "files", settings.options, settings.credential)


def endpoint_of(server: Sshd, engine: Engine) -> Endpoint:
    settings = settings_of(server, engine)
    return make_endpoint("files", settings.options, {name: str(value) for name, value in settings.credential.items()})


def stand_in_settings(server: StandIn, *, password: str = PASSWORD) -> Settings:
    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "username": USER,
        "root": str(server.root),
        "host_key": server.host_key,
    }
    return Settings("sftp", options, {"password": password})


def assert_works(adapter: Adapter) -> None:
    AdapterContract.store(adapter, "works", b"data")
    assert AdapterContract.fetch(adapter, "works") == b"data"
    adapter.delete("works")


def failed_step(adapter: Adapter) -> CheckStep:
    *passed, failed = adapter.check()
    assert all(step.ok for step in passed)
    assert not failed.ok
    return failed


def logins(server: Sshd) -> int:
    return server.log.read_text().count("Accepted publickey")
