"""One nginx as it is shipped, in front of a real gateway of each role."""

from collections.abc import Iterator

import pytest

from tests.conftest import test_installation as installation
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
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
