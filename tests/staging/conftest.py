"""What tests of the domain share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from staging import storages
from staging.models import Project
from tests.servers import faulty
from tests.staging.yard import Yard


@pytest.fixture
def yard(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """Three storages and no bucket yet; nothing goes on failing after the test, and only ``hurry`` ends a wait."""
    monkeypatch.setattr("staging.transfers.RETRY_BASE_S", 900)
    monkeypatch.setattr("staging.transfers.random.random", lambda: 0.99)
    faulty.install()
    yard = Yard(project, tmp_path)
    yield yard
    for name in yard.storages:
        yard.faults(name).heal()
    storages.close_adapters()
