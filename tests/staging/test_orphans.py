"""What storages hold is compared with the catalog: orphans go, lost copies are made anew, counts are right."""

import io
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from adapters.base import ObjectStat
from adapters.errors import Offline
from adapters.local import LocalAdapter
from staging import aliases, copying, orphans, placement, reading, reservations, retiring, tally
from staging.alias_terms import AliasSpec
from staging.errors import NoSpace, ObjectLost
from staging.models import Event, Object, Replica, Storage
from staging.orphans import Report
from staging.states import AliasMode, ReplicaState
from staging.storages import adapter_for
from tests.staging.yard import Yard

DATA = b"0123456789" * 10
TWO = {"replicate_to": ["far"], "min_replicas": 2}


def figures(report: Report) -> dict[str, int]:
    return {kind.value: count.count for kind, count in report.found.items() if count.count}


def plant(yard: Yard, name: str, key: str, *, old: bool = True) -> Path:
    """A file that no row knows."""
    path = yard.folder / name / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DATA)
    if old:
        os.utime(path, (0, 0))
    return path


def orphan_key(bucket: int = 1) -> str:
    name = uuid.uuid4().hex
    return f".waybill/{bucket}/{name[:2]}/{name}"


def age(yard: Yard) -> None:
    """Every file is older than any lease."""
    for path in yard.folder.rglob("*"):
        if path.is_file():
            os.utime(path, (0, 0))


