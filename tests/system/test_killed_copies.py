"""Workers that die in the middle of a move: the copy is whole or not there, and the source goes after it stands."""

import os
from datetime import timedelta
from functools import partial

from django.utils import timezone

from staging import copy_jobs, janitor, orphans
from staging.copy_specs import CopySpec
from staging.models import CopyJob, Transfer, Upload
from staging.states import CopyOnExists, CopyState
from tests.servers.faulty import Faults
from tests.servers.mortals import Mortals
from tests.servers.process import wait_until
from tests.staging.test_copy_jobs import buckets_of_home, contents, fill, mounted
from tests.staging.yard import MIB, Yard
from tests.system.test_killed_workers import let_leases_run_out, mortals, yard  # noqa: F401  fixtures

DATA = os.urandom(2 * MIB + 1)
#: Where the worker is killed: at which step of which storage.
POINTS = [("far", "open_read"), ("far", "read"), ("far", "delete"), ("far", "deleted")]
POINTS += [("home", step) for step in ("open_write", "write", "publish", "published")]


def let_all_leases_run_out() -> None:
    let_leases_run_out()
    Upload.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def _is_met(job: CopyJob, at: Faults, step: str) -> bool:
    """Whether the step is reached, or was not needed once more."""
    return at.is_held(step) or Transfer.objects.filter(job=job, state="done").exists()


def test_a_move_whose_worker_is_killed_at_any_step_ends_with_one_copy(yard: Yard, mortals: Mortals) -> None:  # noqa: F811
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
                let_all_leases_run_out()
                Transfer.objects.filter(state="running").update(state="queued", lease_expires_at=None)
                yard.hurry()
                yard.work()
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
