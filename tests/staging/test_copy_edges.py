"""Copies at the edges: keys that cannot be, what is away for a moment, one folder by two names, full storages."""

import os

import pytest
from django.utils import timezone

from adapters.errors import AccessDenied, Failing, Offline
from staging import copy_jobs, replicas, retiring, transfers
from staging.errors import ContentDiffers, InUse, InvalidRequest, NotFound
from staging.models import Bucket, CopyJob, Object, Storage
from staging.states import CopyOnExists, CopyState
from tests.staging.copies import begin, contents, counts, fill, folder, mounted, work
from tests.staging.yard import DATA, Yard

DONE, FAILED = CopyState.DONE, CopyState.FAILED


@pytest.mark.parametrize("mounts", [False, True], ids=["managed", "mounted"])
def test_a_key_that_would_become_too_long_fails_alone(yard: Yard, mounts: bool) -> None:
    source = yard.bucket("runs")
    target = mounted(yard, "far") if mounts else yard.bucket("kept")
    deep = "/".join(["x" * 200] * 4)
    yard.put(source, f"d/{deep}/{deep[:100]}", DATA)
    yard.put(source, "d/a", b"one")
    job = work(yard, begin(yard, (source, "d/"), (target, f"{deep}/")))
    assert (job.state, counts(job)) == (FAILED, (2, 1, 0, 1))
    assert contents(yard, target) == {f"{deep}/a": b"one"}
    copy_jobs.retry(job)
    job = work(yard, job)
    assert (job.state, counts(job), set(contents(yard, target))) == (FAILED, (2, 1, 0, 1), {f"{deep}/a"})


def test_nothing_is_copied_to_where_the_bytes_of_managed_buckets_are(yard: Yard) -> None:
    source = yard.bucket("runs")
    root = Bucket.objects.create(project=yard.project, name="root", storage=yard["far"], mounted=True, prefix="")
    yard.put(source, "d/.waybill/1/00/x", DATA)
    yard.put(source, "d/a", b"one")
    job = work(yard, begin(yard, (source, "d/"), (root, "")))
    assert (job.state, job.error_code, contents(yard, root)) == (FAILED, "invalid_key", {"a": b"one"})


@pytest.mark.parametrize("how", CopyOnExists)
def test_equal_content_that_cannot_be_read_is_healed_by_a_copy(yard: Yard, how: CopyOnExists) -> None:
    source, target = yard.bucket("runs"), yard.bucket("kept")
    yard.put(source, "x", DATA)
    damaged = yard.put(target, "x", DATA)
    replicas.condemn(yard.copy_on(damaged, "home"), "it is damaged")
    assert begin(yard, (source, "x"), (target, "x"), on_exists=how).state == DONE
    assert contents(yard, target) == {"x": DATA}


def test_an_object_that_is_out_of_reach_is_copied_once_it_is_back(yard: Yard) -> None:
    source, target = yard.bucket("runs"), yard.bucket("kept")
    away = yard.put(source, "d/x", DATA)
    copy = yard.copy_on(away, "home")
    replicas.doubt(copy, "its node is away")
    job = begin(yard, (source, "d/"), (target, "d/"))
    assert (job.state, job.error_code) == ("running", "object_unavailable")
    replicas.confirm(copy)
    yard.hurry()
    job = work(yard, job)
    assert (job.state, counts(job), contents(yard, target)) == (DONE, (1, 1, 0, 0), {"d/x": DATA})


def test_an_object_whose_storage_is_left_alone_for_long_is_copied_all_the_same(yard: Yard) -> None:
    source, target = mounted(yard, "far"), yard.bucket("kept")
    fill(yard, source, d__a=b"one")
    yard.faults("far").fail("stat", Failing)
    job = begin(yard, (source, "d/a"), (target, "a"))
    for _ in range(14):
        CopyJob.objects.update(not_before=timezone.now())
        copy_jobs.advance(str(job.pk))
    yard.faults("far").heal()
    CopyJob.objects.update(not_before=timezone.now())
    assert work(yard, job).state == DONE


def test_a_move_to_the_same_folder_by_another_name_removes_nothing(yard: Yard) -> None:
    source = mounted(yard, "far")
    fill(yard, source, d__a=b"one")
    (yard.folder / "twin").symlink_to(yard.folder / "far")
    options = {"root": str(yard.folder / "twin")}
    twin = Storage.objects.create(project=yard.project, name="twin", scheme="faulty", options=options)
    target = Bucket.objects.create(project=yard.project, name="twin", storage=twin, mounted=True, prefix="in/")
    job = work(yard, begin(yard, (source, "d/"), (target, "d/"), moves=True))
    assert (job.state, contents(yard, source)) == (DONE, {"d/a": b"one"})
    assert job.transfers.get().reason.endswith("stays")


