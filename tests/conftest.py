"""What all tests share: a project with a local storage, aliases in it, and a real gateway over the test database."""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.nodeid import NodeId
from django.conf import settings
from django.contrib.contenttypes.management import create_contenttypes
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models.signals import post_migrate
from django.test.utils import setup_databases, teardown_databases
from hypothesis import HealthCheck
from hypothesis import settings as examples
from pytest_django.plugin import DjangoDbBlocker

from staging import projects, storages
from staging.models import Bucket, Project
from staging.storages import StorageSpec
from tests.place import Place, S3Place
from tests.servers import faulty
from tests.servers.faulty import Faults
from tests.servers.gateway import Gateway
from tests.servers.process import ProgramMissing
from tests.servers.sshd import Sshd
from tests.servers.swift import ACCESS_KEY, SECRET_KEY, Swift
from tests.tables import Tables, is_shared
from tests.wire.desk import Desk

#: Servers that take long to start: what needs one of them runs in one process, with the first that it names here.
SLOW_SERVERS = ("swift", "gridftp", "apache", "irods", "site_processes", "few_process", "narrow_process")
#: Set for a second run of the tests on another database: what has nothing to do with it was run by the first.
ONLY_CATALOG = "WAYBILL_TEST_ONLY_CATALOG"
#: What `migrate` puts there; to make it anew would take longer than most tests.
KEPT_TABLES = {"django_content_type", "auth_permission"}

