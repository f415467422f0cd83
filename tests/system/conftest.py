"""One nginx as it is shipped, in front of a real gateway of each role; workers that may be killed, and their yard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from staging import storages
from staging.models import Project
from tests.conftest import test_installation as installation
from tests.servers import faulty
from tests.servers.gateway import Gateway
from tests.servers.mortals import Mortals
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.staging.yard import Yard
from tests.system.site import Site, site_config


@pytest.fixture(scope="session")
def site_processes(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    for name in ("control", "data"):
        (folder / name).mkdir()
    control = Gateway(folder / "control", **installation(), config="gunicorn_control.py")
    data = Gateway(folder / "data", **installation(), config="gunicorn_data.py")
    port, http2_port = free_port(), free_port()
    config = site_config(folder / "nginx", port, control.port, data.port, http2_port=http2_port)
    nginx = Nginx(config, folder / "nginx", [port, http2_port])
    assert "test is successful" in nginx.test()
    with control, data, nginx:
        yield Site(port, http2_port, nginx, data)


@pytest.fixture
def site(site_processes: Site, transactional_db: None) -> Site:
    return site_processes


@pytest.fixture(scope="module")
def mortals(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortals]:
    environment = {
        "DATABASE_URL": installation()["database_url"],
        "DATA_DIR": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
    }
    with Mortals(tmp_path_factory.mktemp("mortals"), environment) as mortals:
        yield mortals


@pytest.fixture
def yard(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    faulty.install()
    monkeypatch.setattr("staging.queue._send", lambda *_: None)
    yard = Yard(project, tmp_path)
    for storage in yard.storages.values():
        # A process that is killed loses nothing that it wrote, be it on the disk or not.
        storage.options["sync"] = False
        storage.save(update_fields=["options"])
    yield yard
    for name in yard.storages:
        yard.faults(name).heal()
    storages.close_adapters()