def test_a_copy_that_a_fast_storage_makes_takes_its_room_as_an_upload_does(yard: Yard) -> None:
    source, read_here = mounted(yard, "fast"), yard.bucket("read", lands_on="fast")
    yard.put(source, "a", DATA)
    kept = [yard.put(read_here, f"{number}", DATA[number:] + DATA[:number]) for number in range(5)]
    yard.work()
    assert all(set(yard.where(one)) == {"fast", "home"} for one in kept)
    Storage.objects.filter(name="fast").update(capacity_bytes=int(6.4 * len(DATA)))
    target = yard.bucket("runs", write="back", lands_on="fast")
    job = begin(yard, (source, "a"), (target, "a"))
    copy_jobs.advance(str(job.pk))
    transfers.run(str(job.transfers.get().pk))
    job.refresh_from_db()
    assert job.state == DONE
    fast = yard["fast"]
    assert fast.used_bytes + fast.reserved_bytes <= 0.95 * int(6.4 * len(DATA))
    assert yard.where(Object.objects.get(bucket=target)) == {"fast": "dirty"}


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        (("managed", "d/"), ("managed", "d/"), InvalidRequest),
        (("managed", "d/"), ("managed", "d/e/"), InvalidRequest),
        (("managed", ""), ("managed", "d/"), InvalidRequest),
        (("home", "a"), ("whole", "in/a"), InvalidRequest),
        (("whole", ""), ("home", ""), InvalidRequest),
        (("managed", "d/"), ("home", "d"), InvalidRequest),
        (("managed", "d//x"), ("home", "d"), InvalidRequest),
        (("managed", "d/x"), ("whole", ".waybill/x"), InvalidRequest),
        (("managed", "nothing"), ("home", "d"), NotFound),
        (("managed", "nothing/"), ("home", "d/"), NotFound),
        (("managed", "d/x"), ("managed", "d/y"), ContentDiffers),
    ],
)
def test_what_makes_no_sense_is_refused(
    yard: Yard, source: tuple[str, str], target: tuple[str, str], error: type[Exception]
) -> None:
    buckets = {"managed": yard.bucket(), "home": mounted(yard, "home"), "whole": mounted(yard, "home", "")}
    yard.put(buckets["managed"], "d/x", b"x")
    yard.put(buckets["managed"], "d/y", b"y")
    with pytest.raises(error):
        begin(yard, (buckets[source[0]], source[1]), (buckets[target[0]], target[1]))
    assert not CopyJob.objects.exists()


def test_a_source_that_cannot_be_listed_is_asked_again_and_then_given_up(yard: Yard) -> None:
    source, target = mounted(yard, "far"), yard.bucket()
    fill(yard, source, a=b"one")
    job = begin(yard, (source, "a"), (target, "b"))
    for error, state in ((Offline, CopyState.RUNNING), (AccessDenied, FAILED)):
        yard.faults("far").fail("stat", error)
        CopyJob.objects.update(not_before=timezone.now())
        job = work(yard, job)
        assert (job.state, job.error_code) == (state, "offline")
        if state == CopyState.RUNNING:
            with pytest.raises(InUse):
                retiring.drop_bucket(source)
    yard.faults("far").heal()
    copy_jobs.retry(job)
    assert work(yard, job).state == DONE


@pytest.mark.parametrize("moves", [False, True], ids=["copy", "move"])
def test_a_folder_with_a_name_that_no_key_can_have_is_not_said_to_be_copied(yard: Yard, moves: bool) -> None:
    source, target = mounted(yard, "far"), yard.bucket("kept")
    fill(yard, source, d__a=b"one")
    odd = folder(yard, source) / os.fsdecode(b"d/\xff")
    odd.write_bytes(b"two")
    job = work(yard, begin(yard, (source, "d/"), (target, "d/"), moves=moves))
    assert (job.state, job.error_code) == (FAILED, "folder_incomplete")
    assert "\\xff" in job.error_detail
    odd.unlink()
    copy_jobs.retry(job)
    assert work(yard, job).state == DONE
    assert contents(yard, target) == {"d/a": b"one"}
