"""Gateways that a test may kill, and a PostgreSQL of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from staging import projects, storages
from staging.storages import StorageSpec
from tests.conftest import make_place
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers import faulty
from tests.servers.gateway import Gateway
from tests.servers.postgres import USER, Postgres
from tests.sweep import extent
from tests.wire.desk import Desk

#: What is committed survives its crash.
DURABLE = {"synchronous_commit": "on", "full_page_writes": "on"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What `make sweep` has run, and how to run the very same again."""
    if extent.IS_FULL:
        done = ", ".join(f"{fault} {count}" for fault, count in sorted(extent.DONE.items()))
        terminalreporter.write_line(f"sweep: {extent.DONE.total()} cases ({done}), SWEEP_SEED={extent.SEED}")
        terminalreporter.write_line(f"sweep: {extent.LEFT.total()} cases were left for want of time")


@pytest.fixture
def own_gateway(django_db_setup: None, place: Place, tmp_path: Path) -> Iterator[Desk]:
    """A gateway that the test may kill."""
    with Gateway(tmp_path, **installation()) as gateway:
        yield Desk(gateway, place)


@pytest.fixture
def own_faulty_gateway(django_db_setup: None, faulty_place: Place, tmp_path: Path) -> Iterator[Desk]:
    """A gateway that the test may kill, and that knows storages which hold what comes to a step."""
    with Gateway(tmp_path, application=faulty.WSGI, **installation()) as gateway:
        yield Desk(gateway, faulty_place)


@pytest.fixture
def own_database(transactional_db: None, tmp_path: Path) -> Iterator[tuple[Postgres, Desk]]:
    """A gateway over a PostgreSQL that the test may crash; the test's own queries go there too."""
    with Postgres(settings=DURABLE) as server:
        server.create_database("waybill")
        own = {"NAME": "waybill", "USER": USER, "PASSWORD": "", "HOST": "127.0.0.1", "PORT": server.port}
        shared = {name: connection.settings_dict[name] for name in own}
        _connect(own)
        try:
            call_command("migrate", verbosity=0)
            root = Path(settings.LOCAL_ROOTS[0]) / tmp_path.name
            root.mkdir(parents=True)
            spec = StorageSpec("disk", "local", {"root": str(root)}, tier=1)
            place = make_place(projects.first_project(), "disk-data", spec, root)
            with Gateway(tmp_path, **installation()) as gateway:
                yield server, Desk(gateway, place)
        finally:
            storages.close_adapters()
            _connect(shared)


def _connect(values: dict[str, object]) -> None:
    """Let Django's connections of this process lead to another database from now on."""
    connection.close()
    connection.close_pool()
    connection.settings_dict.update(values)