# How long an example takes says something of the machine, and nothing of what is tested.
examples.register_profile("patient", examples(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
examples.load_profile("patient")

# While tests are collected there is no garbage, only more and more to look through.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of a slow server together when they are shared out to processes."""
    if os.environ.get(ONLY_CATALOG):
        _leave_out(config, items, lambda item: not may_touch_the_catalog(item))
    for item in items:
        for server in SLOW_SERVERS:
            if server in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(server))
                break
        group = item.get_closest_marker("xdist_group")
        if group is not None and getattr(config.option, "loadgroup", False):
            # The name is what xdist goes by, and its own way to change it is lost on pytest 9.2 (pytest-xdist#1386).
            item._id = NodeId.parse(f"{item.nodeid}@{group.args[0]}")
    # What one process does alone begins first, so that nobody waits for it at the end.
    sizes = Counter(map(_group_of, items))
    items.sort(key=lambda item: -sizes[_group_of(item)] if _group_of(item) else 0)


def pytest_collection_finish() -> None:
    """From here on garbage is looked for among what tests make; all else stays to the end anyway."""
    gc.freeze()
    gc.enable()


def may_touch_the_catalog(item: pytest.Item) -> bool:
    """Whether the test has to run on each database. pytest-django refuses it to all tests that do not ask for it."""
    asks = "django_db_setup" in getattr(item, "fixturenames", ()) or item.get_closest_marker("django_db")
    # What is not run everywhere says itself where: nothing of it is left out besides.
    return bool(asks or item.get_closest_marker("skipif"))


def _has_rows_of_its_own(item: pytest.Item) -> bool:
    """What pytest-django goes by."""
    asks = {"db", "transactional_db"} & set(getattr(item, "fixturenames", ()))
    return bool(asks or item.get_closest_marker("django_db"))


def _leave_out(config: pytest.Config, items: list[pytest.Item], is_left: Callable[[pytest.Item], bool]) -> None:
    left = [item for item in items if is_left(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if not is_left(item)]


def _group_of(item: pytest.Item) -> str:
    group = item.get_closest_marker("xdist_group")
    return group.args[0] if group else ""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A program that is missing fails in CI and is skipped with its reason elsewhere."""
    outcome: Any = yield
    report = outcome.get_result()
    if call.excinfo is not None and call.excinfo.errisinstance(ProgramMissing) and not os.environ.get("CI"):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: {call.excinfo.value}")


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return Tables(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, tables: Tables) -> None:
    """Have the tables copied where another process has made them."""
    if is_shared():
        tables.take()


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest, django_db_setup: None, tables: Tables, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Have the tables emptied behind a test in the way that takes least, and nobody use them in the end."""
    with django_db_blocker.unblock():
        # pytest-django has made no database where the chosen tests have none of their own but a server that needs one:
        # their rows would go to the one that is no test's.
        is_made = any(map(_has_rows_of_its_own, request.session.items))
        made = [] if is_made else setup_databases(verbosity=0, interactive=False, aliases={DEFAULT_DB_ALIAS})
        tables.give()
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)
    names, quoted = connection.introspection.django_table_names, connection.ops.quote_name
    connection.introspection.django_table_names = lambda **which: [
        name for name in names(**which) if name not in KEPT_TABLES
    ]
    if connection.vendor == "postgresql":
        # To truncate a table is to make new files for it, however few rows there are.
        connection.ops.sql_flush = lambda _style, tables, **_how: [f"DELETE FROM {quoted(name)};" for name in tables]
    yield
    if connection.vendor == "postgresql":
        # A process that was killed may still have a session; the database cannot be dropped meanwhile.
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


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
    yield _folder_place(project, "disk", "local", tmp_path)
    storages.close_adapters()


@pytest.fixture
def faulty_place(project: Project, tmp_path: Path) -> Iterator[Place]:
    """The same on a storage that fails when ``faults`` says so, here and in ``faulty_gateway``."""
    faulty.install()
    yield _folder_place(project, "frail", "faulty", tmp_path)
    storages.close_adapters()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A real SFTP server; a test that ends it starts it again."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with Swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture
def sftp_place(project: Project, sshd: Sshd, tmp_path: Path) -> Iterator[Place]:
    """A storage on the SFTP server, in a folder of its own."""
    root = sshd.root / tmp_path.name
    root.mkdir()
    options = {**sshd.options(), "root": str(root), "connect_timeout_s": 10, "stall_timeout_s": 10}
    secrets = {"private_key": sshd.key_file.read_text()}
    yield make_place(project, "far-data", StorageSpec("far", "sftp", options, secrets, tier=2), root)
    storages.close_adapters()


@pytest.fixture
def s3_place(project: Project, swift: Swift, tmp_path: Path) -> Iterator[Place]:
    """A storage in an S3 bucket of its own."""
    bucket = f"test-{tmp_path.name.lower().replace('_', '-')}"[:60].rstrip("-")
    swift.create_bucket(bucket)
    secrets = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    spec = StorageSpec("s3", "s3", {"endpoint": swift.endpoint, "bucket": bucket}, secrets, tier=2)
    yield S3Place(make_place(project, "s3-data", spec, tmp_path), swift, bucket)
    storages.close_adapters()


@pytest.fixture
def faults(faulty_place: Place) -> Iterator[Faults]:
    """What fails on ``faulty_place``; nothing goes on failing after the test."""
    found = Faults(faulty_place.root)
    yield found
    found.heal()


@pytest.fixture(scope="session")
def gateway_process(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real gunicorn over the test database, shared by the tests that leave it alive."""
    with Gateway(tmp_path_factory.mktemp("gateway"), **test_installation()) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def faulty_gateway_process(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real gunicorn whose process knows storages that fail."""
    with Gateway(tmp_path_factory.mktemp("faulty-gateway"), application=faulty.WSGI, **test_installation()) as gateway:
        yield gateway


@pytest.fixture
def gateway(gateway_process: Gateway, transactional_db: None) -> Gateway:
    """The shared gateway, in a test whose rows it can see."""
    return gateway_process


@pytest.fixture
def desk(gateway: Gateway, place: Place) -> Desk:
    """Aliases in the local place, and the shared gateway."""
    return Desk(gateway, place)


@pytest.fixture
def faulty_desk(faulty_gateway_process: Gateway, faulty_place: Place) -> Desk:
    """Aliases in the place that fails, and the gateway that knows it."""
    return Desk(faulty_gateway_process, faulty_place)


@pytest.fixture
def sftp_desk(gateway: Gateway, sftp_place: Place) -> Desk:
    """Aliases on the SFTP server, and the shared gateway."""
    return Desk(gateway, sftp_place)


@pytest.fixture
def s3_desk(gateway: Gateway, s3_place: Place) -> Desk:
    """Aliases on S3, and the shared gateway."""
    return Desk(gateway, s3_place)


def _folder_place(project: Project, name: str, scheme: str, tmp_path: Path) -> Place:
    root = Path(settings.LOCAL_ROOTS[0]) / tmp_path.name / scheme
    root.mkdir(parents=True)
    return make_place(project, f"{name}-data", StorageSpec(name, scheme, {"root": str(root)}, tier=1), root)


def test_installation() -> dict[str, Any]:
    """What a gateway needs to be one installation with this test process: its database, keys and local roots."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{values['NAME']}"
    else:
        url = f"postgres://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
    return {"database_url": url, "shared_data_dir": Path(settings.DATA_DIR)}


test_installation.__test__ = False  # type: ignore[attr-defined]
