"""Health: a storage that fails is left alone by all that read, write and transfer; and what is written down of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from adapters.breaker import Health
from adapters.errors import Failing, NotFound, Offline
from staging import admission, catalog, health, reading, retiring, storages, transfers, writing
from staging.models import Credential, Event, Replica, Storage, Transfer
from staging.states import AliasMode, TransferState
from staging.storages import StorageSpec
from staging.writing import Offer
from tests.place import Place
from tests.servers.faulty import Faults
from tests.staging.bodies import KEY, Body, put

DATA = bytes(range(256)) * 4


@pytest.fixture(autouse=True)
def quick(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breakers that open at the third failure, and then for longer than any test takes."""
    settings.BREAKER_FAILURES, settings.BREAKER_SPAN_S, settings.BREAKER_MAX_WAIT_S = 3, 0, 10**9
    monkeypatch.setattr(health, "FIRST_WAIT_S", 10.0**9)


@pytest.fixture
def failing(faulty_place: Place, faults: Faults) -> Place:
    """A place with an object in it, on a storage that this process leaves alone."""
    put(faulty_place, DATA)
    faults.fail("stat", Offline)
    fail(faulty_place)
    faults.heal()
    return faulty_place


def fail(place: Place) -> None:
    adapter = storages.adapter_for(place.storage)
    for _ in range(3):
        with pytest.raises(Offline):
            adapter.stat("any")


@pytest.fixture
def second(failing: Place) -> Iterator[Replica]:
    """A copy in memory, which is read after the other."""
    found = catalog.current(failing.managed, KEY)
    assert found
    other = storages.create(failing.project, StorageSpec("second", "memory", {}, tier=2))
    with storages.adapter_for(other).open_write("copy", size=len(DATA)) as session:
        session.write(DATA)
        session.publish()
    return Replica.objects.create(object=found, storage=other, key="copy", size=len(DATA))


def test_readers_go_to_another_copy_at_once(failing: Place, second: Replica) -> None:
    found = reading.find(failing.alias(KEY))
    assert found.copies[0].replica.pk == second.pk
    with reading.open_stream(found, 0, found.size) as stream:
        assert stream.read() == DATA
    health._breakers[failing.storage.pk].answered()
    assert reading.find(failing.alias(KEY)).copies[-1].replica.pk == second.pk


def test_a_storage_whose_credential_cannot_be_opened_is_passed_over_too(failing: Place, second: Replica) -> None:
    found = reading.find(failing.alias(KEY))
    other = found.copies[0].replica.storage
    other.credential, other.revision = Credential(name="lost", sealed=b"by a key that is gone", revision=9), 9
    health._breakers[failing.storage.pk].answered()
    with reading.open_stream(found, 0, found.size) as stream:
        assert stream.read() == DATA


def test_writers_are_told_before_the_first_byte_and_when_to_come_back(failing: Place) -> None:
    alias, offer = failing.alias("new", AliasMode.WRITE), Offer(len(DATA))
    with pytest.raises(Failing) as admitted:
        admission.admit(alias, offer)
    with pytest.raises(Failing):
        writing.receive(alias, offer, Body(DATA, between=lambda: pytest.fail("a byte was taken")))
    assert admitted.value.transient
    assert admitted.value.retry_after_s
    failing.sweep()
    failing.assert_nothing_is_left()


def test_a_stream_of_unknown_length_is_tried_because_it_cannot_come_again(failing: Place) -> None:
    admission.admit(failing.alias("other", AliasMode.WRITE), Offer(None))
    assert put(failing, Body(DATA), key="new").object.size == len(DATA)
    assert not health.refuses(failing.storage), "and it found the storage well"


def test_a_transfer_waits_and_its_attempts_do_not_count(failing: Place) -> None:
    found = catalog.current(failing.managed, KEY)
    assert found
    retiring.delete(found)
    transfer = Transfer.objects.get()
    for _ in range(2 * transfer.max_attempts):
        transfers.run(str(transfer.pk))
        transfer.refresh_from_db()
        assert (transfer.state, transfer.attempts, transfer.error_code) == (TransferState.QUEUED, 0, "failing")
        assert transfer.not_before > timezone.now()
        Transfer.objects.update(not_before=timezone.now())
    health._breakers[failing.storage.pk].answered()
    transfers.run(str(transfer.pk))
    transfer.refresh_from_db()
    assert (transfer.state, transfer.attempts) == (TransferState.DONE, 1)


