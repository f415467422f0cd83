"""Copies and moves between any two buckets: planned once, all or nothing, stopped, tried again and gone on with."""

import hashlib
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from adapters.errors import AccessDenied, AdapterError, Offline
from staging import aliases, copy_jobs, copy_progress, janitor, reading, reservations, retiring, transfers, versions
from staging.alias_terms import AliasSpec
from staging.errors import DataPending, InvalidRequest, SourceMissing
from staging.models import Alias, Bucket, CopyJob, Event, Object, Storage, Transfer, Upload
from staging.states import AliasMode, CopyOnExists, CopyState, StorageState, TransferState
from staging.storages import adapter_for
from tests.staging.bodies import raising
from tests.staging.copies import begin, buckets_of_home, contents, counts, fill, folder, mounted, once, work
from tests.staging.yard import DATA, MIB, Yard

DONE, FAILED, CANCELLED = CopyState.DONE, CopyState.FAILED, CopyState.CANCELLED


def buckets_of(yard: Yard) -> dict[str, Bucket]:
    return {
        "managed": yard.bucket("runs"),
        "also managed": yard.bucket("kept"),
        "far": mounted(yard, "far"),
        "home": mounted(yard, "home"),
        "also home": mounted(yard, "home", "out/"),
    }


FILES = {"d__a": b"one", "d__e__b": DATA * 70, "d__empty": b"", "other": b"x"}
COPIED = {"to/a": b"one", "to/e/b": DATA * 70, "to/empty": b""}
PAIRS = [
    ("managed", "also managed"),
    ("managed", "far"),
    ("managed", "home"),
    ("far", "managed"),
    ("far", "home"),
    ("home", "managed"),
    ("home", "also home"),
]


@pytest.mark.parametrize(("moves", "pairs"), [(False, PAIRS), (True, PAIRS)], ids=["copy", "move"])
def test_a_folder_goes_from_any_bucket_to_any_other(yard: Yard, moves: bool, pairs: list[tuple[str, str]]) -> None:
    buckets = buckets_of(yard)
    for here, there in pairs:
        source, target = buckets[here], buckets[there]
        if source.mounted:
            fill(yard, source, **FILES)
        for name, data in {} if source.mounted else FILES.items():
            yard.put(source, name.replace("__", "/"), data)
            versions.describe(source, name.replace("__", "/"), {"of": name})
        job = work(yard, begin(yard, (source, "d/"), (target, "to/"), moves=moves))
        assert (job.state, job.error_detail) == (DONE, ""), (here, there)
        assert counts(job) == (3, 3, 0, 0)
        assert job.bytes_done == job.bytes_found == sum(map(len, COPIED.values()))
        assert contents(yard, target) == COPIED, (here, there)
        left = {name.replace("__", "/"): data for name, data in FILES.items()}
        assert contents(yard, source) == ({"other": b"x"} if moves else left), (here, there)
        made = Object.objects.filter(bucket=target, key="to/a", current=True).first()
        assert made is None or made.metadata == ({} if source.mounted else {"of": "d__a"})
        assert not Alias.objects.filter(labels__has_key="copy", revoked_at=None).exists()
        for bucket in (source, target):
            for one in Object.objects.filter(bucket=bucket, current=True):
                retiring.delete(one)
            for path in folder(yard, bucket).rglob("*") if bucket.mounted else ():
                path.is_file() and path.unlink()
        yard.work(most=500)
        assert not any(path.is_file() for name in yard.storages for path in (yard.folder / name).rglob("*"))
    assert not Upload.objects.exists()
    assert Event.objects.filter(kind="copy.done").count() == len(pairs)


@pytest.mark.parametrize("here", ["managed", "home"])
def test_no_byte_passes_through_where_the_storage_copies_by_itself(yard: Yard, here: str) -> None:
    buckets = buckets_of(yard)
    source, target = buckets[here], buckets["also home"]
    yard.put(source, "a", DATA)
    yard.faults("home").fail("read", AccessDenied)
    yard.faults("home").fail("open_write", AccessDenied)
    job = work(yard, begin(yard, (source, "a"), (target, "b")))
    assert (job.state, job.error_detail) == (DONE, "")
    assert contents(yard, target) == {"b": DATA}
    assert Object.objects.get(bucket=target).sha256 == Object.objects.get(bucket=source).sha256