def reconcile(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("reconcile", *arguments, stdout=out)
    return int(str(ended.value.code)), out.getvalue()


def test_what_is_stored_and_what_is_listed_are_passed_side_by_side() -> None:
    def stats(*keys: str) -> Iterator[ObjectStat]:
        return (ObjectStat(key, 1, None, "", True) for key in keys)

    def rows(*keys: str) -> Iterator[Replica]:
        return (Replica(key=key) for key in keys)

    for left, right, wanted in [
        ((), (), []),
        (("a",), (), [("a", "")]),
        ((), ("a",), [("", "a")]),
        (("a", "b", "d"), ("b", "c", "d"), [("a", ""), ("b", "b"), ("", "c"), ("d", "d")]),
        # The order is that of UTF-8 bytes.
        (("a/\uffff", "a/\U00010000"), ("a/\U00010000",), [("a/\uffff", ""), ("a/\U00010000", "a/\U00010000")]),
    ]:
        found = orphans.side_by_side(stats(*left), rows(*right))
        assert [(stat.key if stat else "", row.key if row else "") for stat, row in found] == wanted


def test_all_that_waybill_has_on_its_way_is_known(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = yard.bucket(**TWO)
    yard.put(bucket, "whole", DATA)
    deleted = yard.put(bucket, "deleted", DATA)
    yard.work()
    yard.put(bucket, "copying", DATA)
    # A worker that is gone has published, and registered nothing; so has a gateway; another upload waits, parked.
    monkeypatch.setattr(copying._Copy, "_register", lambda *_: None)
    yard.work()
    retiring.delete(deleted)
    alias = aliases.create(bucket, [AliasSpec(AliasMode.WRITE, "upload")])[0]
    for storage, place in (("home", placement.planned_key), ("fast", None)):
        upload_id = uuid.uuid4()
        key = place(bucket, "", str(upload_id)) if place else placement.parked_key(bucket, str(upload_id))
        reservations.reserve(alias, yard[storage], key, upload_id, len(DATA), "")
        plant(yard, storage, key)
    age(yard)
    monkeypatch.setattr(orphans, "_PAGE", 2)
    for name in yard.storages:
        assert figures(orphans.look(yard[name])) == {}, name
    assert not any(tally.drift(yard[name]) for name in yard.storages)
    assert orphans.look(yard["home"]).stored.count == 4, "there is something to see"


def test_orphans_are_told_by_age_and_shape_and_only_they_are_removed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = yard.put(yard.bucket(), "x", DATA)
    keys = [orphan_key(), orphan_key(bucket=999), f".waybill/parked/1/{uuid.uuid4().hex}"]
    keys.append(placement.copy_key(made.bucket, str(made.pk), str(uuid.uuid4()), 3))
    gone = [plant(yard, "home", key) for key in keys]
    stay = [
        plant(yard, "home", orphan_key(), old=False),
        plant(yard, "home", ".waybill/notes.txt"),
        plant(yard, "home", "results/x"),
        plant(yard, "home", "results/.waybill/1/aa/x"),
    ]
    scan = LocalAdapter.scan
    assert figures(orphans.look(yard["home"])) == {"orphan": 4, "young": 1, "foreign": 1}
    assert all(path.exists() for path in gone), "a look changes nothing"

    def tells_no_time(self: LocalAdapter, prefix: str, **how: Any) -> Iterator[ObjectStat]:
        for stat in scan(self, prefix, **how):
            assert isinstance(stat, ObjectStat)
            yield ObjectStat(stat.key, stat.size, None, stat.version, True)

    with monkeypatch.context() as patch:
        patch.setattr(LocalAdapter, "scan", tells_no_time)
        assert figures(orphans.act(yard["home"])) == {"undated": 5, "foreign": 1}
        assert figures(orphans.look(yard["home"], undated=True)) == {"orphan": 5, "foreign": 1}
    assert figures(orphans.act(yard["home"])) == {"orphan": 4, "young": 1, "foreign": 1}
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stay)
    assert yard.file(yard.copy_on(made, "home")).exists()


def test_unfinished_writes_of_unknown_keys_are_told_with_their_age_and_only_old_ones_are_removed(yard: Yard) -> None:
    yard.put(yard.bucket(), "x", DATA)
    adapter = adapter_for(yard["home"])
    suspended = dict[str, str]()
    alias = aliases.create(yard.bucket("more"), [AliasSpec(AliasMode.WRITE, "upload")])[0]
    known = reservations.reserve(alias, yard["home"], orphan_key(), uuid.uuid4(), 5, "").key
    for name, key in {"old": orphan_key(), "young": orphan_key(), "known": known, "mounted": "results/x"}.items():
        with adapter.open_write(key, size=None) as session:
            session.write(DATA)
            suspended[name] = session.suspend()
    partials = {name: next(yard.folder.rglob(f"*{token[:32]}*")) for name, token in suspended.items()}
    for name in ("old", "known", "mounted"):
        os.utime(partials[name], (0, 0))
    assert figures(orphans.look(yard["home"])) == {"unfinished": 1, "young": 1}
    status, text = reconcile("home")
    assert status == 1
    assert "1 unfinished writes that no row knows (100 bytes):" in text
    assert " days, " in text, "its age is told"
    assert figures(orphans.act(yard["home"])) == {"unfinished": 1, "young": 1}
    assert {name for name, path in partials.items() if path.exists()} == {"young", "known", "mounted"}
    assert reconcile("home")[0] == 0


def test_what_another_storage_has_at_the_same_place_is_no_orphan(yard: Yard) -> None:
    yard.put(yard.bucket(), "x", DATA)
    age(yard)
    Storage.objects.filter(name="far").update(options=yard["home"].options, revision=F("revision") + 1)
    assert figures(orphans.act(yard["far"])) == {}
    assert orphans.look(yard["far"]).stored.count == 1
    assert figures(orphans.look(yard["home"])) == {}


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_lost_copy_is_condemned_and_made_anew(yard: Yard, damage: str) -> None:
    bucket = yard.bucket(**TWO)
    made = yard.put(bucket, "x", DATA)
    for key in "abc":
        yard.put(bucket, key, DATA)
    yard.work()
    file = yard.file(yard.copy_on(made, "far"))
    file.unlink() if damage == "removed" else file.write_bytes(DATA[:-1])
    assert figures(orphans.look(yard["far"])) == {"lost": 1}
    assert yard.where(made)["far"] == "available", "a look changes nothing"
    assert figures(orphans.act(yard["far"])) == {"lost": 1}
    assert Event.objects.get(kind="replica.bad").facts["storage"] == "far"
    yard.work()
    assert yard.where(made) == {"home": "available", "far": "available"}
    assert yard.file(yard.copy_on(made, "far")).read_bytes() == DATA
    yard.assert_all_is_counted()


def test_ephemeral_bytes_that_are_gone_are_told_to_be_lost_for_good(yard: Yard) -> None:
    bucket = yard.bucket(write="ephemeral", lands_on="fast", spill=False)
    made = yard.put(bucket, "x", DATA)
    yard.file(yard.copy_on(made, "fast")).unlink()
    orphans.act(yard["fast"])
    with pytest.raises(ObjectLost):
        reading.find(aliases.create(bucket, [AliasSpec(AliasMode.READ, "x")])[0])
    yard.work()
    yard.assert_all_is_counted()


def test_a_copy_that_is_removed_while_storages_are_compared_is_not_lost(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = yard.put(yard.bucket(**TWO), "x", DATA)
    yard.work()
    copy = yard.copy_on(made, "far")
    stat = LocalAdapter.stat

    def removed_meanwhile(self: LocalAdapter, key: str) -> ObjectStat:
        if Replica.objects.filter(pk=copy.pk, state=ReplicaState.AVAILABLE).exists():
            retiring.delete(made)
            yard.work()
        return stat(self, key)

    yard.file(copy).rename(yard.file(copy).with_suffix(".hidden"))
    monkeypatch.setattr(LocalAdapter, "stat", removed_meanwhile)
    assert figures(orphans.act(yard["far"])) == {"foreign": 1}
    assert not Event.objects.filter(kind="replica.bad").exists()


def test_counts_that_are_off_are_put_right_by_what_they_are_off(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = yard.bucket(**TWO)
    yard.put(bucket, "x", DATA)
    assert not tally.drift(yard["home"])
    Storage.objects.filter(name="home").update(used_bytes=F("used_bytes") + 7, reserved_bytes=3)
    assert tally.drift(yard["home"]) == tally.Drift(7, 3)
    yard.put(bucket, "y", DATA)
    assert tally.correct(yard["home"]) == tally.Drift(7, 3), "writers change nothing of it"
    assert (yard["home"].used_bytes, yard["home"].reserved_bytes) == (2 * len(DATA), 0)
    assert not tally.correct(yard["home"])
    Storage.objects.filter(name="home").update(used_bytes=5, capacity_bytes=10)
    with pytest.raises(NoSpace, match="capacity"):
        tally.correct(yard["home"])
    assert yard["home"].used_bytes == 5


def test_the_command_reports_first_and_acts_when_it_is_told_to(yard: Yard) -> None:
    bucket = yard.bucket()
    objects = [yard.put(bucket, key, DATA) for key in "abc"]
    assert reconcile(*yard.storages) == (0, "".join(f"default/{name}: {text}\n" for name, text in [
        ("far", "0 files of 0 bytes, 0 rows of 0 bytes"),
        ("fast", "0 files of 0 bytes, 0 rows of 0 bytes"),
        ("home", "3 files of 300 bytes, 3 rows of 300 bytes"),
    ]))  # fmt: skip
    path = plant(yard, "home", orphan_key())
    yard.file(yard.copy_on(objects[0], "home")).unlink()
    Storage.objects.filter(name="home").update(used_bytes=F("used_bytes") + 7)
    status, text = reconcile("home")
    assert status == 1
    for words in ("1 bytes that no row knows (100 bytes):", "1 copies that are not there", "counts too high by 7 used"):
        assert words in text
    assert str(path.relative_to(yard.folder / "home")) in text
    status, text = reconcile("home", "--act", "--json")
    [told] = json.loads(text)
    assert (status, told["acted"], told["orphan"]["count"], told["lost"]["count"]) == (0, True, 1, 1)
    assert not path.exists()
    assert reconcile("home")[0] == 0
    assert Object.objects.get(pk=objects[0].pk).state == "unavailable"


def test_the_command_does_not_act_where_more_is_wrong_than_right(yard: Yard) -> None:
    bucket = yard.bucket()
    for key in "abc":
        yard.put(bucket, key, DATA)
    home, away = yard.folder / "home", yard.folder / "away"
    home.rename(away)
    home.mkdir()
    status, text = reconcile("home", "--act")
    assert (status, "is it mounted" in text) == (2, True)
    assert not Replica.objects.exclude(state=ReplicaState.AVAILABLE).exists()
    home.rmdir()
    away.rename(home)
    for _ in range(4):
        plant(yard, "home", orphan_key())
    assert reconcile("home", "--act")[0] == 2
    assert len([path for path in home.rglob("*") if path.is_file()]) == 7
    assert reconcile("home", "--act", "--even-most")[0] == 0
    yard.assert_all_is_counted()


def test_a_storage_that_does_not_answer_loses_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.put(yard.bucket(), "x", DATA)
    file = yard.file(Replica.objects.select_related("storage").get())
    file.rename(file.with_name("y"))
    yard.faults("home").fail("stat", Offline)
    assert reconcile("home", "--act", "--even-most")[0] == 2
    assert Replica.objects.get().state == ReplicaState.AVAILABLE
    with pytest.raises(CommandError, match="nowhere"):
        call_command("reconcile", "nowhere")
