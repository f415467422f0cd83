"""Workers that die in the middle of a move: the copy is whole or not there, and the source goes after it stands."""

import os
import uuid
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from adapters.base import WriteMode
from adapters.errors import WriteLost
from staging import copy_jobs, janitor, orphans, reservations
from staging.copy_specs import CopySpec
from staging.models import CopyJob, Transfer, Upload
from staging.states import CopyOnExists, CopyState
from staging.storages import adapter_for
from tests.servers.faulty import Faults
from tests.servers.mortals import Mortals
from tests.servers.process import wait_until
from tests.staging.copies import buckets_of_home, contents, fill, mounted
from tests.staging.yard import MIB, Yard
from tests.system.test_killed_workers import let_leases_run_out

DATA = os.urandom(2 * MIB + 1)
#: Where the worker is killed: at which step of which storage.
POINTS = [("far", "open_read"), ("far", "read"), ("far", "delete"), ("far", "deleted")]
POINTS += [("home", step) for step in ("open_write", "write", "publish", "published")]


def let_all_leases_run_out() -> None:
    let_leases_run_out()
    Upload.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def _recover(yard: Yard) -> None:
    let_all_leases_run_out()
    Transfer.objects.filter(state="running").update(state="queued", lease_expires_at=None)
    yard.hurry()
    yard.work()


def _is_met(job: CopyJob, at: Faults, step: str) -> bool:
    """Whether the step is reached, or was not needed once more."""
    return at.is_held(step) or Transfer.objects.filter(job=job, state="done").exists()


def test_a_move_whose_worker_is_killed_at_any_step_ends_with_one_copy(yard: Yard, mortals: Mortals) -> None:
    source = mounted(yard, "far")
    for there, target in buckets_of_home(yard).items():
        for number, (storage, step) in enumerate(POINTS):
            key, how = f"{storage}-{step}", list(CopyOnExists)[number % 3]
            fill(yard, source, **{key: DATA})
            job = copy_jobs.create(yard.project, CopySpec(source, key, target, key, on_exists=how, moves=True))
            copy_jobs.advance(str(job.pk))
            # Twice: the second one finds what the first has left.
            for _ in range(2):
                yard.faults(storage).hold(step)
                worker = mortals.start()
                wait_until(partial(_is_met, job, yard.faults(storage), step), what=f"{step} on {storage}")
                mortals.kill(worker)
                yard.faults(storage).heal()
                let_all_leases_run_out()
                have = contents(yard, source).get(key), contents(yard, target).get(key)
                assert DATA in have, f"{step} on {storage}: it is nowhere"
                assert set(have) <= {DATA, None}
            while CopyJob.objects.get(pk=job.pk).state == CopyState.RUNNING:
                _recover(yard)
                copy_jobs.advance(str(job.pk))
            assert CopyJob.objects.get(pk=job.pk).state == CopyState.DONE, f"{there}: {step} on {storage}"
            assert contents(yard, source) == {}
            assert contents(yard, target)[key] == DATA
        let_all_leases_run_out()
        janitor.sweep()
        yard.work()
        assert contents(yard, target) == {f"{storage}-{step}": DATA for storage, step in POINTS}
        if there == "managed":
            yard.assert_all_is_counted()
    assert not orphans.look(yard["home"]).found[orphans.Kind.LOST].count
    assert "Traceback" not in mortals.log.read_text()


def test_a_worker_that_is_killed_while_a_storage_copies_by_itself_leaves_nothing(
    yard: Yard,
    mortals: Mortals,
) -> None:
    target, source, managed = mounted(yard, "home", "out/"), mounted(yard, "home"), yard.bucket("runs")
    fill(yard, source, copy=DATA, publish=DATA)
    for bucket in (source, managed):
        for step in ("copy", "publish"):
            if not bucket.mounted:
                yard.put(bucket, step, DATA)
            job = copy_jobs.create(yard.project, CopySpec(bucket, step, target, f"{bucket}-{step}"))
            copy_jobs.advance(str(job.pk))
            yard.faults("home").hold(step)
            worker = mortals.start()
            wait_until(partial(yard.faults("home").is_held, step), what=f"{step} is reached")
            mortals.kill(worker)
            yard.faults("home").heal()
            assert [name for name in contents(yard, target) if name.endswith(".partial")]
            _recover(yard)
            assert CopyJob.objects.get(pk=job.pk).state == CopyState.DONE
            let_all_leases_run_out()
            janitor.sweep()
            assert contents(yard, target).pop(f"{bucket}-{step}") == DATA
            assert not [name for name in contents(yard, target) if name.endswith(".partial")]
    assert not Upload.objects.exists()
    assert yard["home"].reserved_bytes == 0


def test_a_worker_that_comes_late_with_what_a_storage_copied_publishes_nothing(yard: Yard) -> None:
    source, target = mounted(yard, "home"), mounted(yard, "home", "out/")
    fill(yard, source, a=DATA)
    job = copy_jobs.create(yard.project, CopySpec(source, "a", target, "b", on_exists=CopyOnExists.REPLACE))
    assert job.alias
    upload = reservations.reserve(job.alias, yard["home"], "out/b", uuid.uuid4(), 4, "", target_key="b")
    late = adapter_for(yard["home"]).open_write("out/b", size=4, mode=WriteMode.REPLACE)
    reservations.note_token(upload, late.token)
    late.write(b"late")
    copy_jobs.advance(str(job.pk))
    yard.work()
    assert CopyJob.objects.get(pk=job.pk).state == CopyState.DONE
    with pytest.raises(WriteLost):
        late.publish()
    late.abort()
    let_all_leases_run_out()
    janitor.sweep()
    assert contents(yard, target) == {"b": DATA}
    assert not Upload.objects.exists()