@pytest.mark.parametrize("there", ["managed", "home"])
@pytest.mark.parametrize(
    ("how", "state", "after", "skipped"),
    [
        (CopyOnExists.FAIL, FAILED, b"old", 0),
        (CopyOnExists.SKIP, DONE, b"old", 1),
        (CopyOnExists.REPLACE, DONE, b"new", 0),
    ],
)
def test_what_stands_there_already(
    yard: Yard, there: str, how: CopyOnExists, state: CopyState, after: bytes, skipped: int
) -> None:
    buckets = buckets_of(yard)
    source, target = buckets["far"], buckets[there]
    fill(yard, source, d__a=b"new", d__b=b"same")
    yard.put(target, "to/a", b"old")
    yard.put(target, "to/b", b"same")
    job = work(yard, begin(yard, (source, "d/"), (target, "to/"), on_exists=how, moves=True))
    assert (job.state, job.objects_skipped) == (state, skipped and 2), job.error_detail
    assert contents(yard, target) == {"to/a": after, "to/b": b"same"}
    stays = {"d/a": b"new"} if after == b"old" else {}
    assert contents(yard, source) == ({**stays, "d/b": b"same"} if skipped else stays)
    assert (job.error_code == "already_exists") == (state == FAILED)


def test_each_page_is_planned_once_whoever_is_killed(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_jobs, "_PAGE", 2)
    monkeypatch.setattr(copy_jobs, "AT_ONCE", 3)
    monkeypatch.setattr(copy_progress, "AT_ONCE", 3)
    source, target = mounted(yard, "far"), yard.bucket()
    fill(yard, source, **{f"d__{number:02}": bytes([number]) for number in range(15)})
    job = begin(yard, (source, "d/"), (target, ""))
    late = copy_jobs._take(str(job.pk))
    assert late
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy_jobs, "_transfer", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            copy_jobs._plan_page(late)
    copy_jobs.advance(str(job.pk))
    assert not Transfer.objects.exists(), "the killed one's lease holds"
    CopyJob.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    copy_jobs.advance(str(job.pk))
    assert Transfer.objects.count() == 4, "no more at a time than it may have"
    assert copy_jobs._plan_page(late) is False, "what another has planned meanwhile"
    job = work(yard, job)
    assert (job.state, counts(job)) == (DONE, (15, 15, 0, 0))
    assert contents(yard, target) == {f"{number:02}": bytes([number]) for number in range(15)}


