"""The read cache: many first readers take an object once, and nothing that happens to a block reaches a reader."""

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from adapters import errors
from adapters.base import ReadStream
from staging import (
    buckets,
    cache_room,
    cached_blocks,
    drains,
    explaining,
    filling,
    orphans,
    placement,
    read_cache,
    reading,
    retiring,
    tally,
    tiers,
)
from staging.models import Bucket, CachedBlock, Object, Replica, Storage
from staging.orphans import Kind
from staging.states import BlockState, StorageState
from tests.staging.test_verified_reading import flip
from tests.staging.yard import MIB, Yard

READ = {"write": "around", "lands_on": "fast", "cache": "read"}
BLOCK = 2 * MIB
DATA = random.Random(1).randbytes(4 * BLOCK + 12_345)


@pytest.fixture(autouse=True)
def small_blocks(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of a size that suits a test; nobody fills any when it ends."""
    monkeypatch.setattr(cached_blocks, "BLOCK_BYTES", BLOCK)
    yield
    wait_until_filled()
    filling._rests_until.clear()


def wait_until_filled() -> None:
    for thread in threading.enumerate():
        if thread.name == "cache-fill":
            thread.join(60)


def open_read(bucket: Bucket, target: Object, start: int = 0, stop: int | None = None) -> ReadStream:
    """As a request does that comes now."""
    copies = placement.reading_order(target.replicas.select_related("storage__credential", "object"))
    bucket = Bucket.objects.select_related("storage").get(pk=bucket.pk)
    return tiers.open_stream(bucket, reading.pinned(target, copies), start, target.size if stop is None else stop)


def read(bucket: Bucket, target: Object, start: int = 0, stop: int | None = None) -> bytes:
    with open_read(bucket, target, start, stop) as stream:
        return b"".join(iter(stream.read, b""))


def blocks_of(target: Object) -> list[tuple[int, str]]:
    """Where each begins that is not being removed, counted in blocks, and its state."""
    wait_until_filled()
    rows = CachedBlock.objects.filter(object=target).exclude(state=BlockState.REMOVING)
    return [(row.start // BLOCK, row.state) for row in rows.order_by("start")]


def assert_all_is_well(yard: Yard) -> None:
    wait_until_filled()
    cache_room.sweep()
    yard.assert_all_is_counted()


def test_many_first_readers_take_the_object_once_from_the_slow_storage(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(read_cache, "tell", told.append)
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    yard.faults("home").count_reads()
    together = threading.Barrier(64)

    def one(_: int) -> str:
        together.wait()
        try:
            return hashlib.sha256(read(bucket, made)).hexdigest()
        finally:
            connection.close()

    with ThreadPoolExecutor(64) as readers:
        assert set(readers.map(one, range(64))) == {made.sha256}
    assert blocks_of(made) == [(index, "ready") for index in range(5)]
    assert len(DATA) <= yard.faults("home").bytes_read() <= 1.05 * len(DATA)
    assert (told.count("filled"), told.count("past")) == (5, 0)
    yard.faults("home").fail("open_read", errors.Offline)
    assert read(bucket, made) == DATA
    assert told[-5:] == ["hit"] * 5
    assert_all_is_well(yard)


def test_a_range_brings_the_blocks_that_it_touches_and_no_others(yard: Yard) -> None:
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    assert read(bucket, made, BLOCK + 5, BLOCK + 6) == DATA[BLOCK + 5 : BLOCK + 6]
    assert blocks_of(made) == [(1, "ready")]
    assert read(bucket, made, 2 * BLOCK - 3, 3 * BLOCK + 1) == DATA[2 * BLOCK - 3 : 3 * BLOCK + 1]
    assert blocks_of(made) == [(index, "ready") for index in (1, 2, 3)]
    assert read(bucket, made, len(DATA) - 1) == DATA[-1:]
    wait_until_filled()
    assert "fast (tier 1): 4 of 5 blocks are cached" in explaining.explain(made).replicas[-1]
    small = yard.put(bucket, "small", b"few bytes")
    assert read(bucket, small, 4) == b"bytes"
    assert blocks_of(small) == [(0, "ready")]
    assert read(bucket, yard.put(bucket, "empty", b"")) == b""
    assert yard["fast"].used_bytes == 3 * BLOCK + len(DATA) % BLOCK + 9
    assert_all_is_well(yard)


def test_promote_brings_blocks_at_the_second_read_and_a_whole_copy_needs_none(yard: Yard) -> None:
    bucket = yard.bucket(**{**READ, "cache": "promote"})
    made = yard.put(bucket, "x", DATA)
    assert read(bucket, made, 0, 9) == DATA[:9]
    assert blocks_of(made) == []
    assert read(bucket, made, 0, 9) == DATA[:9]
    assert blocks_of(made) == [(0, "ready")]
    through = yard.bucket("through", lands_on="fast", cache="read")
    copied = yard.put(through, "x", DATA)
    yard.work()
    assert yard.where(copied) == {"home": "available", "fast": "available"}
    assert read(through, copied) == DATA
    assert blocks_of(copied) == []


@pytest.mark.parametrize("step", ["open_write", "write", "publish"])
@pytest.mark.parametrize("error", [errors.OutOfSpace, errors.Unavailable])
def test_a_fast_storage_that_fails_harms_no_reader(yard: Yard, step: str, error: type[errors.AdapterError]) -> None:
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    yard.faults("fast").fail(step, error, from_byte=MIB if step == "write" else 0)
    assert read(bucket, made) == DATA
    assert blocks_of(made) in ([], [(4, "ready")]), "the last one is too short for one of the faults"
    yard.faults("fast").heal()
    assert_all_is_well(yard)


def test_what_finds_no_room_pushes_colder_blocks_out_and_else_is_read_past(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=int(2.5 * BLOCK))
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    assert read(bucket, made, 0, 1) == DATA[:1]
    blocks_of(made)
    CachedBlock.objects.update(reads=2)
    assert read(bucket, made, BLOCK) == DATA[BLOCK:]
    assert (0, "ready") in blocks_of(made), "it was read again and again"
    Storage.objects.filter(name="fast").update(capacity_bytes=yard["fast"].used_bytes)
    new = yard.put(yard.bucket("back", write="back", lands_on="fast"), "new", DATA[:BLOCK])
    assert yard.where(new) == {"fast": "dirty"}, "blocks make room for new bytes"
    CachedBlock.objects.update(state=BlockState.REMOVING)
    assert read(bucket, made) == DATA
    assert_all_is_well(yard)


@pytest.mark.parametrize("at", [0, BLOCK - 1, BLOCK // 2])
def test_a_flipped_bit_of_a_cached_block_is_never_served(yard: Yard, at: int) -> None:
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    read(bucket, made)
    wait_until_filled()
    damaged = CachedBlock.objects.get(start=BLOCK)
    flip(yard.folder / "fast" / damaged.key, at)
    assert read(bucket, made) == DATA
    damaged.refresh_from_db()
    assert damaged.state == BlockState.REMOVING
    assert (1, "ready") in blocks_of(made), "it was brought anew"
    assert yard.where(made) == {"home": "available"}
    assert_all_is_well(yard)


def test_a_slow_copy_that_is_wrong_is_never_cached(yard: Yard) -> None:
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    flip(yard.file(yard.copy_on(made, "home")), BLOCK + 9)
    with pytest.raises(errors.Damaged):
        read(bucket, made)
    assert blocks_of(made)[0] == (0, "ready")
    assert (1, "ready") not in blocks_of(made)
    assert_all_is_well(yard)


def gone(yard: Yard, made: Object) -> None:
    cache_room.evict(yard["fast"], len(DATA))


def lost(yard: Yard, made: Object) -> None:
    for row in CachedBlock.objects.all():
        (yard.folder / "fast" / row.key).unlink()


def out_of_reach(yard: Yard, made: Object) -> None:
    yard.faults("fast").fail("read", errors.Offline)


@pytest.mark.parametrize("happens", [gone, lost, out_of_reach])
def test_a_block_that_goes_while_it_is_read_is_gone_on_with_elsewhere(
    yard: Yard, happens: Callable[[Yard, Object], None]
) -> None:
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    read(bucket, made)
    wait_until_filled()
    with open_read(bucket, made) as stream:
        got = stream.read(1000)
        happens(yard, made)
        assert got + b"".join(iter(stream.read, b"")) == DATA
    yard.faults("fast").heal()
    filling._rests_until.clear()
    assert read(bucket, made) == DATA
    assert_all_is_well(yard)


def test_a_reader_that_stands_still_holds_nobody_up(yard: Yard) -> None:
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    yard.faults("home").count_reads()
    with open_read(bucket, made) as still:
        first = still.read()
        assert read(bucket, made) == DATA
        wait_until_filled()
        yard.faults("home").fail("open_read", errors.Offline)
        assert first + b"".join(iter(still.read, b"")) == DATA
    assert yard.faults("home").bytes_read() == len(DATA)


def test_a_filler_that_hangs_is_waited_for_in_bounds(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "LEASE_S", 0.5)
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    yard.faults("fast").hold("write")
    assert read(bucket, made) == DATA
    yard.faults("fast").heal()
    assert_all_is_well(yard)


def deleted(yard: Yard, bucket: Bucket, made: Object) -> None:
    retiring.delete(made)
    yard.work()


def replaced(yard: Yard, bucket: Bucket, made: Object) -> None:
    yard.put(bucket, "x", b"other")


def not_cached(yard: Yard, bucket: Bucket, made: Object) -> None:
    buckets.set_policy(bucket, {"lands_on": "fast", "write": "around"})


def drained(yard: Yard, bucket: Bucket, made: Object) -> None:
    drains.start(yard["fast"], yard["far"])
    cache_room.sweep()
    drains.sweep()
    assert yard["fast"].state == StorageState.DRAINED


def row_gone(yard: Yard, bucket: Bucket, made: Object) -> None:
    retiring.delete(made)
    yard.work()
    retiring.purge_tombstones(timezone.now() + timedelta(seconds=1))
    assert not Object.objects.exists()


@pytest.mark.parametrize("happens", [deleted, replaced, not_cached, drained, row_gone])
def test_blocks_that_nobody_is_to_have_are_removed(yard: Yard, happens: Callable[[Yard, Bucket, Object], None]) -> None:
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    read(bucket, made)
    assert len(blocks_of(made)) == 5
    assert (tally.drift(yard["fast"]), orphans.look(yard["fast"]).found[Kind.YOUNG].count) == (tally.Drift(0, 0), 0)
    happens(yard, bucket, made)
    cache_room.sweep()
    assert not CachedBlock.objects.exists()
    assert_all_is_well(yard)


def test_what_a_dead_filler_left_is_removed_and_the_next_reader_goes_on(yard: Yard) -> None:
    bucket = yard.bucket(**READ)
    made = yard.put(bucket, "x", DATA)
    place = cached_blocks.Place(made, yard["fast"], 0)
    left = cached_blocks.claim(place)
    assert left
    assert cached_blocks.claim(place) is None
    dead = filling.adapter_for(left.storage).open_write(left.key, size=left.size)
    dead.write(DATA[:MIB])
    assert tally.drift(yard["fast"]) == tally.Drift(0, 0)
    CachedBlock.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert read(bucket, made) == DATA
    assert blocks_of(made) == [(index, "ready") for index in range(5)]
    left.refresh_from_db()
    assert left.state == BlockState.REMOVING
    assert not cached_blocks.publish(left), "it comes too late"
    cache_room.sweep()
    dead.abort()
    assert_all_is_well(yard)
    assert Replica.objects.count() == 1
