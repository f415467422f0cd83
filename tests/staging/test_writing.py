"""One body becomes one object or nothing, whatever fails and whoever else writes."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from adapters.errors import AdapterError, Offline, OutOfSpace, TimedOut, Unavailable
from staging import aliases, catalog, storages, writing
from staging.errors import (
    AliasUsedUp,
    BodyIncomplete,
    ContentDiffers,
    LeaseLost,
    NoSpace,
    StagingError,
    StorageClosed,
    TooLarge,
)
from staging.models import Alias, Event, Object, Storage, Upload
from staging.states import AliasMode, OnExists
from staging.writing import Offer, Receipt
from tests.place import Place
from tests.servers.faulty import Faults
from tests.staging.bodies import KEY, Body, put, raising

MIB = 1024 * 1024
DATA = b"waybill" * 500_000


def test_a_body_becomes_an_available_object_of_its_bytes(place: Place) -> None:
    receipt = put(place, DATA)
    replica = receipt.object.replicas.get()
    assert (receipt.replayed, receipt.durability) == (False, "local")
    assert (place.root / replica.key).read_bytes() == DATA
    assert (receipt.object.size, replica.size) == (len(DATA), len(DATA))
    assert replica.storage_version == storages.adapter_for(place.storage).stat(replica.key).version
    place.assert_nothing_is_left()


def test_a_body_that_breaks_off_leaves_nothing_and_the_old_version(place: Place) -> None:
    put(place, b"old")
    broken = Body(DATA, between=raise_after(2))
    with pytest.raises(BodyIncomplete):
        put(place, broken, size=len(DATA), on_exists=OnExists.REPLACE)
    assert Object.objects.get().size == 3
    place.give_up_what_waits()
    place.assert_nothing_is_left()


def raise_after(calls: int) -> Callable[[], None]:
    left = iter(range(calls))

    def call() -> None:
        if next(left, None) is None:
            raise BodyIncomplete

    return call


def test_a_crash_of_ours_leaves_nothing_either(place: Place) -> None:
    with pytest.raises(ZeroDivisionError):
        put(place, Body(DATA, at_end=raising(ZeroDivisionError())))
    place.assert_nothing_is_left()


@pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])
@pytest.mark.parametrize("error", [Offline, OutOfSpace, TimedOut])
@pytest.mark.parametrize("step", ["open_write", "write", "publish", "published"])
def test_a_storage_that_fails_at_any_step_publishes_nothing_and_the_janitor_settles_it(
    faulty_place: Place, faults: Faults, step: str, error: type[AdapterError], mounted: bool
) -> None:
    faults.fail(step, error)
    with pytest.raises(error):
        put(faulty_place, DATA, mounted=mounted)
    assert not Object.objects.exists()
    faults.heal()
    swept = faulty_place.sweep()
    assert (swept.adopted, swept.postponed) == (1 if step == "published" else 0, 0)
    faulty_place.assert_nothing_is_left()
    assert Object.objects.count() == Event.objects.filter(kind="object.created").count() == swept.adopted
    assert put(faulty_place, DATA, mounted=mounted).replayed is (step == "published")


def test_a_publish_that_failed_leaves_no_open_file(faulty_place: Place, faults: Faults) -> None:
    faults.fail("publish", Unavailable)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(Unavailable):
            put(faulty_place, b"x")
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


@pytest.mark.parametrize("step", ["abort", "resume"])
def test_what_an_unreachable_storage_does_not_let_us_remove_is_left_to_the_janitor(
    faulty_place: Place, faults: Faults, step: str
) -> None:
    faults.fail(step, Offline)
    with pytest.raises(BodyIncomplete):
        put(faulty_place, Body(DATA, at_end=raising(BodyIncomplete())), size=len(DATA) + 1)
    assert Upload.objects.get().reserved_bytes == len(DATA) + 1
    faults.heal()
    assert faulty_place.sweep().removed == 1
    faulty_place.assert_nothing_is_left()


def test_a_cordoned_storage_takes_nothing_new(place: Place) -> None:
    storages.cordon(place.storage)
    with pytest.raises(StorageClosed):
        put(place, DATA)
    place.assert_nothing_is_left()


def test_the_smallest_of_the_limits_holds(place: Place) -> None:
    place.managed.policy = {"max_object_bytes": 5}
    place.managed.save()
    for size, stream in ((6, b"123456"), (None, b"123456")):
        with pytest.raises(TooLarge):
            put(place, Body(stream), size=size, max_bytes=100)
    with pytest.raises(TooLarge):
        put(place, b"1234", max_bytes=3)
    assert put(place, b"12345").object.size == 5


def test_space_is_reserved_while_bytes_move_and_counted_once_they_are_there(place: Place) -> None:
    seen: list[tuple[int, int]] = []

    def look() -> None:
        storage = Storage.objects.get(pk=place.storage.pk)
        seen.append((storage.reserved_bytes, storage.used_bytes))

    put(place, Body(b"x" * 100, between=look), size=100)
    assert set(seen) == {(100, 0)}
    put(place, Body(b"y" * 9 * MIB, between=look), key="d/stream")
    assert seen[-1][0] >= 9 * MIB
    place.assert_nothing_is_left()


def test_a_body_larger_than_what_is_free_is_refused_before_its_first_byte(place: Place) -> None:
    storages.resize(place.storage, tier=1, capacity_bytes=100)
    put(place, b"x" * 60)
    with pytest.raises(NoSpace):
        put(place, Body(b"", between=raising(AssertionError("it was read"))), size=41, key="d/y")
    assert put(place, b"y" * 40, key="d/y").object.size == 40
    place.assert_nothing_is_left()


def test_a_lease_that_was_lost_publishes_nothing(place: Place) -> None:
    def another_takes_over() -> None:
        Upload.objects.update(fence=99)

    with pytest.raises(LeaseLost):
        put(place, Body(DATA, at_end=another_takes_over), size=len(DATA))
    assert not Object.objects.exists()
    Upload.objects.update(lease_expires_at=timezone.now())
    assert place.sweep().adopted == 1, "all bytes were there"
    place.assert_nothing_is_left()


def test_a_writer_whom_the_janitor_settled_meanwhile_comes_too_late(place: Place) -> None:
    with pytest.raises(LeaseLost):
        put(place, Body(DATA, piece=len(DATA) // 2, between=second(place.sweep)), size=len(DATA))
    assert not Object.objects.exists()
    place.assert_nothing_is_left()


def second(work: Callable[[], object]) -> Callable[[], None]:
    """Calls ``work`` the second time that it is called."""
    calls = iter(range(2))

    def call() -> None:
        if next(calls, None) == 1:
            work()

    return call


def test_a_slow_body_renews_its_lease(place: Place, settings: Settings) -> None:
    settings.UPLOAD_LEASE_S = 0  # every chunk finds it due
    renewed: list[object] = []
    body = Body(b"x" * 30, piece=10, between=lambda: renewed.append(Upload.objects.get().lease_expires_at))
    put(place, body, size=30)
    assert len(set(renewed)) > 2


def test_no_database_connection_is_held_while_bytes_move(place: Place) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("an idle SQLite connection holds no lock and is kept")
    held: list[bool] = []
    put(place, Body(DATA, between=lambda: held.append(connection.connection is not None)), size=len(DATA))
    put(place, Body(DATA, between=lambda: held.append(connection.connection is not None)), key="d/stream")
    put(place, Body(DATA, between=lambda: held.append(connection.connection is not None)), size=len(DATA))
    assert held
    assert not any(held)


def test_bytes_never_move_within_a_transaction(place: Place) -> None:
    with pytest.raises(RuntimeError, match="transaction"), transaction.atomic():
        put(place, DATA)


def race(*attempts: Callable[[Callable[[], object]], Receipt]) -> list[Receipt | Exception]:
    """Run them side by side; each calls what it is given before its body's end, and none passes alone."""
    together = threading.Barrier(len(attempts), timeout=30)

    def attempt(work: Callable[[Callable[[], object]], Receipt]) -> Receipt | Exception:
        try:
            return work(together.wait)
        except (StagingError, AdapterError) as exc:
            return exc
        finally:
            connection.close()

    with ThreadPoolExecutor(len(attempts)) as pool:
        return list(pool.map(attempt, attempts))