def test_a_change_is_written_down_once_by_whoever_sees_it_first(failing: Place) -> None:
    assert not Event.objects.filter(kind="storage.failing").exists(), "no database is asked while a storage is called"
    own = health.of(failing.storage)
    for _ in range(2):
        health.write_down()
        health.write_change(failing.storage.pk, own)  # as another process would
    [event] = Event.objects.filter(kind="storage.failing")
    assert (event.subject, event.facts) == ("frail", {"error": "offline", "detail": "the test wants it"})
    storage = Storage.objects.get(pk=failing.storage.pk)
    assert health.of(storage).next_try_at, "this process knows when it tries again"
    health.forget_all()
    assert health.of(storage) == Health(own.failing_since, "offline", "the test wants it")


def test_what_is_found_while_another_thread_writes_is_written_too(
    failing: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    look = health._next_change

    def look_and_be_overtaken() -> Any:
        found = look()
        looks.append(found is not None)
        if looks == [True, False]:
            health._breakers[failing.storage.pk].answered()
            health.write_down()
            assert Storage.objects.get(pk=failing.storage.pk).failing_since, "the other one is still at it"
        return found

    monkeypatch.setattr(health, "_next_change", look_and_be_overtaken)
    health.write_down()
    assert Storage.objects.get(pk=failing.storage.pk).failing_since is None


def test_a_process_that_begins_later_finds_it_well_again(failing: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    health.write_down()
    storages.close_adapters()
    storage = Storage.objects.get(pk=failing.storage.pk)
    monkeypatch.setattr(health, "tell", lambda *_: pytest.fail("this process never left it alone"))
    with pytest.raises(NotFound):
        storages.adapter_for(storage).stat("any")
    health.write_down()
    storage.refresh_from_db()
    assert (storage.failing_since, storage.failing_code) == (None, "")
    assert Event.objects.filter(kind="storage.recovered").count() == 1


def test_a_test_of_the_connection_goes_through_and_ends_it(failing: Place, faults: Faults) -> None:
    health.write_down()
    storage = Storage.objects.get(pk=failing.storage.pk)
    faults.fail("open_write", Offline)
    assert not storages.test(storage)[-1].ok
    assert health.refuses(storage)
    faults.heal()
    assert all(step.ok for step in storages.test(storage))
    assert health.of(storage) == health.of(Storage.objects.get(pk=storage.pk)) == Health()
    assert Event.objects.filter(kind="storage.recovered").count() == 1


def test_changed_settings_begin_anew(failing: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, bool]] = []
    monkeypatch.setattr(health, "tell", lambda name, is_failing: told.append((name, is_failing)))
    storages.update(failing.storage, options=failing.storage.options, secrets=None)
    storages.adapter_for(failing.storage)
    assert told == [("frail", False)]
    assert not health.refuses(failing.storage)


def test_breakers_can_be_turned_off(failing: Place, faults: Faults, settings: Any) -> None:
    settings.BREAKER_FAILURES = 0
    storages.close_adapters()
    faults.fail("stat", Offline)
    for _ in range(3):
        fail(failing)


def test_the_last_use_of_a_credential_is_noted_now_and_then_and_never_by_the_call_itself(sftp_place: Place) -> None:
    def used_at() -> Any:
        return Credential.objects.get().last_used_at

    put(sftp_place, DATA)
    assert used_at() is None
    health.write_down()
    first = used_at()
    assert timezone.now() - first < timedelta(minutes=1)
    put(sftp_place, DATA, key="d/second")
    with connection.execute_wrapper(lambda *_: pytest.fail("nothing is due")):
        health.write_down()
    noted = health._noted
    noted[Credential.objects.get().pk] -= health.USE_NOTED_EVERY
    health.write_down()
    assert used_at() == first, "another process has noted it a moment ago"
    Credential.objects.update(last_used_at=first - health.USE_NOTED_EVERY)
    storages.adapter_for(sftp_place.storage)
    noted[Credential.objects.get().pk] -= health.USE_NOTED_EVERY
    health.write_down()
    assert used_at() > first
