"""The progress of copy jobs: what has become of their objects is counted, and a job ends with its last one."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from staging import claims, events, purging, queue
from staging.aliases import revoke
from staging.models import CopyJob, Transfer
from staging.replication import LIVE
from staging.states import CopyState, TransferState

#: Transfers that a job has at a time, so that a large one is planned as it goes on; fewer than half, and more come.
AT_ONCE = 100


def finish(transfer: Transfer, *, size: int, skipped: bool = False, reason: str = "") -> bool:
    """End a job's transfer well if the claim still holds, and count it, in one transaction."""
    assert transfer.job_id is not None
    with transaction.atomic():
        told = {"reason": reason} if reason else {}
        if not claims.finish(transfer, TransferState.DONE, bytes_done=size, size=size, token="", **told):
            return False
        # What its listing said of its size may have been another's.
        count(transfer.job_id, objects=int(not skipped), size=size, skipped=int(skipped), grown=size - transfer.size)
    return True


def count(job_id: UUID, *, objects: int, size: int, skipped: int, grown: int = 0) -> None:
    """Count objects that are done with their bytes, those that were left as they were among the bytes too."""
    CopyJob.objects.filter(pk=job_id).update(
        objects_done=F("objects_done") + objects,
        objects_skipped=F("objects_skipped") + skipped,
        bytes_done=F("bytes_done") + size,
        bytes_found=F("bytes_found") + grown,
    )


def with_counts(rows: QuerySet[CopyJob]) -> QuerySet[CopyJob]:
    """The jobs with what their progress asks of their transfers, so that a list of them takes no query for each."""
    mine = Transfer.objects.filter(job=OuterRef("pk")).order_by().values("job")
    failed = mine.filter(state=TransferState.FAILED).annotate(count=Count("pk")).values("count")
    moving = mine.filter(state=TransferState.RUNNING).annotate(bytes=Sum("bytes_done")).values("bytes")
    return rows.annotate(counted_failed=Coalesce(Subquery(failed), 0), counted_bytes=Coalesce(Subquery(moving), 0))


def note_error(job_id: UUID, code: str, detail: str) -> None:
    """Keep the first error of a job."""
    CopyJob.objects.filter(pk=job_id, error_code="").update(error_code=code, error_detail=detail)


def go_on(job_id: UUID) -> None:
    """One of the job's transfers has ended: have more planned, or end the job with the last."""
    job = CopyJob.objects.filter(pk=job_id, state=CopyState.RUNNING).first()
    if job is None:
        return
    if job.listed or job.cancelled_at:
        settle(job)
    elif job.transfers.filter(state__in=LIVE).count() < AT_ONCE / 2:
        queue.enqueue_copy(job)


def settle(job: CopyJob) -> None:
    """End a job of which nothing is left to be planned or done. Idempotent, whoever else does the same."""
    with transaction.atomic():
        rows = CopyJob.objects.select_for_update(of=("self",)).select_related("source_bucket", "target_bucket", "alias")
        now = rows.filter(pk=job.pk, state=CopyState.RUNNING).first()
        if now is None or not (now.listed or now.cancelled_at) or now.transfers.filter(state__in=LIVE).exists():
            return
        is_whole = now.objects_done + now.objects_skipped == now.objects_found
        state = CopyState.DONE if is_whole and now.listed else CopyState.FAILED
        end(now, CopyState.CANCELLED if now.cancelled_at and state != CopyState.DONE else state)


def end(job: CopyJob, state: CopyState) -> None:
    """Write down how the job ended, with its event; in a transaction."""
    if not CopyJob.objects.filter(pk=job.pk, state=CopyState.RUNNING).update(
        state=state, finished_at=timezone.now(), lease_expires_at=None
    ):
        return
    if job.alias:
        revoke(job.alias)
    facts = {"from": job.source, "objects": job.objects_done, "bytes": job.bytes_done, "skipped": job.objects_skipped}
    events.record(job.project_id, f"copy.{state}", job.target, copy=str(job.pk), **facts)


def purge(before: datetime) -> int:
    """Remove rows of jobs that ended before ``before`` and did not fail; returns how many."""
    ended = CopyJob.objects.filter(state__in=[CopyState.DONE, CopyState.CANCELLED], finished_at__lt=before)
    return purging.purge(ended)
