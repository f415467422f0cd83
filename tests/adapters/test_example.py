"""The example of docs/adapters.md: an adapter from another package, found by its entry point, that passes the kit."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import registry
from adapters.base import Adapter
from adapters.registry import InvalidSettings
from adapters.testkit import AdapterContract, OtherProcesses, Settings

#: What pip would install: a module, and its metadata with the entry point.
PACKAGE = Path(__file__).parent / "example"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is there as if it had been installed."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    registry._of_others.cache_clear()
    yield
    registry._of_others.cache_clear()
    sys.modules.pop("blobs", None)


class TestBlobs(AdapterContract, OtherProcesses):
    bulk_bytes = 64 * 1024 * 1024
    bulk_memory_bytes = 16 * 1024 * 1024

    @pytest.fixture
    def settings(self, tmp_path: Path, installed: None) -> Settings:
        return Settings("blobs", {"file": str(tmp_path / "blobs.sqlite3")}, {})

    @pytest.fixture
    def adapter(self, settings: Settings) -> Adapter:
        return registry.build(settings.scheme, "own", settings.options, settings.credential)


def test_a_kind_of_another_package_is_there_once_it_is_installed(installed: None) -> None:
    assert "blobs" in registry.schemes()
    assert registry.describe("blobs").title == "SQLite file"


def test_without_its_package_the_kind_is_unknown() -> None:
    assert "blobs" not in registry.schemes()
    with pytest.raises(InvalidSettings):
        registry.describe("blobs")


def test_an_adapter_that_stumbles_over_its_settings_is_told_as_settings_that_are_wrong(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise KeyError("a secret")

    module = importlib.import_module("blobs")
    monkeypatch.setattr(module.BlobAdapter, "build", stumble)
    with pytest.raises(ValueError, match=r"^scheme: its adapter failed with KeyError$"):
        registry.build("blobs", "own", {"file": "/tmp/x"}, {})


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ("broken = no_such_module:Adapter", "No module named 'no_such_module'"),
        ("broken = blobs:_PAGE", "is no Adapter"),
        ("other = blobs:BlobAdapter", "its scheme is 'blobs'"),
        ("s3 = blobs:BlobAdapter", "its scheme is 'blobs'"),
    ],
)
def test_a_package_that_cannot_be_used_is_told_and_hinders_no_other(
    installed: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    point: str,
    reason: str,
) -> None:
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\n{point}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = [scheme for scheme in registry._OWN if scheme not in registry._INTERNAL]
    assert registry.schemes() == (*own, "blobs")
    assert "package theirs cannot be used" in caplog.text
    assert reason in caplog.text
    assert registry.describe("s3").title == "S3"
