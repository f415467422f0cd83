"""Fast storages: what makes room there, what comes there, and what never goes."""

import pytest

from staging import tiers, transfers
from staging.errors import NoSpace
from staging.models import Replica, Storage, Transfer
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
    monkeypatch.setattr(tiers, "_fits", lambda *_: True)
    bucket = yard.bucket(**BACK)
    assert [yard.where(yard.put(bucket, key, bytes(60))) for key in "ab"] == [{"fast": "dirty"}, {"home": "available"}]
    assert yard["fast"].used_bytes == 60
