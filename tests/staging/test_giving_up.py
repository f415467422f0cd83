"""Giving up a storage that is gone for good: what has other copies is made anew, the rest is lost, and told to be."""

import io
import json
import shutil
import tracemalloc
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from adapters.errors import Offline
from staging import aliases, drains, giving_up, nodes, reading, reservations, tally, tiers
from staging.alias_terms import AliasSpec
from staging.errors import DataPending, InvalidRequest, ObjectLost, ObjectUnavailable, StorageGone
from staging.explaining import explain
from staging.models import Bucket, CachedBlock, Event, Node, Object, Replica, Storage, Transfer
from staging.states import AliasMode, NodeState, ReplicaState, StorageState
from staging.storages import root_bucket_name
from tests.staging.yard import BACK, DATA, TWO, Yard, read

EPHEMERAL = {"write": "ephemeral", "lands_on": "fast"}


class Counted(io.StringIO):
    """Keeps nothing of what is written."""

    characters = 0

    def write(self, text: str) -> int:
        self.characters += len(text)
        return len(text)


def burn(yard: Yard, name: str) -> None:
    """Nothing that is asked of it is answered, and nothing is left of it."""
    shutil.rmtree(yard.folder / name)
    for call in ("stat", "open_read", "open_write", "delete"):
        yard.faults(name).fail(call, Offline)


def becomes(node: Node, state: str) -> None:
    with transaction.atomic():
        nodes._change(node, NodeState(state), f"node.{state}")


def asked(bucket: Bucket, key: str) -> reading.Found:
    alias = aliases.create(Bucket.objects.get(pk=bucket.pk), [AliasSpec(AliasMode.READ, key)])[0]
    return reading.find(alias)


def test_what_has_another_copy_is_made_anew_and_the_rest_is_lost_for_good(yard: Yard) -> None:
    safe, plain = yard.bucket("safe", **TWO), yard.bucket("plain")
    kept, lost = yard.put(safe, "kept", DATA), yard.put(plain, "lost", DATA)
    yard.work()
    shared = yard.put(plain, "shared", DATA)
    Storage.objects.filter(name="fast").update(tier=2)
    waiting = yard.put(safe, "on its way", DATA)
    alias = aliases.create(plain, [AliasSpec(AliasMode.WRITE, "upload")])[0]
    reservations.reserve(alias, yard["home"], f".waybill/1/aa/{uuid.uuid4().hex}", uuid.uuid4(), 5, "")
    burn(yard, "home")
    found = giving_up.outlook(yard["home"])
    assert (found.replicas, found.uploads, found.lost_objects, found.lost_bytes) == (4, 1, 3, 3 * len(DATA))
    assert list(giving_up.lost(yard["home"])) == ["plain/lost", "plain/shared", "safe/on its way"]
    with pytest.raises(InvalidRequest) as refused:
        giving_up.start(yard["home"], to=yard["fast"], lose=2)
    assert "lose" in refused.value.fields
    with pytest.raises(InvalidRequest) as refused:
        giving_up.start(yard["home"], lose=3)
    assert "to" in refused.value.fields
    assert yard["home"].state == StorageState.ACTIVE, "a refusal changes nothing"
    giving_up.start(yard["home"], to=yard["fast"], lose=3)
    giving_up.start(yard["home"], to=yard["far"])
    assert (yard["home"].state, yard["home"].drain_to.name) == ("lost", "fast")
    assert not yard["home"].replicas.exists()
    assert not yard["home"].uploads.exists()
    assert (yard["home"].used_bytes, yard["home"].reserved_bytes) == (0, 0)
    assert Event.objects.get(kind="storage.given_up").facts["lost"] == ["plain/lost", "plain/shared", "safe/on its way"]
    assert Event.objects.filter(kind="object.lost").count() == 3
    yard.hurry()
    yard.work()
    assert yard.where(kept) == {"far": "available", "fast": "available"}
    assert read(kept) == DATA
    for bucket, target in ((plain, lost), (plain, shared), (safe, waiting)):
        with pytest.raises(ObjectLost):
            asked(bucket, target.key)
    assert explain(Object.objects.get(pk=lost.pk)).next == [
        "Nothing: every copy is gone for good. It has to be uploaded again, or deleted."
    ]
    assert not Transfer.objects.filter(state__in=["queued", "running"]).exists()
    aliases.create(Bucket.objects.get(pk=plain.pk), [AliasSpec(AliasMode.WRITE, "lost")])
    with pytest.raises(DataPending):
        asked(plain, "lost")
    again = yard.put(plain, "lost", DATA)
    assert (yard.where(again), read(again)) == ({"fast": "available"}, DATA)
    assert not any(tally.drift(yard[name]) for name in yard.storages)
    yard["home"].delete()


def test_an_object_that_is_on_its_way_elsewhere_is_not_told_to_be_lost(yard: Yard) -> None:
    bucket = yard.bucket(**BACK)
    made = yard.put(bucket, "x", DATA)
    yard.faults("home").fail("publish", Offline, once=True)
    yard.work()
    copy = yard.copy_on(made, "home")
    assert copy.state == ReplicaState.COPYING
    giving_up.start(yard["fast"], lose=1)
    assert Object.objects.get().state == "lost"
    with pytest.raises(ObjectUnavailable):
        asked(bucket, "x")
    # Its worker has read all that it needs.
    yard.hurry()
    yard.work()
    with pytest.raises(ObjectLost):
        asked(bucket, "x")
    assert not Replica.objects.exists()
    yard.put(bucket, "x", DATA)
    assert asked(bucket, "x").size == len(DATA)


