"""A storage of another node keeps the contract through that node's gateway, and answers nobody but peers."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from adapters import peer_protocol, registry
from adapters.base import Adapter
from adapters.errors import AccessDenied, Unavailable
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings
from staging import projects, storages
from staging.models import Node, Storage
from staging.storages import StorageSpec
from tests.conftest import test_installation as installation
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.servers.proxy import CuttingProxy

NAME = "alpha"

pytestmark = pytest.mark.xdist_group("peer")


@pytest.fixture(scope="module")
def node(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("node"), **installation())
    gateway.settings = {"WAYBILL_NODE_NAME": NAME, "WAYBILL_NODE_URL": gateway.url, "WAYBILL_NODE_BEAT_S": "1"}
    with gateway:
        yield gateway
    with django_db_blocker.unblock():  # It has written down that it is there, in the database of all tests.
        Node.objects.filter(name=NAME).delete()


@pytest.fixture(scope="module")
def number(node: Gateway, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The one storage of the node: its rows stay for all tests here, of which none asks the database anything."""
    with django_db_blocker.unblock():
        wait_until(lambda: Node.objects.filter(name=NAME).exists(), what="the node registers")
        root = Path(django_settings.LOCAL_ROOTS[0]) / tmp_path_factory.mktemp("there").name
        root.mkdir(parents=True)
        project = projects.first_project()
        spec = StorageSpec("there", "local", {"root": str(root)}, tier=0, node=Node.objects.get(name=NAME))
        made = storages.create(project, spec).pk
    yield made
    with django_db_blocker.unblock():
        storages.delete(Storage.objects.get(pk=made))


@pytest.fixture(scope="module")
def settings(node: Gateway, number: int) -> Settings:
    options = {"url": node.url, "node": NAME, "number": number}
    return Settings("peer", options, {"secret": django_settings.PEER_SECRETS[0]})


@pytest.fixture
def adapter(settings: Settings) -> Iterator[Adapter]:
    adapter = registry.build(settings.scheme, "there", settings.options, settings.credential)
    yield adapter
    adapter.close()


class TestPeer(AdapterContract, OtherProcesses, Network):
    network_bytes = 8 * 1024 * 1024
    bulk_bytes = 64 * 1024 * 1024

    @pytest.fixture
    def network(self, node: Gateway, settings: Settings) -> Iterator[Line]:
        with CuttingProxy(node.port) as proxy:
            options = {**settings.options, "url": f"http://127.0.0.1:{proxy.port}", "stall_timeout_s": 3}
            adapter = registry.build("peer", "there", options, settings.credential)
            yield Line(adapter, proxy)
            adapter.close()


def test_nobody_else_is_answered(node: Gateway, settings: Settings, adapter: Adapter) -> None:
    with adapter.open_write("x", size=4) as session:
        session.write(b"data")
        session.publish()
    secret, number = str(settings.credential["secret"]), settings.options["number"]
    path, question = f"{peer_protocol.PREFIX}{number}/stat", json.dumps({"key": "x"})
    good = peer_protocol.sign(secret, NAME, path, question)
    late = peer_protocol.sign(secret, NAME, path, question, now=time.time() - peer_protocol.WINDOW_S - 5)
    of_another = peer_protocol.sign(secret, "beta", path, question)
    for signature, status in ((good, 200), (late, 462), (of_another, 462), (good[:-1], 462), ("", 462)):
        assert _ask(node, path, question, signature) == status
    assert _ask(node, path, json.dumps({"key": "y"}), good) == 462
    assert _ask(node, path.replace("stat", "delete"), question, good) == 462
    wrong = registry.build("peer", "there", settings.options, {"secret": "not the installation's"})
    other = registry.build("peer", "there", {**settings.options, "number": 10**6}, settings.credential)
    with closing(wrong), pytest.raises(AccessDenied):
        wrong.stat("x")
    with closing(other), pytest.raises(Unavailable):
        other.stat("x")
    assert adapter.stat("x").size == 4


def _ask(node: Gateway, path: str, question: str, signature: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    headers = {peer_protocol.QUESTION: question, peer_protocol.SIGNATURE: signature, "Content-Length": "0"}
    connection.request("POST", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status
