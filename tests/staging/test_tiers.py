"""Fast storages: what makes room there, what comes there, and what never goes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from staging import admission, aliases, tiers, transfers
from staging.alias_terms import AliasSpec
from staging.errors import NoSpace
from staging.models import Replica, Storage, Transfer
from staging.offers import Offer
from staging.replication import UNSAFE, URGENT
from staging.states import AliasMode
from tests.staging.yard import BACK, Yard, kinds


def test_a_full_fast_storage_makes_room_by_clean_copies_only_and_the_hot_ones_stay(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    bucket = yard.bucket(**BACK)
    hot, cold, dirty = (yard.put(bucket, key, bytes(25)) for key in ("hot", "cold", "dirty"))
    flushes = Transfer.objects.exclude(object=dirty)
    for transfer in flushes:
        transfers.run(str(transfer.pk))
    Replica.objects.filter(object=hot, storage__name="fast").update(reads=2)
    made = yard.put(bucket, "new", bytes(40))
    assert yard.where(cold) == {"home": "available"}, "evicted: read least"
    assert yard.where(hot) == {"home": "available", "fast": "available"}
    assert yard.where(dirty) == {"fast": "dirty"}
    assert yard.where(made) == {"fast": "dirty"}
    assert yard["fast"].used_bytes == 90
    yard.assert_all_is_counted()


def test_copies_that_stay_hide_none_that_may_go(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "_AT_ONCE", 2)
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    pinned, stays = yard.bucket("a", lands_on="fast", pin=True), yard.bucket("b", **BACK, spill=False)
    stays.policy["write"] = "ephemeral"
    stays.save(update_fields=["policy"])
    goes = yard.bucket("c", lands_on="fast")
    for key in "xyz":
        yard.put(pinned, key, bytes(5))
        yard.put(stays, key, bytes(5))
    last = [yard.put(goes, key, bytes(30)) for key in "xy"]
    yard.work()
    assert tiers.relieve() == 1
    yard.work()
    assert [set(yard.where(one)) for one in last] == [{"home"}, {"home", "fast"}]
    assert tiers.make_room(yard["fast"], 60)
    assert set(yard.where(last[1])) == {"home"}
    yard.assert_all_is_counted()


def test_what_finds_no_room_goes_to_the_buckets_storage_or_is_refused(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    assert yard.where(yard.put(yard.bucket("a", **BACK), "x", bytes(96))) == {"home": "available"}
    spills = yard.bucket("b", write="ephemeral", lands_on="fast")
    assert yard.where(yard.put(spills, "x", bytes(96))) == {"home": "available"}
    stays = yard.bucket("c", write="ephemeral", lands_on="fast", spill=False)
    with pytest.raises(NoSpace):
        yard.put(stays, "x", bytes(96))
    yard.assert_all_is_counted()


def test_above_the_high_mark_dirty_bytes_are_flushed_and_copies_evicted_down_to_the_low_one(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    bucket = yard.bucket(write="ephemeral", lands_on="fast")
    old, new = yard.put(bucket, "old", bytes(45)), yard.put(bucket, "new", bytes(40))
    assert tiers.relieve() == 1
    assert kinds(yard.work()) == [("flush", "home", "done")]
    tiers.relieve()
    assert kinds(yard.work()) == [("evict", "fast", "done")]
    assert (yard.where(old), yard.where(new)) == ({"home": "available"}, {"fast": "available"})
    assert tiers.relieve() == 0
    yard.assert_all_is_counted()


def test_new_bytes_that_others_were_faster_than_go_to_the_buckets_storage(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    monkeypatch.setattr(tiers, "_takes", lambda *_: True)
    bucket = yard.bucket(**BACK)
    assert [yard.where(yard.put(bucket, key, bytes(60))) for key in "ab"] == [{"fast": "dirty"}, {"home": "available"}]
    assert yard["fast"].used_bytes == 60


def test_admission_looks_for_room_and_the_reservation_makes_it(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    bucket = yard.bucket(**BACK)
    clean = yard.put(bucket, "clean", bytes(60))
    yard.work()
    alias = aliases.create(bucket, [AliasSpec(AliasMode.WRITE, "new")])[0]
    admission.admit(alias, Offer(60))
    assert tiers.landing(bucket, 60).name == "fast"
    assert yard.where(clean) == {"home": "available", "fast": "available"}
    assert yard.where(yard.put(bucket, "new", bytes(60))) == {"fast": "dirty"}
    assert yard.where(clean) == {"home": "available"}


def test_what_may_not_leave_a_fast_storage_is_no_relief_for_it(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=100)
    stays = yard.put(yard.bucket("a", write="ephemeral", lands_on="fast", spill=False), "x", bytes(45))
    dirty = yard.put(yard.bucket("b", **BACK), "x", bytes(40))
    assert tiers.relieve() == 1
    assert Transfer.objects.get(object=dirty).priority == URGENT
    assert not Transfer.objects.filter(object=stays).exists()


def test_dirty_bytes_beyond_the_budget_go_to_the_buckets_storage_and_the_others_are_hurried(yard: Yard) -> None:
    bucket = yard.bucket(**BACK, dirty_budget_bytes=100)
    other = yard.put(yard.bucket("other", **BACK), "x", bytes(90))
    first = yard.put(bucket, "first", bytes(60))
    assert Transfer.objects.get(object=first).priority == UNSAFE
    assert yard.where(yard.put(bucket, "second", bytes(41))) == {"home": "available"}
    assert yard.where(yard.put(bucket, "third", bytes(40))) == {"fast": "dirty"}, (
        "the budget is used up to its last byte"
    )
    assert Transfer.objects.get(object=first).priority == URGENT
    assert Transfer.objects.get(object=other).priority == UNSAFE
    yard.work()
    assert yard.where(yard.put(bucket, "fourth", bytes(100))) == {"fast": "dirty"}, "what is safe does not count"
    assert tiers.landing(bucket, None).name == "home"
    yard.assert_all_is_counted()


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_moment_keep_the_budget_of_dirty_bytes(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, count = yard.bucket(**BACK, dirty_budget_bytes=100), 5
    looked = threading.Barrier(count, timeout=60)
    monkeypatch.setattr(tiers, "_takes", lambda *_: looked.wait() >= 0)

    def put(key: str) -> dict[str, str]:
        try:
            return yard.where(yard.put(bucket, key, bytes(40)))
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as writers:
        landed = list(writers.map(put, "abcde"))
    assert sorted(map(str, landed)) == sorted(map(str, 2 * [{"fast": "dirty"}] + 3 * [{"home": "available"}]))
    yard.assert_all_is_counted()