def test_a_copy_that_may_be_repaired_keeps_the_object_from_being_lost(yard: Yard) -> None:
    made = yard.put(yard.bucket(**TWO), "x", DATA)
    yard.work()
    Replica.objects.filter(storage__name="far").update(state=ReplicaState.BAD)
    giving_up.start(yard["home"], to=yard["far"], lose=1)
    assert Object.objects.get().state == "unavailable"
    assert yard.where(made) == {"far": "bad"}


def test_a_storage_that_comes_back_with_its_node_stays_given_up(yard: Yard, settings: Any) -> None:
    now = timezone.now()
    settings.NODE_NAME, settings.NODE_URL = "alpha", "http://127.0.0.1:1"
    node = Node.objects.create(name="alpha", url=settings.NODE_URL, started_at=now, seen_at=now, changed_at=now)
    Storage.objects.filter(name="fast").update(node=node)
    bucket = yard.bucket(**EPHEMERAL)
    yard.put(bucket, "x", DATA)
    becomes(node, "lost")
    with pytest.raises(ObjectUnavailable):
        asked(bucket, "x")
    assert not yard["fast"].is_given_up, "its node may come back"
    giving_up.start(yard["fast"], to=None, lose=1)
    for state in ("active", "suspect", "lost", "active"):
        becomes(node, state)
        assert yard["fast"].is_given_up, state
    with pytest.raises(ObjectLost):
        asked(bucket, "x")


def test_cached_blocks_and_mounted_files_go_with_it(yard: Yard) -> None:
    bucket = yard.bucket(cache="read", lands_on="fast")
    yard.put(bucket, "x", DATA)
    found = asked(bucket, "x")
    with tiers.open_stream(Bucket.objects.get(pk=bucket.pk), found, 0, len(DATA)) as stream:
        assert stream.read() == DATA
    assert CachedBlock.objects.exists()
    mounted = Bucket.objects.create(
        project=yard.project, name=root_bucket_name("fast"), storage=yard["fast"], mounted=True, prefix=""
    )
    (yard.folder / "fast" / "file").write_bytes(b"theirs")
    assert asked(mounted, "file").size == 6
    giving_up.start(yard["fast"])
    assert not CachedBlock.objects.exists()
    assert not tally.drift(yard["fast"])
    with pytest.raises(StorageGone):
        asked(mounted, "file")
    with pytest.raises(StorageGone):
        yard.put(mounted, "file", DATA)


def test_a_drain_that_led_there_leads_on(yard: Yard) -> None:
    made = yard.put(yard.bucket(), "x", DATA)
    Storage.objects.filter(name="fast").update(tier=2)
    drains.start(yard["home"], yard["far"])
    giving_up.start(yard["far"], to=yard["fast"])
    for _ in range(4):
        yard.hurry()
        yard.work()
        drains.sweep()
    assert yard["home"].state == StorageState.DRAINED
    assert yard.where(made) == {"fast": "available"}


def test_many_rows_go_step_by_step(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_up, "_AT_ONCE", 2)
    monkeypatch.setattr(giving_up, "_BATCHES", 1)
    bucket = yard.bucket()
    for number in range(5):
        yard.put(bucket, f"{number}", DATA)
    giving_up.start(yard["home"], to=yard["far"], lose=5)
    assert giving_up.outlook(yard["home"]).replicas == 3
    for left in (1, 0, 0):
        giving_up.sweep()
        assert giving_up.outlook(yard["home"]).replicas == left


def test_the_command_tells_first_and_acts_when_it_is_told_how_much_may_be_lost(yard: Yard) -> None:
    yard.put(yard.bucket("safe"), "x", DATA)
    out = io.StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("give_up", "home", stdout=out)
    assert "1 objects (16384 bytes) can be read nowhere else:\n    safe/x" in out.getvalue()
    with pytest.raises(CommandError, match="1 objects can be read nowhere else"):
        call_command("give_up", "home", "--act", "--to", "far", stdout=out)
    assert yard["home"].state == StorageState.ACTIVE
    out = io.StringIO()
    call_command("give_up", "home", "--act", "--to", "far", "--lose", "1", "--json", stdout=out)
    assert json.loads(out.getvalue())["objects"] == ["safe/x"]
    assert yard["home"].is_given_up


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_the_command_holds_few_names_at_a_time(yard: Yard, how: list[str]) -> None:
    home, made = yard["home"], yard.put(yard.bucket(), "x", DATA)
    folder = "/".join("f" * 200 for _ in range(4))
    rows = [
        Object(bucket_id=made.bucket_id, key=f"{folder}/{number}", version=1, size=1, sha256=made.sha256)
        for number in range(10_000)
    ]
    Object.objects.bulk_create(rows, batch_size=500)
    Replica.objects.bulk_create([Replica(object=row, storage=home, key=str(row.pk), size=1) for row in rows], 500)
    del rows
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # A table that has just been filled is planned for as if it were empty.
    out = Counted()
    tracemalloc.start()
    try:
        with pytest.raises(SystemExit, match="1"):
            call_command("give_up", "home", *how, stdout=out)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert out.characters > 8_000_000
    assert most < 4_000_000
