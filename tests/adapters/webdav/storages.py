"""WebDAV storages on the servers of these tests."""

from __future__ import annotations

from adapters import registry
from adapters.base import Adapter, CheckStep
from adapters.testkit import Settings


def settings_of(url: str, *, credential: dict[str, str] | None = None, **options: object) -> Settings:
    return Settings("webdav", {"url": url, **options}, credential or {})


def build(settings: Settings) -> Adapter:
    return registry.build(settings.scheme, "files", settings.options, settings.credential)


def failed_step(adapter: Adapter) -> CheckStep:
    *passed, failed = adapter.check()
    assert all(step.ok for step in passed)
    assert not failed.ok
    return failed
