"""Copy jobs: an object, or all below a prefix, is copied or moved between any two buckets of a project.

What is below a prefix is planned page by page; a page is planned in the transaction that notes where the next begins,
so that nothing is listed twice, whoever is killed when. Between managed buckets that is all: no byte moves. Where one
of them is mounted each object is a transfer.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from adapters.errors import AdapterError, NotTried
from staging import aliases, claims, copy_progress, copy_specs, listing, objects, placement, queue, sharing, transfers
from staging.alias_terms import AliasSpec
from staging.copy_progress import AT_ONCE
from staging.copy_specs import CopySpec
from staging.errors import InvalidRequest, StagingError
from staging.listing import Entry
from staging.models import CopyJob, Project, Transfer
from staging.planning import ASKED
from staging.replication import LIVE
from staging.states import AliasMode, CopyOnExists, CopyState, OnExists, TransferKind, TransferState

#: Objects of a page, and pages that are planned in one go.
_PAGE, _PAGES = 500, 20
_MOST_ATTEMPTS = 12


def create(project: Project, spec: CopySpec) -> CopyJob:
    """Begin a copy; between managed buckets a small one has ended when this returns. Touches nothing but the database.

    Raises InvalidRequest, and NotFound and ContentDiffers where the catalog knows already that nothing comes of it.
    """
    copy_specs.check(project, spec)
    now = timezone.now()
    job = CopyJob(
        project=project,
        source_bucket=spec.source,
        source_key=spec.source_key,
        target_bucket=spec.target,
        target_key=spec.target_key,
        on_exists=spec.on_exists,
        moves=spec.moves,
        not_before=now,
        started_at=now,
    )
    with transaction.atomic():
        job.save()
        _give_alias(job)
    if _is_in_catalog(job):
        advance(str(job.pk), pages=1)
        job.refresh_from_db()
    if job.state == CopyState.RUNNING:
        queue.enqueue_copy(job)
    return job


def advance(job_id: str, *, pages: int = _PAGES) -> None:
    """Plan the next pages of a job unless somebody does, and end it where nothing is left. Safe to call any time."""
    job = _take(job_id)
    if job is None:
        return
    try:
        for _ in range(pages):
            if job.listed or job.transfers.filter(state__in=LIVE).count() >= AT_ONCE or not _plan_page(job):
                break
    except (AdapterError, StagingError) as exc:
        _put_off(job, exc)
        return
    # Others may have planned on meanwhile, if we were slow; each page is planned once all the same.
    CopyJob.objects.filter(pk=job.pk, fence=job.fence).update(lease_expires_at=None)
    copy_progress.go_on(job.pk)


def sweep() -> None:
    """Wake workers for jobs that have something left to plan, or that lost their worker."""
    running = CopyJob.objects.filter(state=CopyState.RUNNING)
    running.filter(lease_expires_at__lt=timezone.now()).update(lease_expires_at=None, attempts=F("attempts") + 1)
    running.filter(attempts__gte=claims.OFTEN, error_code="").update(**claims.WORKER_LOST)
    for job in running.filter(_is_free()):
        queue.enqueue_copy(job)


def cancel(job: CopyJob) -> None:
    """Plan no more, and stop what is on its way: at once where it waits, within seconds where it runs.

    What is copied stays. A job that has ended stays as it is.
    """
    now = timezone.now()
    CopyJob.objects.filter(pk=job.pk, state=CopyState.RUNNING, cancelled_at=None).update(cancelled_at=now)
    # A page that was being planned is there now, and none comes after it. What nobody has begun leaves nothing behind.
    untouched = job.transfers.filter(state=TransferState.QUEUED, fence=0)
    untouched.update(state=TransferState.CANCELLED, cancelled_at=now, finished_at=now)
    for transfer in job.transfers.filter(state__in=LIVE).select_related("target", "job"):
        transfers.cancel(transfer)
    copy_progress.settle(job)
    job.refresh_from_db()


def retry(job: CopyJob) -> None:
    """Go on with a job that failed or was cancelled: what is done stays done. Raises InvalidRequest for any other."""
    now = timezone.now()
    with transaction.atomic():
        begun = CopyJob.objects.filter(pk=job.pk, state__in=[CopyState.FAILED, CopyState.CANCELLED]).update(
            state=CopyState.RUNNING,
            started_at=now,
            start_bytes=F("bytes_done"),
            not_before=now,
            attempts=0,
            cancelled_at=None,
            finished_at=None,
            error_code="",
            error_detail="",
        )
        if not begun:
            raise InvalidRequest(
                f"Only a copy that failed or was cancelled can be tried again; this one is {job.state}."
            )
        job.refresh_from_db()
        _give_alias(job)
        again = job.transfers.filter(state__in=[TransferState.FAILED, TransferState.CANCELLED])
        ids = list(again.values_list("pk", flat=True)[:AT_ONCE])
        again.update(bytes_done=0, not_before=now, **claims.ANEW)
        for transfer in Transfer.objects.filter(pk__in=ids):
            queue.enqueue_transfer(transfer)
        queue.enqueue_copy(job)


def _take(job_id: str) -> CopyJob | None:
    free = CopyJob.objects.filter(_is_free(), pk=job_id, state=CopyState.RUNNING)
    lease = timezone.now() + timedelta(seconds=settings.TRANSFER_LEASE_S)
    if not free.update(fence=F("fence") + 1, lease_expires_at=lease):
        return None
    rows = CopyJob.objects.select_related("project", "source_bucket__storage__credential", "target_bucket__storage")
    return rows.get(pk=job_id)


def _is_free() -> Q:
    now = timezone.now()
    return Q(not_before__lte=now) & (Q(lease_expires_at=None) | Q(lease_expires_at__lt=now))


def _plan_page(job: CopyJob) -> bool:
    """Plan what the next page lists. False where another worker has done so, or the job was cancelled."""
    entries, after = _listed(job)
    with transaction.atomic():
        here = CopyJob.objects.filter(pk=job.pk, state=CopyState.RUNNING, cancelled_at=None)
        size = sum(entry.size for entry in entries)
        if not here.filter(listed=False, place=job.place).update(
            place=after,
            listed=not after,
            objects_found=F("objects_found") + len(entries),
            bytes_found=F("bytes_found") + size,
            attempts=0,
        ):
            return False
        job.place, job.listed = after, not after
        if _is_in_catalog(job):
            _share(job, entries)
        else:
            rows = [_transfer(job, entry) for entry in entries]
            Transfer.objects.bulk_create(rows)
            for row in rows[:AT_ONCE]:
                queue.enqueue_transfer(row)
    return True


def _listed(job: CopyJob) -> tuple[list[Entry], str]:
    if job.is_folder:
        page = listing.whole_page(job.source_bucket, job.source_key, after=job.place, limit=_PAGE)
        return page.objects, page.after
    known = objects.look(job.source_bucket, job.source_key)
    return [Entry(known.key, known.size, known.modified)], ""


def _share(job: CopyJob, entries: list[Entry]) -> None:
    sizes = {entry.key: entry.size for entry in entries}
    keys = {key: target_key(job, key) for key in sizes}
    wrong = {key: problem for key, new in keys.items() if (problem := copy_specs.problem_of(job.target_bucket, new))}
    found = sharing.share(
        job.source_bucket,
        job.target_bucket,
        {key: new for key, new in keys.items() if key not in wrong},
        on_exists=CopyOnExists(job.on_exists),
        moves=job.moves,
    )
    size = sum(one.size for one in [*found.done, *found.skipped])
    copy_progress.count(job.pk, objects=len(found.done), size=size, skipped=len(found.skipped))
    left = []
    errors: dict[str, AdapterError | StagingError] = {**found.failed, **wrong}
    for key, error in errors.items():
        row = _transfer(job, Entry(key, sizes[key], None))
        row.error_code, row.error_detail = row.last_error_code, row.last_error_detail = error.code, str(error)
        if error.transient:  # It is tried again like every other transfer.
            row.not_before += timedelta(seconds=transfers.retry_delay_s(1))
        else:
            row.state, row.finished_at = TransferState.FAILED, timezone.now()
        left.append(row)
        copy_progress.note_error(job.pk, error.code, str(error))
    Transfer.objects.bulk_create(left)


def _transfer(job: CopyJob, entry: Entry) -> Transfer:
    target, key = job.target_bucket, target_key(job, entry.key)
    return Transfer(
        project=job.project,
        kind=TransferKind.MOVE if job.moves else TransferKind.COPY,
        job=job,
        source_key=entry.key,
        target_key=key[: copy_specs.MOST_CHARACTERS],
        target=target.storage if target.mounted else placement.home(target),
        label=f"{target}/{key}"[:1200],
        size=entry.size,
        reason=f"a copy of {job.source_bucket}/{entry.key}"[:200],
        priority=ASKED,
        not_before=timezone.now(),
    )


def target_key(job: CopyJob, key: str) -> str:
    """Where the object at a source key is copied to."""
    return f"{job.target_key}{key[len(job.source_key) :]}" if job.is_folder else job.target_key


def _put_off(job: CopyJob, exc: AdapterError | StagingError) -> None:
    """What is to be copied could not be listed: again later, or the job has failed."""
    copy_progress.note_error(job.pk, exc.code, str(exc))
    mine = CopyJob.objects.filter(pk=job.pk, fence=job.fence)
    # A storage that was not even asked has not failed the job.
    tried, wait_s = (0, exc.retry_after_s or 0) if isinstance(exc, NotTried) else (1, 0)
    if exc.transient and job.attempts < _MOST_ATTEMPTS:
        later = timezone.now() + timedelta(seconds=transfers.retry_delay_s(job.attempts) + wait_s)
        mine.update(attempts=F("attempts") + tried, not_before=later, lease_expires_at=None)
        return
    with transaction.atomic():
        copy_progress.end(job, CopyState.FAILED)


def _is_in_catalog(job: CopyJob) -> bool:
    """Whether no byte has to move."""
    return not job.source_bucket.mounted and not job.target_bucket.mounted


def _give_alias(job: CopyJob) -> None:
    """What writes bytes does so through an alias, as everybody does; until it ends, readers of the target wait."""
    if _is_in_catalog(job):
        return
    mode = AliasMode.WRITE_PREFIX if job.is_folder else AliasMode.WRITE
    on_exists = OnExists.REPLACE if job.on_exists == CopyOnExists.REPLACE else OnExists.FAIL
    spec = AliasSpec(
        mode,
        job.target_key,
        on_exists=on_exists,
        labels={"copy": str(job.pk)},
        lifetime_s=settings.ALIAS_MAX_LIFETIME_S,
    )
    job.alias = aliases.create(job.target_bucket, [spec])[0]
    job.save(update_fields=["alias"])
