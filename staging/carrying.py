"""Carrying: a copy job's transfer makes another object of one, all or nothing, and a move removes the first then.

The bytes take the way of every upload: space reserved, digest and blocks summed up, published in one step, kept where
both ends can go on. Only where they need not pass through Waybill at all ``copying_within`` does it.
"""

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from adapters.base import ReadStream
from adapters.errors import AdapterError, Busy, VersionChanged
from adapters.errors import NotFound as NothingThere
from staging import (
    catalog,
    claims,
    copy_progress,
    copy_specs,
    copying_within,
    reading,
    reservations,
    resuming,
    retiring,
    sharing,
    versions,
    writing,
)
from staging.claims import Claim, WorkerStops
from staging.connections import release
from staging.errors import (
    BodyIncomplete,
    ContentDiffers,
    CopyDiffers,
    DigestMismatch,
    LeaseLost,
    PartsDiffer,
    WrongOffset,
)
from staging.models import Alias, Bucket, CopyJob, Transfer
from staging.offers import Offer, Receipt
from staging.reading import Found
from staging.states import AliasMode, CopyOnExists, TransferKind
from staging.storages import adapter_for

#: What a transfer's token says: with which version of the source it began, or that it is copied.
_FROM, _COPIED = "from ", "copied "


@dataclass(frozen=True, slots=True)
class _Source:
    """What stands at the source key now; ``version`` is the object's id, or the storage's word."""

    found: Found
    version: str


def carry(transfer: Transfer, claim: Claim) -> None:
    """Make the object at the transfer's target key, and remove the source of a move if it is still the one read.

    Raises what either storage raises, what an upload is refused with, and what ends the claim.
    """
    job = transfer.job
    assert job is not None
    if problem := copy_specs.problem_of(job.target_bucket, transfer.target_key):
        raise problem
    if not job.source_bucket.mounted and not job.target_bucket.mounted:
        _share(transfer, job)
    elif transfer.token.startswith(_COPIED):
        _end(transfer, job, transfer.token.removeprefix(_COPIED), transfer.bytes_done)
    else:
        _carry(transfer, job, claim)


def discard(transfer: Transfer) -> None:
    """Leave nothing of a copy that will not be made; what waits to be gone on with belongs to the janitor now."""
    if transfer.job and transfer.job.alias:
        reservations.supersede(transfer.job.alias, transfer.target_key)
    claims.owned(transfer).update(token="")


def _share(transfer: Transfer, job: CopyJob) -> None:
    keys = {transfer.source_key: transfer.target_key}
    how = CopyOnExists(job.on_exists)
    with transaction.atomic():
        found = sharing.share(job.source_bucket, job.target_bucket, keys, on_exists=how, moves=job.moves)
        for one in [*found.done, *found.skipped]:
            if not copy_progress.finish(transfer, size=one.size, skipped=bool(found.skipped)):
                transaction.set_rollback(True)
    for error in found.failed.values():
        raise error


def _carry(transfer: Transfer, job: CopyJob, claim: Claim) -> None:
    source = _look(job.source_bucket, transfer.source_key)
    assert job.alias is not None
    alias = job.alias
    alias.bucket = job.target_bucket
    alias.key = transfer.target_key
    if job.on_exists == CopyOnExists.SKIP and transfer.fence == 1 and _stands(alias):
        copy_progress.finish(transfer, size=source.found.size, skipped=True)
        return
    stood = False
    try:
        if not copying_within.copy(job.source_bucket, alias, source.found, claim):
            stood = _pump(transfer, alias, source, claim)
    except ContentDiffers:
        if job.on_exists != CopyOnExists.SKIP:
            raise
        copy_progress.finish(transfer, size=source.found.size, skipped=True)
        return
    except VersionChanged as exc:
        raise CopyDiffers("The source changed while it was copied.") from exc
    except (DigestMismatch, PartsDiffer) as exc:
        raise CopyDiffers("What was read is not what the source's digest says.") from exc
    _describe(job, transfer)
    if stood and transfer.kind == TransferKind.MOVE and _may_be_one_file(job, transfer):
        stays = f"{job.source_bucket}/{transfer.source_key} may be the very file that stands at the target, and stays"
        copy_progress.finish(transfer, size=source.found.size, reason=stays[:200])
        return
    _end(transfer, job, source.version, source.found.size)


def _look(bucket: Bucket, key: str) -> _Source:
    found = reading.find(Alias(bucket=bucket, key=key, mode=AliasMode.READ, project_id=bucket.project_id))
    version = str(found.object_id) if found.object_id else found.copies[0].version
    return _Source(found, version or "")


def _stands(alias: Alias) -> bool:
    if not alias.bucket.mounted:
        return catalog.current(alias.bucket, alias.key) is not None
    release()
    try:
        adapter_for(alias.bucket.storage).stat(f"{alias.bucket.prefix}{alias.key}")
    except NothingThere:
        return False
    return True


