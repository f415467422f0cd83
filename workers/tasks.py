"""The tasks: a few lines each. A task may run twice, late or never; the row decides."""

from celery import shared_task

from staging import (
    cache_room,
    checkpoint_work,
    chores,
    copy_jobs,
    drains,
    giving_up,
    janitor,
    node_copies,
    nodes,
    tiers,
    transfers,
    upkeep,
)
from workers.schedule import EVERY_S


@shared_task
def run_transfer(transfer_id: str) -> None:
    """Do one transfer."""
    transfers.run(transfer_id)


@shared_task
def advance_copy(job_id: str) -> None:
    """Plan a copy job on."""
    copy_jobs.advance(job_id)


@shared_task
def advance_checkpoint(checkpoint_id: str) -> None:
    """See whether a checkpoint is complete."""
    checkpoint_work.look(checkpoint_id)


@shared_task
def sweep_transfers() -> None:
    """Wake workers for whatever lost its message."""
    if _is_due("transfers.sweep"):
        chores.one_by_one(transfers.sweep, copy_jobs.sweep)


@shared_task
def sweep_leftovers() -> None:
    """Settle what crashed writers left behind, and what has had its time."""
    if _is_due("janitor.sweep"):
        chores.one_by_one(janitor.sweep, upkeep.expire)


@shared_task
def sweep_tiers() -> None:
    """Make room where fast storages fill up, and advance drains, what is given up, and checkpoints."""
    if _is_due("tiers.sweep"):
        chores.one_by_one(tiers.relieve, upkeep.hasten, drains.sweep, checkpoint_work.sweep, giving_up.sweep)


@shared_task
def sweep_cache() -> None:
    """Remove cached blocks that nobody is to have any more."""
    if _is_due(cache_room.SWEEP):
        chores.one_by_one(cache_room.sweep)


@shared_task
def sweep_nodes() -> None:
    """Find out which nodes are silent, and have their copies follow."""
    if _is_due("nodes.sweep"):
        chores.one_by_one(nodes.judge, node_copies.follow)


@shared_task
def reconcile() -> None:
    """Queue what objects lack of what their policies ask for."""
    if _is_due(upkeep.RECONCILE):
        chores.one_by_one(upkeep.reconcile)


@shared_task
def scrub() -> None:
    """Queue copies to be read back."""
    if _is_due(upkeep.SCRUB):
        with chores.apart(upkeep.SCRUB):
            upkeep.scrub(for_s=EVERY_S[upkeep.SCRUB])


def _is_due(name: str) -> bool:
    """Several schedulers ask at about the same times; clocks may differ a little."""
    return chores.is_due(name, every_s=EVERY_S[name] * 0.8)
