"""One Apache for the tests of a module, and a storage in a folder of the test's own on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.base import Adapter
from tests.adapters.webdav.storages import build, settings_of
from tests.servers.apache import PASSWORD, USER, Apache


@pytest.fixture(scope="module")
def apache() -> Iterator[Apache]:
    with Apache(password=True) as server:
        yield server


@pytest.fixture
def dav(apache: Apache) -> Iterator[Adapter]:
    adapter = build(settings_of(apache.url, username=USER, credential={"password": PASSWORD}))
    yield adapter
    adapter.close()