def sender(alias: Alias, data: bytes) -> Callable[[Callable[[], object]], Receipt]:
    return lambda wait: writing.receive(alias, Offer(len(data)), Body(data, at_end=wait))


BOTH = pytest.mark.parametrize("mounted", [False, True], ids=["managed", "mounted"])


@BOTH
def test_equal_bodies_at_once_make_one_object_and_one_event(place: Place, mounted: bool) -> None:
    alias = place.alias(KEY, AliasMode.WRITE, mounted=mounted)
    found = race(*[sender(alias, DATA)] * 4)
    assert all(isinstance(one, Receipt) for one in found), found
    assert sum(not one.replayed for one in found) <= 1
    assert Object.objects.count() == Event.objects.filter(kind__startswith="object.").count() == 1
    place.assert_nothing_is_left()


@BOTH
def test_of_different_bodies_at_once_one_wins(place: Place, mounted: bool) -> None:
    alias = place.alias(KEY, AliasMode.WRITE, mounted=mounted)
    found = race(*[sender(alias, bytes([number]) * MIB) for number in range(4)])
    (winner,) = [one for one in found if isinstance(one, Receipt)]
    assert sum(isinstance(one, ContentDiffers) for one in found) == 3
    assert Object.objects.get() == winner.object
    assert Event.objects.filter(kind__startswith="object.").count() == 1
    place.assert_nothing_is_left()


