"""Damaged bytes are never handed out: another replica goes on, or the reader learns that there is none."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError

from adapters.base import ReadStream
from adapters.errors import Damaged, Truncated
from staging import archives, blocks, catalog, reading, replicas, reservations, storages, verified_reading, writing
from staging.archive_limits import Limits
from staging.blocks import BLOCK_BYTES, WHOLE_BYTES, between
from staging.errors import BodyIncomplete, ObjectUnavailable
from staging.models import BlockSums, Event, Object, Replica
from staging.states import AliasMode, ReplicaState
from staging.storages import StorageSpec
from staging.unpacking import Kind, unpack
from staging.unpacking_uploads import receive
from staging.writing import Offer
from tests.place import Place
from tests.servers.faulty import Faults
from tests.staging.bodies import KEY, Body, put, raising
from tests.staging.packing import tar
from tests.staging.test_blocks import expected
from tests.staging.test_reading import read

#: Three blocks, the last of them short.
DATA = bytes(range(256)) * (9 * BLOCK_BYTES // 4 // 256) + b"end"
SMALL = DATA[:5000]

#: What is stored, and the byte of it that is damaged.
DAMAGES = {
    "first byte": (DATA, 0),
    "in the middle": (DATA, BLOCK_BYTES + 1000),
    "last byte of a block": (DATA, 2 * BLOCK_BYTES - 1),
    "last byte": (DATA, len(DATA) - 1),
    "smaller than a block": (DATA[:-BLOCK_BYTES][:BLOCK_BYTES], 700_000),
    "small": (SMALL, 2500),
    "one byte": (b"x", 0),
}
damages = pytest.mark.parametrize(("data", "at"), DAMAGES.values(), ids=DAMAGES)


def flip(file: Path, at: int) -> None:
    """Change one bit where it lies, as a disk does."""
    with file.open("r+b") as stored:
        stored.seek(at)
        [byte] = stored.read(1)
        stored.seek(at)
        stored.write(bytes([byte ^ 4]))


def second_copy(place: Place, made: Object) -> Path:
    """A replica on another local storage, which is read after the first; returns its file."""
    root = Path(settings.LOCAL_ROOTS[0]) / uuid.uuid4().hex
    root.mkdir()
    storage = storages.create(place.project, StorageSpec("second", "local", {"root": str(root)}, tier=2))
    (root / "copy").write_bytes(first_file(place, made).read_bytes())
    Replica.objects.create(object=made, storage=storage, key="copy", size=made.size)
    return root / "copy"


def first_file(place: Place, made: Object) -> Path:
    return place.root / made.replicas.order_by("pk")[0].key


def until_damaged(stream: ReadStream) -> Iterator[bytes]:
    """What comes before the stream breaks off, as it must."""
    while True:
        try:
            chunk = stream.read(100_000)
        except Damaged:
            return
        assert chunk, "it ended politely"
        yield chunk


def states(made: Object) -> list[str]:
    return list(made.replicas.order_by("pk").values_list("state", flat=True))


@damages
def test_a_flipped_bit_is_passed_over_where_there_is_a_good_replica(place: Place, data: bytes, at: int) -> None:
    made = put(place, data).object
    second_copy(place, made)
    flip(first_file(place, made), at)
    assert read(place) == data
    assert states(made) == [ReplicaState.BAD, ReplicaState.AVAILABLE]
    [told] = Event.objects.filter(kind="replica.bad")
    why = f"block {at // blocks.BLOCK_BYTES} is not what was stored"
    facts = {"object": str(made.pk), "version": 1, "storage": "disk", "why": why}
    assert (told.subject, told.facts) == (f"{place.managed}/{KEY}", facts)
    assert read(place, at, at + 1) == data[at : at + 1]
    assert Event.objects.filter(kind="replica.bad").count() == 1


@damages
def test_a_flipped_bit_of_the_only_replica_is_an_error_wherever_it_is_touched(
    place: Place, data: bytes, at: int
) -> None:
    made = put(place, data).object
    flip(first_file(place, made), at)
    found, got = reading.find(place.alias(KEY)), b""
    with reading.open_stream(found, 0, found.size) as stream:
        for chunk in until_damaged(stream):
            got += chunk
    assert got == data[: at // BLOCK_BYTES * BLOCK_BYTES]
    assert states(made) == [ReplicaState.BAD]
    with pytest.raises(Damaged):
        read(place, at, at + 1)
    for block in set(between(0, len(data))) - {at // BLOCK_BYTES}:
        start, stop = block * BLOCK_BYTES, min(len(data), (block + 1) * BLOCK_BYTES)
        assert read(place, start, stop) == data[start:stop]
        assert read(place, start + 5, start + 6) == data[start + 5 : start + 6]
    flip(first_file(place, made), at)
    assert read(place) == data, "the file was restored, and nobody had to say so"


def test_replicas_that_are_damaged_at_different_places_make_up_the_whole(place: Place) -> None:
    made = put(place, DATA).object
    other = second_copy(place, made)
    flip(first_file(place, made), 0)
    flip(first_file(place, made), len(DATA) - 1)
    flip(other, BLOCK_BYTES)
    assert read(place) == DATA
    assert states(made) == [ReplicaState.BAD, ReplicaState.BAD]
    assert read(place) == DATA
    flip(other, len(DATA) - 1)
    with pytest.raises(Damaged):
        read(place)


def test_a_catalog_that_does_not_answer_keeps_no_other_replica_from_serving(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put(place, DATA).object
    second_copy(place, made)
    flip(first_file(place, made), 0)
    monkeypatch.setattr(replicas, "condemn", lambda *_, **__: raising(OperationalError())())
    assert read(place) == DATA


def test_an_empty_object_has_no_block_and_one_that_grew_is_not_served(place: Place) -> None:
    made = put(place, b"").object
    assert read(place) == b""
    first_file(place, made).write_bytes(b"!")
    with pytest.raises(Truncated):
        read(place)


@pytest.mark.parametrize("data", [SMALL, DATA], ids=["small", "three blocks"])
def test_what_is_wrong_once_only_condemns_nothing(faulty_place: Place, faults: Faults, data: bytes) -> None:
    made = put(faulty_place, data).object
    faults.flip_once()
    assert read(faulty_place) == data
    assert states(made) == [ReplicaState.AVAILABLE]


def test_equal_bytes_heal_an_object_whose_only_replica_is_bad(place: Place) -> None:
    made = put(place, DATA).object
    flip(first_file(place, made), 5)
    with pytest.raises(Damaged):
        read(place)
    receipt = put(place, DATA)
    assert (receipt.replayed, receipt.object.version) == (False, 2)
    assert read(place) == DATA


def test_without_sums_an_object_is_read_as_before_and_its_bad_replicas_are_not(place: Place) -> None:
    made = put(place, DATA).object
    BlockSums.objects.all().delete()
    assert read(place) == DATA
    Replica.objects.update(state=ReplicaState.BAD)
    with pytest.raises(ObjectUnavailable):
        read(place)
    assert not verified_reading.is_verifiable(made)


def test_a_damaged_member_breaks_its_archive_off(place: Place) -> None:
    put(place, SMALL, key="run/a")
    made = put(place, DATA, key="run/b").object
    archive = archives.of(place.managed, "run/")
    flip(first_file(place, made), BLOCK_BYTES + 7)
    with archive.open(0, archive.size) as stream:
        assert len(b"".join(until_damaged(stream))) < archive.size
    assert states(made) == [ReplicaState.BAD]


def by_one_body(place: Place) -> None:
    put(place, DATA)


def by_a_stream(place: Place) -> None:
    put(place, Body(DATA, piece=77_777))


def by_parts(place: Place) -> None:
    alias = place.alias(KEY, AliasMode.WRITE)
    with pytest.raises(BodyIncomplete):
        writing.receive(alias, Offer(len(DATA)), Body(DATA[:1_500_000], at_end=raising(BodyIncomplete())))
    writing.receive(alias, Offer(len(DATA) - 1_500_000, start=1_500_000), Body(DATA[1_500_000:]))


def by_an_archive(place: Place) -> None:
    body = Body(tar({KEY: DATA, "small": SMALL}))
    receive(place.alias("x", AliasMode.WRITE), "", unpack(body, Kind.TAR, Limits(), folder=place.root))


def by_the_janitor(place: Place) -> None:
    alias = place.alias(KEY, AliasMode.WRITE)
    upload = reservations.reserve(alias, place.storage, "place", uuid.uuid4(), None, "")
    reservations.grow(upload, len(DATA))
    with storages.adapter_for(place.storage).open_write("place", size=None) as session:
        session.write(DATA)
        reservations.note_content(upload, len(DATA), put(place, DATA, key="same").object.sha256)
        session.publish()
    assert place.sweep().adopted == 1


WAYS: list[Callable[[Place], None]] = [by_one_body, by_a_stream, by_parts, by_an_archive, by_the_janitor]


@pytest.mark.parametrize("make", WAYS)
def test_whichever_way_an_object_comes_its_sums_are_stored(place: Place, make: Callable[[Place], None]) -> None:
    make(place)
    made = catalog.current(place.managed, KEY)
    assert made is not None
    assert bytes(BlockSums.objects.get(pk=made.pk).sums) == expected(DATA)
    assert read(place) == DATA


@pytest.mark.parametrize(
    ("size", "mounted", "rows"), [(WHOLE_BYTES, False, 0), (WHOLE_BYTES + 1, False, 1), (10**6, True, 0)]
)
def test_small_and_mounted_objects_need_no_row(place: Place, size: int, mounted: bool, rows: int) -> None:
    data = DATA[:size]
    put(place, data, mounted=mounted)
    assert BlockSums.objects.count() == rows
    alias: Any = place.alias(KEY, mounted=mounted)
    with reading.open_stream(reading.find(alias), 0, size) as stream:
        assert b"".join(iter(stream.read, b"")) == data
