"""How far something is: a bar, how much of how much, how fast, and how long it will take."""

from typing import Any

from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway.admin import words
from staging import checkpoints
from staging.drain_measure import Measure
from staging.models import Checkpoint, CopyJob, Storage, Transfer
from staging.replication import LIVE
from staging.states import CheckpointState, CopyState, StorageState, TransferKind, TransferState


def of_transfer(row: Transfer) -> dict[str, Any]:
    """Of the bytes of one object; what is removed is there until it is gone."""
    done = row.state == TransferState.DONE
    whole = done or TransferKind(row.kind).removes
    return {
        "live": f"progress-{row.pk}",
        "moving": row.state in LIVE,
        "percent": _percent(row.bytes_done, row.size, ended=done),
        "words": words.size(row.size) if whole else _of(row.bytes_done, row.size),
        "pace": pace(row.bytes_per_s, row.seconds_left),
        "colour": "alarm" if row.state == TransferState.FAILED else "",
    }


def of_copy(row: CopyJob) -> dict[str, Any]:
    """Of the bytes of all that is copied, which grow until all is listed."""
    moved = row.bytes_moved
    return {
        "live": f"progress-{row.pk}",
        "moving": row.state == CopyState.RUNNING,
        "percent": _percent(moved, row.bytes_found, ended=row.state == CopyState.DONE),
        "words": _of(moved, row.bytes_found) + so_far(row),
        "pace": pace(row.bytes_per_s, row.seconds_left),
        "colour": "alarm" if row.state == CopyState.FAILED else "",
    }


def so_far(row: CopyJob) -> str:
    """What is to be said of numbers that grow as the source is listed, or would have grown."""
    if row.listed or not row.objects_found:
        return ""
    return " so far" if row.state == CopyState.RUNNING else " that were listed"


def of_checkpoint(row: Checkpoint) -> dict[str, Any]:
    """Of the bytes that are to persist."""
    found = checkpoints.progress(row)
    return {
        "live": f"progress-{row.pk}",
        "moving": row.state == CheckpointState.PENDING or row.restoring_since is not None,
        "percent": _percent(found.persisted_bytes, found.bytes, ended=found.persisted == found.members),
        "words": f"{found.persisted:,} of {found.members:,} objects, {_of(found.persisted_bytes, found.bytes)}",
        "colour": "alarm" if row.state == CheckpointState.FAILED else "",
    }


def of_drain(row: Storage, done: Measure) -> dict[str, Any]:
    """Of what was there when it began; a part of what is renewed as a whole."""
    gone, start = done.done, done.start
    told = f"{gone.replicas:,} of {start.replicas:,} copies, {_of(gone.bytes, start.bytes)} gone"
    return {
        "percent": done.percent,
        "words": f"{done.percent} %: {told}",
        "pace": pace(done.bytes_per_s, done.seconds_left) if row.state == StorageState.DRAINING else "",
        "wraps": True,
        "colour": "alarm" if row.drain_is_late and row.state == StorageState.DRAINING else "",
    }


def bar(told: dict[str, Any]) -> SafeString:
    """One of the above, drawn."""
    return SafeString(render_to_string("admin/staging/progress.html", told))


def live(name: str, told: SafeString | str) -> SafeString:
    """What is renewed on the page as the bar is; the ``name`` is the page's only one."""
    return format_html('<div data-live="{}">{}</div>', name, told)


def pace(rate: int | None, left_s: int | None) -> str:
    """``1.2 MiB/s, 5 min left``; empty where nothing moves."""
    if not rate:
        return ""
    return f"{words.size(rate)}/s" + (f", {words.about(left_s)} left" if left_s is not None else "")


def _percent(done: int, total: int, *, ended: bool) -> int:
    return 100 if ended else min(99, 100 * done // total) if total else 0


def _of(done: int, total: int) -> str:
    return f"{words.size(done)} of {words.size(total)}"