def _may_be_one_file(job: CopyJob, transfer: Transfer) -> bool:
    """Whether two mounted buckets may show one file by two names of its storage, so that removing one removes both."""
    if not (job.source_bucket.mounted and job.target_bucket.mounted):
        return False
    release()
    here, there = (
        adapter_for(bucket.storage).stat(f"{bucket.prefix}{key}")
        for bucket, key in ((job.source_bucket, transfer.source_key), (job.target_bucket, transfer.target_key))
    )
    if here.modified is None or there.modified is None:
        return True
    if 0 in (here.modified.microsecond, there.modified.microsecond):  # Some tell whole seconds only.
        return here.modified.replace(microsecond=0) == there.modified.replace(microsecond=0)
    return here.modified == there.modified


def _pump(transfer: Transfer, alias: Alias, source: _Source, claim: Claim) -> bool:
    """The bytes through us, from where an earlier attempt stopped if it began with this version.

    Whether equal content stood there already.
    """
    found, start = source.found, 0
    if transfer.token == f"{_FROM}{source.version}" and found.etag_is_strong:
        begun = resuming.progress(alias)
        if begun.object and begun.object.sha256 == found.sha256:
            reservations.outdate(alias.bucket, [alias.key], timezone.now())
            return True
        start = begun.offset if begun.object is None and begun.offset < found.size else 0
    elif transfer.token:
        reservations.supersede(alias, alias.key)
    token = f"{_FROM}{source.version}"
    claims.owned(transfer).update(token=token, start_offset=start, bytes_done=start)
    transfer.token = token
    try:
        return _send(alias, found, claim, start)
    except WrongOffset:  # It has just been given up: from the beginning then.
        return _send(alias, found, claim, 0)


def _send(alias: Alias, found: Found, claim: Claim, start: int) -> bool:
    # A version that may change unnoticed does not vouch for the digest that it had once.
    known = {"sha256": bytes.fromhex(found.sha256)} if found.sha256 and found.etag_is_strong else {}
    offer = Offer(found.size - start, found.content_type, known, start=start)
    with reading.open_stream(found, start, found.size) as stream:
        body = _Body(stream, claim, start)
        try:
            receipt = writing.receive_part(alias, offer, body, parks=False)
        except BodyIncomplete:
            if body.stopped is None:
                raise
            raise body.stopped from None
        except Busy as exc:
            if exc.limit == 1 and exc.storage in {copy.replica.storage.name for copy in found.copies}:
                detail = "to copy within it takes two connections at once, and its max_connections allows one"
                raise AdapterError(detail, storage=exc.storage, key=alias.key) from exc
            raise
    assert isinstance(receipt, Receipt), "all of the rest was sent"
    return receipt.replayed


class _Body:
    """The source as the body of an upload. A worker that stops breaks it off, so that what came is kept."""

    def __init__(self, stream: ReadStream, claim: Claim, moved: int) -> None:
        self._stream, self._claim, self._moved = stream, claim, moved
        self.stopped: WorkerStops | None = None

    def read(self, max_bytes: int) -> bytes:
        try:
            self._claim.keep(self._moved)
        except WorkerStops as exc:
            self.stopped = exc
            raise BodyIncomplete from exc
        chunk = self._stream.read(max_bytes)
        self._moved += len(chunk)
        if not chunk:  # The last moment: what follows makes it visible.
            self._claim.confirm(self._moved)
        return chunk


def _describe(job: CopyJob, transfer: Transfer) -> None:
    """The copy has the metadata of what it is a copy of."""
    known = catalog.current(job.source_bucket, transfer.source_key)
    if known and known.metadata:
        versions.describe(job.target_bucket, transfer.target_key, known.metadata)


def _end(transfer: Transfer, job: CopyJob, version: str, size: int) -> None:
    """The copy stands: count it, and before that remove what it was moved from."""
    stays = ""
    if transfer.kind == TransferKind.MOVE:
        if not claims.owned(transfer).update(token=f"{_COPIED}{version}", bytes_done=size):
            raise LeaseLost("Another worker has taken the transfer over.")
        if not _remove_source(job.source_bucket, transfer.source_key, version):
            stays = f"{job.source_bucket}/{transfer.source_key} was replaced meanwhile, and stays"[:200]
    copy_progress.finish(transfer, size=size, reason=stays)


def _remove_source(bucket: Bucket, key: str, version: str) -> bool:
    """Whether nothing is left of the version that was copied; a newer one is not touched."""
    known = catalog.current(bucket, key)
    if not bucket.mounted:
        if known and str(known.pk) == version:
            retiring.delete(known)
            return True
        return known is None
    release()
    adapter, place = adapter_for(bucket.storage), f"{bucket.prefix}{key}"
    try:
        if adapter.stat(place).version != version:
            return False
    except NothingThere:
        pass
    else:
        adapter.delete(place)
    if known:
        retiring.delete(known)
    return True