def test_a_copy_that_ends_its_workers_again_and_again_says_so(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = mounted(yard, "far"), yard.bucket()
    fill(yard, source, d__a=b"x")
    job = begin(yard, (source, "d/"), (target, ""))
    with monkeypatch.context() as patch:
        patch.setattr(copy_jobs, "_plan_page", lambda _: 1 / 0)
        for told in ("", "", "worker_lost"):
            with pytest.raises(ZeroDivisionError):
                copy_jobs.advance(str(job.pk))
            CopyJob.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
            copy_jobs.sweep()
            job.refresh_from_db()
            assert (job.state, job.error_code) == ("running", told)
    assert work(yard, job).state == DONE


def test_what_waits_of_a_copy_is_stopped_at_once_however_much_it_is(yard: Yard) -> None:
    there, bucket = mounted(yard, "home"), yard.bucket()
    fill(yard, there, **{f"f__{number}": DATA for number in range(40)})
    job = begin(yard, (there, "f/"), (bucket, "f/"))
    copy_jobs.advance(str(job.pk))
    assert job.transfers.filter(state=TransferState.QUEUED).count() == 40
    transfers.run(str(job.transfers.all()[0].pk))
    with CaptureQueriesContext(connection) as asked:
        copy_jobs.cancel(job)
    assert len(asked) < 40
    assert (job.state, job.objects_done) == (CopyState.CANCELLED, 1)
    assert job.transfers.filter(state=TransferState.CANCELLED).exclude(cancelled_at=None).count() == 39
    assert yard.work() == []
    copy_jobs.retry(job)
    assert (work(yard, job).state, job.objects_done) == (CopyState.DONE, 40)


def test_a_cancelled_copy_stops_and_can_be_gone_on_with(yard: Yard) -> None:
    source, target = mounted(yard, "far"), yard.bucket()
    fill(yard, source, d__a=b"one", d__b=DATA * 1000, d__c=b"three")
    job = begin(yard, (source, "d/"), (target, ""))
    copy_jobs.advance(str(job.pk))
    first, running, _ = Transfer.objects.order_by("source_key")
    transfers.run(str(first.pk))
    yard.faults("home").hold("write")
    with _in_thread(lambda: transfers.run(str(running.pk))):
        yard.faults("home").wait_until_held("write")
        assert Transfer.objects.get(pk=running.pk).state == TransferState.RUNNING
        copy_jobs.cancel(job)
        assert job.state == CopyState.RUNNING, "it ends with what is on its way"
        yard.faults("home").heal()
    job.refresh_from_db()
    assert (job.state, counts(job)) == (CANCELLED, (3, 1, 0, 0))
    assert contents(yard, target) == {"a": b"one"}
    assert not Upload.objects.exists()
    copy_jobs.retry(job)
    job = work(yard, job)
    assert (job.state, counts(job)) == (DONE, (3, 3, 0, 0))
    with pytest.raises(InvalidRequest):
        copy_jobs.retry(job)


def test_what_failed_is_tried_again_and_the_rest_is_not(yard: Yard) -> None:
    source, target = mounted(yard, "far"), yard.bucket()
    fill(yard, source, d__a=b"one")
    job = begin(yard, (source, "d/"), (target, ""))
    yard.faults("far").fail("open_read", AccessDenied)
    job = work(yard, job)
    assert (job.state, job.error_code, counts(job)) == (FAILED, "access_denied", (1, 0, 0, 1))
    yard.faults("far").heal()
    copy_jobs.retry(job)
    job = work(yard, job)
    assert (job.state, job.error_code, counts(job)) == (DONE, "", (1, 1, 0, 0))
    fill(yard, source, d__z=b"new")
    assert contents(yard, target) == {"a": b"one"}


def test_a_copy_waits_for_a_storage_that_takes_nothing_and_says_so(yard: Yard) -> None:
    source, target = mounted(yard, "far"), yard.bucket("runs")
    fill(yard, source, a=DATA)
    Storage.objects.filter(name="home").update(state=StorageState.CORDONED)
    job = begin(yard, (source, "a"), (target, "b"))
    for _ in range(20):
        once(yard, job)
        yard.hurry()
    job.refresh_from_db()
    assert (job.state, job.error_code) == (CopyState.RUNNING, "storage_closed")
    Storage.objects.filter(name="home").update(state=StorageState.ACTIVE)
    assert work(yard, job).state == DONE
    assert contents(yard, target) == {"b": DATA}


@pytest.mark.parametrize("there", ["managed", "home"])
def test_it_goes_on_where_it_stopped(yard: Yard, there: str) -> None:
    source, target = mounted(yard, "far"), buckets_of_home(yard)[there]
    data = bytes(range(256)) * 4096 * 4
    fill(yard, source, a=data)
    job = begin(yard, (source, "a"), (target, "b"))
    yard.faults("far").fail("read", Offline, from_byte=2 * MIB, once=True)
    once(yard, job)
    stopped = Transfer.objects.get()
    assert (stopped.state, stopped.error_code) == (TransferState.QUEUED, "offline")
    yard.hurry()
    assert work(yard, job).state == DONE
    assert Transfer.objects.get().start_offset == 2 * MIB
    assert contents(yard, target) == {"b": data}


def test_it_does_not_go_on_with_another_version(yard: Yard) -> None:
    source, target = mounted(yard, "far"), yard.bucket()
    fill(yard, source, a=bytes(4 * MIB))
    job = begin(yard, (source, "a"), (target, "b"))
    yard.faults("far").fail("read", Offline, from_byte=2 * MIB, once=True)
    once(yard, job)
    fill(yard, source, a=b"\1" * 4 * MIB)
    yard.hurry()
    assert work(yard, job).state == DONE
    assert contents(yard, target) == {"b": b"\1" * 4 * MIB}


@pytest.mark.parametrize("step", ["open_write", "write", "publish", "published"])
def test_a_move_that_is_interrupted_ends_with_one_copy(yard: Yard, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("staging.resuming.CONFIRM_S", 0.05)  # The writer before is known to be gone.
    source = mounted(yard, "far")
    for there, target in buckets_of_home(yard).items():
        for how in CopyOnExists:
            fill(yard, source, a=DATA)
            job = begin(yard, (source, "a"), (target, how), moves=True, on_exists=how)
            yard.faults("home").fail(step, Offline, once=True)
            once(yard, job)
            assert contents(yard, source) == {"a": DATA}, "not before the copy is known"
            yard.hurry()
            assert work(yard, job).state == DONE, (there, how)
            assert contents(yard, source) == {}
        Upload.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        janitor.sweep()
        assert contents(yard, target) == dict.fromkeys(CopyOnExists, DATA)
        yard.work()
        if there == "managed":
            yard.assert_all_is_counted()


def test_what_a_second_attempt_finds_made_is_not_replaced_by_an_upload_that_crashed_before(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = mounted(yard, "far"), yard.bucket()
    yard.put(source, "a", DATA)
    job = begin(yard, (source, "a"), (target, "b"), on_exists=CopyOnExists.REPLACE)
    with monkeypatch.context() as dying:
        dying.setattr("staging.carrying._describe", lambda *_: raising(Offline("", storage="far"))())
        once(yard, job)
    alias = aliases.create(target, [AliasSpec(AliasMode.WRITE, "b", on_exists="replace")])[0]
    upload = reservations.reserve(alias, yard["home"], ".waybill/crashed", uuid.uuid4(), 1, "text/plain")
    reservations.note_content(upload, 1, hashlib.sha256(b"?").hexdigest())
    with adapter_for(yard["home"]).open_write(upload.key, size=1) as session:
        session.write(b"?")
        session.publish()
    yard.hurry()
    assert work(yard, job).state == DONE
    Upload.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert janitor.sweep().adopted == 0
    assert contents(yard, target) == {"b": DATA}


def test_a_move_leaves_a_source_that_was_replaced_meanwhile(yard: Yard) -> None:
    source, target = mounted(yard, "far"), yard.bucket()
    fill(yard, source, a=DATA)
    job = begin(yard, (source, "a"), (target, "b"), moves=True)
    copy_jobs.advance(str(job.pk))
    yard.faults("home").hold("published")
    with _in_thread(lambda: transfers.run(str(Transfer.objects.get().pk))):
        yard.faults("home").wait_until_held("published")
        fill(yard, source, a=b"newer")
        yard.faults("home").heal()
    assert work(yard, job).state == DONE
    assert (contents(yard, source), contents(yard, target)) == ({"a": b"newer"}, {"b": DATA})
    assert "stays" in Transfer.objects.get().reason


def test_a_managed_folder_of_many_is_copied_in_the_catalog(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_jobs, "_PAGE", 2)
    source, target = yard.bucket("runs"), yard.bucket("kept")
    for number in range(5):
        yard.put(source, f"d/{number}", DATA)
    yard.put(target, "d/3", b"other")
    job = begin(yard, (source, "d/"), (target, "d/"))
    assert (job.state, counts(job)) == (CopyState.RUNNING, (2, 2, 0, 0)), "the first page at once"
    job = work(yard, job)
    assert (job.state, job.error_code, counts(job)) == (FAILED, "already_exists", (5, 4, 0, 1))
    other = yard.current(target, "d/3")
    assert other
    retiring.delete(other)
    copy_jobs.retry(job)
    job = work(yard, job)
    assert (job.state, counts(job)) == (DONE, (5, 5, 0, 0))
    Transfer.objects.update(not_before=timezone.now())
    yard.work()
    yard.assert_all_is_counted()
    assert yard["home"].used_bytes == 5 * len(DATA)
    copy_progress.purge(timezone.now() + timedelta(days=1))
    assert not CopyJob.objects.exists()


def test_readers_of_the_target_wait_for_a_copy_that_runs(yard: Yard) -> None:
    source, target = mounted(yard, "far"), mounted(yard, "home")
    fill(yard, source, a=b"one")
    folder(yard, target).mkdir()
    alias = aliases.create(target, [AliasSpec(AliasMode.READ, "b")])[0]
    with pytest.raises(SourceMissing):
        reading.find(alias)
    job = begin(yard, (source, "a"), (target, "b"))
    with pytest.raises(DataPending):
        reading.find(alias)
    assert work(yard, job).state == DONE
    assert reading.find(alias).size == 3


class _in_thread:
    """Work that goes on meanwhile; its error, if any, is the test's."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._failed: list[Exception] = []
        self._thread = threading.Thread(target=self._run, args=(work,))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        assert not self._failed

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (AdapterError, AssertionError) as exc:
            self._failed.append(exc)
        finally:
            connection.close()
