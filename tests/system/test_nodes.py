"""Two nodes over one catalog: what one has in its memory is read through the other, and a lost one lies to nobody."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db.models import F
from pytest_django.plugin import DjangoDbBlocker

from staging import buckets, catalog, node_copies, nodes, storages, transfers
from staging.buckets import BucketSpec
from staging.models import Event, Node, Object, Project, Storage, Transfer
from staging.states import TransferState
from staging.storages import StorageSpec
from tests.conftest import test_installation as installation
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.wire.curl import begin, curl, end
from tests.wire.desk import Desk, sha256
from tests.wire.line import Answer

pytestmark = pytest.mark.xdist_group("nodes")

DATA = os.urandom(1024 * 1024) * 24
SMALL = os.urandom(100_000)
MEMORY = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())


@dataclass
class Pair:
    """Two gateways, each a node; the storage ``ram`` is in the memory of ``a``, ``disk`` is everybody's."""

    a: Gateway
    b: Gateway
    ram: Storage
    folder: Path
    disk: Place

    def desk(self, name: str, gateway: Gateway, **policy: Any) -> Desk:
        """Aliases of a new bucket on the disk, whose bytes land in the memory of ``a``."""
        spec = BucketSpec(name, self.disk.storage, policy={"lands_on": "ram", **policy})
        made = buckets.create(self.disk.project, spec)
        return Desk(gateway, Place(self.disk.project, self.ram, made, self.disk.mounted, self.folder))

    def work(self) -> list[str]:
        """Do what is due, as a worker somewhere else; how each ended."""
        due = Transfer.objects.filter(state=TransferState.QUEUED).order_by("priority", "pk")
        done = [str(transfer.pk) for transfer in due]
        for transfer in done:
            transfers.run(transfer)
        return [f"{one.kind} {one.label} {one.state}" for one in Transfer.objects.filter(pk__in=done)]

    def let_pass(self, seconds: int) -> Node:
        """As if the first node had been silent, and in its state, for so much longer."""
        earlier = timedelta(seconds=seconds)
        Node.objects.filter(name="a").update(seen_at=F("seen_at") - earlier, changed_at=F("changed_at") - earlier)
        nodes.judge()
        return Node.objects.get(name="a")

    def comes_back(self) -> None:
        self.a.start()
        is_back = Node.objects.filter(name="a", state="active", leaving_at=None)
        wait_until(is_back.exists, what="the first node is back")


@pytest.fixture(scope="module")
def gateways(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Gateway]]:
    found = {}
    for name in ("a", "b"):
        found[name] = Gateway(tmp_path_factory.mktemp(name), **installation())
        here = {"WAYBILL_NODE_URL": found[name].url, "WAYBILL_NODE_NAME": name, "WAYBILL_NODE_BEAT_S": "1"}
        found[name].settings = {**here, "WAYBILL_NODE_PEERS": "redirect"}
    with found["a"], found["b"]:
        yield found
    with django_db_blocker.unblock():  # They may have registered once more behind the last test.
        Node.objects.all().delete()


