"""Local folders keep the contract, on a real file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters import registry
from adapters.base import Adapter
from adapters.testkit import AdapterContract, OtherProcesses, Settings


class TestLocal(AdapterContract, OtherProcesses):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings("local", {"root": str(tmp_path)}, {})

    @pytest.fixture
    def adapter(self, settings: Settings) -> Adapter:
        return registry.build(settings.scheme, "disk", settings.options, settings.credential)
