"""An archive becomes objects all at once, or none of it is ever seen, whatever fails and wherever a writer dies."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from adapters.errors import AdapterError, Offline, OutOfSpace
from staging import catalog, janitor, reading, unpacking_uploads
from staging.archive_limits import Limits
from staging.errors import (
    ArchiveInvalid,
    ContentDiffers,
    InvalidRequest,
    LeaseLost,
    NoSpace,
    StagingError,
    StorageClosed,
    TooLarge,
)
from staging.models import Alias, Event, Object, Replica, Storage, Upload
from staging.states import AliasMode, Durability, OnExists, StorageState
from staging.unpacking import Kind, UnpackedFile, unpack
from staging.unpacking_uploads import Received, receive
from tests.place import Place
from tests.servers.faulty import Faults
from tests.staging.bodies import Body, put
from tests.staging.packing import tar
from tests.wire.desk import sha256

FILES = {"a": b"alpha" * 1000, "empty": b"", "sub/b": b"beta", "sub/c": b"gamma" * 500_000}


class Died(BaseException):
    """The process is gone: nothing that would clean up runs."""


def alias_of(place: Place, **spec: Any) -> Alias:
    return place.alias("run/x", AliasMode.WRITE, **spec)


def send(place: Place, files: dict[str, bytes] = FILES, *, cut: int | None = None, **spec: Any) -> Received:
    body = Body(tar(files)[:cut])
    return receive(alias_of(place, **spec), "run/", unpack(body, Kind.TAR, Limits(), prefix="run/", folder=place.root))


def stored(place: Place) -> dict[str, bytes]:
    """What the current objects hold, by reading it from the storage."""
    return {
        made.key.removeprefix("run/"): (place.root / made.replicas.get().key).read_bytes()
        for made in Object.objects.filter(current=True)
    }


def test_every_file_becomes_an_object(place: Place) -> None:
    received = send(place)
    assert received == Received(4, sum(map(len, FILES.values())), False, Durability.LOCAL)
    assert stored(place) == FILES
    assert {o.key: (o.size, o.sha256, o.version) for o in Object.objects.all()} == {
        f"run/{name}": (len(data), sha256(data), 1) for name, data in FILES.items()
    }
    assert Event.objects.filter(kind="object.created").count() == 4
    assert Alias.objects.get().uses == 1
    assert reading.find(place.alias("run/a")).sha256 == sha256(FILES["a"])
    place.assert_nothing_is_left()


def test_none_is_seen_before_the_last_byte_of_the_archive_has_come(place: Place) -> None:
    def nothing_yet() -> None:
        assert not Object.objects.exists()
        assert Upload.objects.count() in (0, 4)

    body = Body(tar(FILES), at_end=nothing_yet)
    receive(alias_of(place), "run/", unpack(body, Kind.TAR, Limits(), folder=place.root))
    assert Object.objects.count() == 4


@pytest.mark.parametrize("cut", [0, 512, 700, 6000, 2_500_000, -10240, -512])
def test_an_archive_that_is_cut_leaves_nothing(place: Place, cut: int) -> None:
    whole = tar(FILES)
    with pytest.raises(ArchiveInvalid):
        send(place, cut=cut if cut >= 0 else len(whole.rstrip(b"\0")) // 512 * 512)
    assert not Object.objects.exists()
    place.assert_nothing_is_left()


@pytest.mark.parametrize("step", ["open_write", "write", "publish", "published"])
@pytest.mark.parametrize("error", [Offline, OutOfSpace])
def test_a_storage_that_fails_leaves_nothing(
    faulty_place: Place, faults: Faults, step: str, error: type[AdapterError]
) -> None:
    put(faulty_place, b"before", key="run/a")
    with pytest.raises(error):
        receive(alias_of(faulty_place, on_exists=OnExists.REPLACE), "run/", failing_at(faults, step, error, after=2))
    faults.heal()
    assert stored(faulty_place) == {"a": b"before"}
    faulty_place.assert_nothing_is_left()
    assert send(faulty_place, on_exists=OnExists.REPLACE).count == 4
    assert stored(faulty_place) | {"sub/b": b"beta"} == FILES


def failing_at(faults: Faults, step: str, error: type[AdapterError], *, after: int) -> Iterator[UnpackedFile]:
    for place, (name, data) in enumerate(FILES.items()):
        if place == after:
            faults.fail(step, error)
        yield UnpackedFile(name, len(data), Body(data))


def test_what_cannot_be_removed_is_left_to_the_janitor(faulty_place: Place, faults: Faults) -> None:
    def files() -> Iterator[UnpackedFile]:
        yield from unpack(Body(tar(FILES)), Kind.TAR, Limits(), folder=faulty_place.root)
        faults.fail("delete", Offline)
        raise ArchiveInvalid("at the very end")

    with pytest.raises(ArchiveInvalid, match="very end"):
        receive(alias_of(faulty_place), "run/", files())
    faults.heal()
    assert Upload.objects.count() == 4
    swept = faulty_place.sweep()
    assert (swept.removed, swept.adopted) == (4, 0)
    faulty_place.assert_nothing_is_left()


def dying(files: Iterable[UnpackedFile], at: int) -> Iterator[UnpackedFile]:
    for place, file in enumerate(files):
        if place == at:
            raise Died
        yield file
    raise Died


@pytest.mark.parametrize("at", [0, 1, 3, 4])
def test_a_writer_that_dies_leaves_nothing_that_is_adopted(
    place: Place, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking_uploads._Reception, "give_up", lambda self: None)
    with pytest.raises(Died):
        receive(alias_of(place), "run/", dying(unpack(Body(tar(FILES)), Kind.TAR, Limits(), folder=place.root), at))
    assert len(place.files()) == Upload.objects.count() == at
    assert janitor.sweep().removed == 0
    swept = place.sweep()
    assert (swept.removed, swept.adopted) == (at, 0)
    assert not Object.objects.exists()
    place.assert_nothing_is_left()


@pytest.mark.parametrize("committed", [False, True])
def test_when_nobody_knows_whether_it_was_committed_nothing_is_removed(
    place: Place, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = catalog.register_all

    def unsure(*args: Any, **kwargs: Any) -> Any:
        if committed:
            really(*args, **kwargs)
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(catalog, "register_all", unsure)
    with pytest.raises(OperationalError):
        send(place)
    swept = place.sweep()
    assert (swept.removed, swept.adopted) == ((0, 0) if committed else (4, 0))
    assert stored(place) == (FILES if committed else {})
    place.assert_nothing_is_left()


def test_the_same_archive_again_is_a_replay(place: Place) -> None:
    send(place)
    assert send(place).replayed
    assert Object.objects.count() == 4
    assert Event.objects.filter(kind__startswith="object.").count() == 4
    place.assert_nothing_is_left()
    received = send(place, {**FILES, "more": b"!"})
    assert (received.count, received.replayed) == (5, False)
    assert stored(place) == {**FILES, "more": b"!"}
    place.assert_nothing_is_left()


def test_a_file_that_stands_with_other_content_refuses_the_whole_archive(place: Place) -> None:
    for other in (b"other", b"alphb" * 1000):
        put(place, other, key="run/a", on_exists=OnExists.REPLACE)
        with pytest.raises(ContentDiffers, match="a"):
            send(place)
        assert stored(place) == {"a": other}
        place.assert_nothing_is_left()


def test_replacing_takes_all_at_once_and_keeps_the_old_bytes_for_a_while(place: Place) -> None:
    send(place)
    newer = {**FILES, "a": b"newer", "sub/b": b"newer too"}
    received = send(place, newer, on_exists=OnExists.REPLACE)
    assert not received.replayed
    assert stored(place) == newer
    assert sorted(Object.objects.filter(current=True).values_list("version", flat=True)) == [1, 1, 2, 2]
    assert Event.objects.filter(kind="object.replaced").count() == 2
    assert Object.objects.filter(current=False).count() == 2
    place.assert_nothing_is_left()


def test_versions_that_lost_their_bytes_are_replaced_by_equal_ones(place: Place) -> None:
    send(place)
    gone = Replica.objects.get(object__key="run/a")
    (place.root / gone.key).unlink()
    assert not send(place).replayed
    assert stored(place) == FILES


def test_a_lease_that_was_lost_loses_all(place: Place) -> None:
    body = Body(tar(FILES), at_end=lambda: Upload.objects.filter(declared_size=4).update(fence=2))
    with pytest.raises(LeaseLost):
        receive(alias_of(place), "run/", unpack(body, Kind.TAR, Limits(), folder=place.root))
    assert not Object.objects.exists()
    place.sweep()
    place.assert_nothing_is_left()


def test_the_first_file_s_lease_lasts_until_the_last_one_has_come(place: Place, settings: Settings) -> None:
    settings.UPLOAD_LEASE_S = 0

    def expire() -> None:
        settings.UPLOAD_LEASE_S = 300

    ends: list[Any] = []

    def look() -> None:
        ends.extend(Upload.objects.order_by("created_at").values_list("lease_expires_at", flat=True)[:1])

    body = Body(tar(FILES), piece=100_000, between=expire, at_end=look)
    receive(alias_of(place), "run/", unpack(body, Kind.TAR, Limits(), folder=place.root))
    assert ends
    assert ends[0] > timezone.now()


@pytest.mark.parametrize("what", ["space", "closed", "large", "mounted"])
def test_what_is_refused_leaves_nothing(place: Place, what: str) -> None:
    expected: dict[str, type[StagingError]] = {
        "space": NoSpace,
        "closed": StorageClosed,
        "large": TooLarge,
        "mounted": InvalidRequest,
    }
    if what == "space":
        Storage.objects.update(capacity_bytes=100_000)
    if what == "closed":
        place.managed.storage.state = StorageState.CORDONED
    if what == "large":
        place.managed.policy = {"max_object_bytes": 100_000}
        place.managed.save()
    with pytest.raises(expected[what]):
        send(place, mounted=what == "mounted")
    assert not Object.objects.exists()
    place.assert_nothing_is_left()


def test_no_connection_is_held_while_bytes_move(place: Place) -> None:
    def check() -> None:
        assert connection.vendor == "sqlite" or connection.connection is None

    files = (UnpackedFile(name, len(data), Body(data, between=check)) for name, data in FILES.items())
    assert receive(alias_of(place), "run/", files).count == 4


@pytest.mark.parametrize("on_exists", [OnExists.FAIL, OnExists.REPLACE])
def test_of_two_archives_at_once_no_mixture_is_left(place: Place, on_exists: OnExists) -> None:
    names = [f"{number:02d}" for number in range(20)]
    meeting = threading.Barrier(2)

    def one(content: bytes) -> str:
        body = Body(tar(dict.fromkeys(names, content)), at_end=lambda: meeting.wait(30) and None)
        files = unpack(body, Kind.TAR, Limits(), folder=place.root)
        try:
            receive(aliases_of[content], "run/", files)
        except ContentDiffers:
            return "refused"
        finally:
            connection.close()
        return "stored"

    aliases_of = {content: alias_of(place, on_exists=on_exists) for content in (b"one", b"two")}
    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(one, aliases_of))
    assert outcomes == (["refused", "stored"] if on_exists == OnExists.FAIL else ["stored", "stored"])
    assert stored(place) in [dict.fromkeys(names, content) for content in aliases_of]
    place.assert_nothing_is_left()
