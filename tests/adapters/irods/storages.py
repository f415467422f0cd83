"""iRODS storages on the stand-in, or on the real server that ``WAYBILL_TEST_IRODS`` names."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, unquote, urlsplit

from adapters import registry
from adapters.base import Adapter, CheckStep
from adapters.irods_settings import Endpoint, make_endpoint
from adapters.testkit import Settings
from tests.servers.irods import PASSWORD, Irods

#: ``irods://user:password@host:1247/zone/path``, and more options as ``?name=value``; empty: the stand-in.
REAL = os.environ.get("WAYBILL_TEST_IRODS", "")


def settings_of(server: Irods, *, password: str = PASSWORD, **changes: object) -> Settings:
    return Settings("irods", server.options(**changes), {"password": password})


def real_settings(**changes: object) -> Settings:
    """The storage that ``WAYBILL_TEST_IRODS`` describes; without TLS where nothing else is said."""
    url = urlsplit(REAL)
    options = {
        "host": url.hostname,
        "port": url.port or 1247,
        "username": unquote(url.username or ""),
        "zone": url.path.split("/")[1],
        "root": unquote(url.path),
        "client_server_policy": "CS_NEG_REFUSE",
        **dict(parse_qsl(url.query)),
        **changes,
    }
    return Settings("irods", options, {"password": unquote(url.password or "")})


def build(settings: Settings) -> Adapter:
    return registry.build(settings.scheme, "zone", settings.options, settings.credential)


def endpoint_of(settings: Settings) -> Endpoint:
    return make_endpoint("zone", settings.options, {name: str(value) for name, value in settings.credential.items()})


def failed_step(adapter: Adapter) -> CheckStep:
    *passed, failed = adapter.check()
    assert all(step.ok for step in passed)
    assert not failed.ok
    return failed