@pytest.fixture
def pair(
    gateways: dict[str, Gateway], project: Project, place: Place, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    monkeypatch.setattr(django_settings, "LOCAL_ROOTS", [*django_settings.LOCAL_ROOTS, MEMORY])
    for gateway in gateways.values():
        if not gateway.processes:
            gateway.start()
    active = Node.objects.filter(state="active")
    wait_until(lambda: active.count() == 2, what="both nodes are there")
    Storage.objects.filter(pk=place.storage.pk).update(tier=2)
    place.storage.refresh_from_db()
    spec = StorageSpec("ram", "local", {"root": str(folder)}, tier=0, node=Node.objects.get(name="a"))
    yield Pair(gateways["a"], gateways["b"], storages.create(project, spec), folder, place)
    storages.close_adapters()
    shutil.rmtree(folder)


def is_passing(answer: Answer) -> bool:
    """Whether the client is told to come back."""
    return answer.status in (502, 503) and answer["Waybill-Retryable"] == "true"


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_what_lies_in_the_memory_of_one_node_is_read_and_written_through_the_other(pair: Pair) -> None:
    through_b = pair.desk("runs", pair.b, write="back")
    path = through_b.stored(DATA)
    assert [file.stat().st_size for file in files(pair.folder)] == [len(DATA)]
    for desk in (Desk(pair.a, through_b.place), through_b):
        assert sha256(desk.ask("GET", path).body) == sha256(DATA)
        part = desk.ask("GET", path, {"Range": "bytes=1000-2000000"})
        assert (part.status, part.body) == (206, DATA[1000:2000001])
        head = desk.ask("HEAD", path)
        assert (head.status, head["Content-Length"]) == (200, str(len(DATA)))
        assert desk.ask("GET", path, {"Range": f"bytes={len(DATA)}-"}).status == 416
    sent_on = through_b.ask("GET", f"{path}?redirect=1")
    assert (sent_on.status, sent_on["Location"]) == (307, f"{pair.a.url}{path}?redirect=1&peer=1")
    assert curl("-sSL", "-r", "5-104", through_b.url(f"{path}?redirect=1")).output == DATA[5:105]
    assert pair.work() == ["flush runs/d/x.bin done"]
    assert path.split("/")[2] not in pair.b.log.read_text() + pair.a.log.read_text(), "no token in a log"


def test_a_node_that_is_killed_is_lost_and_what_it_brings_back_is_read_before_it_counts(
    pair: Pair, tmp_path: Path
) -> None:
    alone, target = pair.desk("alone", pair.b, write="ephemeral", spill=False), tmp_path / "x"
    path, damaged = alone.stored(DATA), alone.stored(SMALL, "damaged")
    twice = pair.desk("twice", pair.b, write="back")
    elsewhere = twice.stored(DATA, "copied")
    assert pair.work() == ["flush twice/copied done"]
    broken = begin(["-sS", "--limit-rate", "4M", "-o", target, alone.url(path)])
    going_on = begin(["-sS", "--limit-rate", "16M", "-o", tmp_path / "y", twice.url(elsewhere)])
    for file in (target, tmp_path / "y"):
        wait_until(lambda file=file: file.exists() and file.stat().st_size > 500_000, what="some bytes have come")
    pair.a.kill()
    assert end(broken).exit == 18, "a transfer that breaks off is told"
    assert DATA.startswith(target.read_bytes())
    assert (end(going_on).exit, (tmp_path / "y").read_bytes() == DATA) == (0, True), "another copy goes on"
    assert is_passing(alone.ask("GET", path))

    assert pair.let_pass(20).state == "active"
    assert pair.let_pass(20).state == "suspect"
    assert is_passing(alone.ask("GET", path))
    assert pair.let_pass(1000).state == "lost"
    node_copies.follow()
    assert set(Object.objects.values_list("key", "state")) == {
        ("d/x.bin", "lost"),
        ("damaged", "lost"),
        ("copied", "available"),
    }
    refused = alone.ask("GET", path)
    assert (refused.status, refused.code, refused["Waybill-Retryable"]) == (503, "object_unavailable", "true")
    closed = alone.ask("PUT", alone.write("new"), body=SMALL)
    assert (closed.status, closed.code) == (503, "storage_closed"), "nothing final: the node may come back"
    assert twice.ask("GET", elsewhere).body == DATA
    counts = [Event.objects.filter(kind=kind).count() for kind in ("node.suspect", "node.lost", "object.lost")]
    assert counts == [1, 1, 2]

    of_damaged = catalog.current(alone.bucket, "damaged")
    assert of_damaged is not None
    wrong = pair.folder / of_damaged.replicas.get().key
    wrong.write_bytes(SMALL[:-1] + bytes([SMALL[-1] ^ 1]))
    pair.comes_back()
    assert alone.ask("GET", path).status == 503, "nothing counts before it was read"
    node_copies.follow()
    pair.work()
    states = dict(Object.objects.values_list("key", "state"))
    assert states == {"d/x.bin": "available", "damaged": "lost", "copied": "available"}
    assert alone.ask("GET", path).body == DATA
    assert alone.ask("GET", damaged).status == 503
    assert Storage.objects.get(name="ram").state == "active"


def test_a_node_that_is_told_to_stop_hands_over_what_only_its_memory_has(pair: Pair) -> None:
    kept = pair.desk("kept", pair.b, write="ephemeral", spill=False).stored(SMALL, "kept")
    back = pair.desk("back", pair.b, write="back")
    path = back.stored(DATA)
    pair.a.stop()
    node = Node.objects.get(name="a")
    assert (node.state, node.leaving_at is not None) == ("suspect", True), "nobody waits for its silence"
    assert back.ask("GET", path).body == DATA, "from the disk"
    told = pair.a.log.read_text()
    assert "kept/kept" in told
    assert "back/d/x.bin" not in told
    assert back.ask("PUT", back.write("new"), body=SMALL).status == 201, "new bytes land elsewhere"
    pair.comes_back()
    assert back.ask("GET", kept).body == SMALL
