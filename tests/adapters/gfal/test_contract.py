"""GridFTP keeps the contract on a real Globus server, as far as gfal2 can carry it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.base import Adapter
from adapters.testkit import AdapterContract, OtherProcesses, Settings
from tests.adapters.gfal.storages import build, settings_of
from tests.servers.gridftp import GridFtp


@pytest.fixture(scope="module")
def settings(gridftp: GridFtp) -> Settings:
    return settings_of(gridftp)


@pytest.fixture(scope="module")
def adapter(settings: Settings) -> Iterator[Adapter]:
    """One for all: each process of gfal2 logs in, which takes half a second."""
    adapter = build(settings)
    yield adapter
    adapter.close()


class TestGridFtp(AdapterContract, OtherProcesses):
    bulk_bytes = 64 * 1024 * 1024
    bulk_memory_bytes = 32 * 1024 * 1024
