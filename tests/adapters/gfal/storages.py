"""GridFTP storages on the servers of these tests, and what is asked of them again and again."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from adapters import registry
from adapters.base import Adapter, CheckStep
from adapters.gfal import GfalAdapter
from adapters.guard import Guarded
from adapters.testkit import AdapterContract, Settings
from tests.servers.gridftp import GridFtp


def settings_of(server: GridFtp, **changes: object) -> Settings:
    return Settings("gsiftp", server.options() | changes, server.identity.secrets())


def build(settings: Settings) -> Adapter:
    return registry.build(settings.scheme, "grid", settings.options, settings.credential)


def with_secrets(settings: Settings, **secrets: str) -> Settings:
    return replace(settings, credential=secrets)


def inner(adapter: Adapter) -> GfalAdapter:
    """The adapter behind its guard."""
    return cast(GfalAdapter, cast(Guarded, adapter).inner)


def assert_works(adapter: Adapter) -> None:
    AdapterContract.store(adapter, "works", b"data")
    assert AdapterContract.fetch(adapter, "works") == b"data"
    adapter.delete("works")


def failed_step(adapter: Adapter) -> CheckStep:
    *passed, failed = adapter.check()
    assert all(step.ok for step in passed)
    assert not failed.ok
    return failed
