"""What all tests share: a project with a local storage, aliases in it, and a real gateway over the test database."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from staging import aliases, projects, storages
from staging.aliases import AliasSpec
from staging.models import Alias, Bucket, Project, Storage
from staging.states import AliasMode
from staging.storages import StorageSpec
from tests.servers.gateway import Gateway
from tests.servers.process import ProgramMissing


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A program that is missing fails in CI and is skipped with its reason elsewhere."""
    outcome: Any = yield
    report = outcome.get_result()
    if call.excinfo is not None and call.excinfo.errisinstance(ProgramMissing) and not os.environ.get("CI"):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: {call.excinfo.value}")


@dataclass
class Place:
    """A project with one local storage, a managed bucket on it, and that storage's root mounted."""

    project: Project
    storage: Storage
    managed: Bucket
    mounted: Bucket
    root: Path

    def alias(self, key: str, mode: AliasMode = AliasMode.READ, *, mounted: bool = False, **spec: Any) -> Alias:
        """A new alias of the managed bucket, or of the mounted one."""
        return aliases.create(self.mounted if mounted else self.managed, [AliasSpec(mode, key, **spec)])[0]

    def files(self) -> list[str]:
        """Every file below the storage's root, unfinished ones too."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())


def make_place(project: Project, name: str, spec: StorageSpec, root: Path) -> Place:
    """A storage with a managed bucket of the same name on it."""
    storage = storages.create(project, spec)
    managed = Bucket.objects.create(project=project, name=name, storage=storage)
    mounted = Bucket.objects.get(project=project, name=storages.root_bucket_name(storage.name))
    return Place(project, storage, managed, mounted, root)


@pytest.fixture
def project(transactional_db: None) -> Project:
    """The first project of a new installation."""
    return projects.first_project()


@pytest.fixture
def place(project: Project, tmp_path: Path) -> Iterator[Place]:
    """A local storage in a temporary folder."""
    root = Path(settings.LOCAL_ROOTS[0]) / tmp_path.name
    root.mkdir(parents=True)
    yield make_place(project, "data", StorageSpec("disk", "local", {"root": str(root)}, tier=1), root)
    storages.close_adapters()


@pytest.fixture(scope="session")
def gateway_process(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real gunicorn over the test database, shared by the tests that leave it alive."""
    with Gateway(tmp_path_factory.mktemp("gateway"), **test_installation()) as gateway:
        yield gateway


@pytest.fixture
def gateway(gateway_process: Gateway, transactional_db: None) -> Gateway:
    """The shared gateway, in a test whose rows it can see."""
    return gateway_process


def test_installation() -> dict[str, Any]:
    """What a gateway needs to be one installation with this test process: its database, keys and local roots."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{values['NAME']}"
    else:
        url = f"postgres://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
    return {"database_url": url, "shared_data_dir": Path(settings.DATA_DIR)}


test_installation.__test__ = False  # type: ignore[attr-defined]