def test_replacing_at_once_keeps_one_current_version_and_numbers_them_all(place: Place) -> None:
    alias = place.alias(KEY, AliasMode.WRITE, on_exists=OnExists.REPLACE)
    found = race(*[sender(alias, bytes([number]) * MIB) for number in range(12)])
    assert all(isinstance(one, Receipt) for one in found), found
    versions = Object.objects.order_by("version")
    assert [made.version for made in versions] == list(range(1, 13))
    assert [made.current for made in versions] == [False] * 11 + [True]
    place.assert_nothing_is_left()


def test_capacity_is_never_exceeded_however_many_write_at_once(place: Place) -> None:
    storages.resize(place.storage, tier=1, capacity_bytes=3 * MIB)
    targets = [place.alias(f"d/{number}", AliasMode.WRITE) for number in range(6)]

    def attempt(alias: Alias) -> Callable[[Callable[[], object]], Receipt]:
        def begin_together(wait: Callable[[], object]) -> Receipt:
            wait()
            return writing.receive(alias, Offer(MIB), Body(b"x" * MIB))

        return begin_together

    found = race(*map(attempt, targets))
    assert sum(isinstance(one, Receipt) for one in found) == 3
    assert sum(isinstance(one, NoSpace) for one in found) == 3
    assert Storage.objects.get(pk=place.storage.pk).used_bytes == 3 * MIB
    place.assert_nothing_is_left()


def test_a_body_of_unknown_length_after_one_that_broke_off_needs_a_digest(place: Place) -> None:
    alias = place.alias(KEY, AliasMode.WRITE)
    writing.note_stream_cut(alias, KEY)
    with pytest.raises(StagingError, match="tail"):
        writing.receive(alias, Offer(None), Body(DATA))
    known = {"sha256": hashlib.sha256(DATA).digest()}
    writing.receive(alias, Offer(None, digests=known), Body(DATA))
    assert not alias.broken_streams.exists()
    assert aliases.state_of(alias) == "live"
    assert catalog.current(place.managed, KEY) is not None


def bytes_vanish(place: Place, how: str) -> None:
    (path,) = (place.root / name for name in place.files())
    path.unlink() if how == "gone" else path.write_bytes(b"cut")


@pytest.mark.parametrize("on_exists", list(OnExists))
@pytest.mark.parametrize("how", ["gone", "cut"])
def test_equal_bytes_heal_an_object_whose_own_have_vanished(place: Place, how: str, on_exists: OnExists) -> None:
    put(place, DATA)
    bytes_vanish(place, how)
    healed = put(place, DATA, on_exists=on_exists)
    assert (healed.replayed, healed.object.version) == (False, 2)
    assert (place.root / healed.object.replicas.get().key).read_bytes() == DATA
    assert put(place, DATA, on_exists=on_exists).replayed


def test_other_bytes_do_not_take_the_place_of_those_that_have_vanished(place: Place) -> None:
    put(place, DATA)
    bytes_vanish(place, "gone")
    with pytest.raises(ContentDiffers):
        put(place, b"other")
    assert Object.objects.get().current


@BOTH
def test_a_used_up_alias_does_not_call_stored_what_has_vanished(place: Place, mounted: bool) -> None:
    alias = place.alias(KEY, AliasMode.WRITE, mounted=mounted, max_uses=1)
    writing.receive(alias, Offer(len(DATA)), Body(DATA))
    alias.refresh_from_db()
    assert writing.receive(alias, Offer(len(DATA)), Body(DATA)).replayed
    bytes_vanish(place, "cut")
    with pytest.raises(AliasUsedUp):
        writing.receive(alias, Offer(len(DATA)), Body(DATA))


def test_a_replay_does_not_need_the_storage(faulty_place: Place, faults: Faults) -> None:
    put(faulty_place, DATA)
    faults.fail("stat", Offline)
    assert put(faulty_place, DATA).replayed
