"""The janitor: settles what crashed writers left, and forgets what is old. Safe to run anywhere, any time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from adapters.base import Adapter
from adapters.errors import AdapterError, NotFound
from adapters.tokens import WriteToken
from staging import catalog, chores, copy_progress, placement, reservations, resuming, retiring, transfers, writing
from staging.blocks import BLOCK_SUMS
from staging.connections import release
from staging.errors import AliasUsedUp, ContentDiffers, ObjectUnavailable, StagingError, TooLarge
from staging.leases import UploadLease
from staging.models import Alias, Event, IdempotencyKey, Upload
from staging.pump import Hasher, pump
from staging.purging import purge
from staging.storages import adapter_for

log = structlog.get_logger(__name__)


@dataclass
class Sweep:
    """What one run of the janitor did, as counts."""

    adopted: int = 0
    removed: int = 0
    postponed: int = 0
    purged: int = 0


def sweep(limit: int = 200) -> Sweep:
    """Settle every upload whose lease has run out, and purge old rows."""
    done = Sweep()
    expired = Upload.objects.filter(lease_expires_at__lt=timezone.now()).order_by("lease_expires_at")
    for upload in expired.select_related("alias__bucket", "storage__credential")[:limit]:
        with chores.apart("janitor.settle", upload.pk):
            _settle(upload, done)
    done.purged = _purge()
    return done


def _settle(upload: Upload, done: Sweep) -> None:
    claimed = Upload.objects.filter(pk=upload.pk, fence=upload.fence, lease_expires_at__lt=timezone.now()).update(
        fence=F("fence") + 1, lease_expires_at=reservations.lease_end()
    )
    if not claimed:
        return
    # A writer that was late, but alive, may have reserved more space until the moment of the claim.
    upload.refresh_from_db(fields=["fence", "reserved_bytes", "size", "sha256", "token"])
    try:
        adapter = adapter_for(upload.storage)
        release()
        may_adopt = not _is_superseded(upload)
        adopted = may_adopt and not upload.sha256 and resuming.complete(upload) is not None
        if not adopted:
            _abort_unfinished(adapter, upload)
            adopted = may_adopt and bool(upload.sha256) and upload.batch is None and _adopt(adapter, upload)
        if not adopted:
            if not placement.is_in_place(upload):
                adapter.delete(upload.key)
            if upload.declared_size is None and upload.suspended_at is None:
                writing.note_stream_cut(upload.alias, upload.target_key)
            reservations.drop(upload)
    except (AdapterError, StagingError) as exc:
        # The lease was prolonged above, so the next run comes back to it.
        log.warning("janitor.postponed", upload=str(upload.pk), error=exc.code)
        done.postponed += 1
        return
    done.adopted += adopted
    done.removed += not adopted
    log.info("janitor.settled", upload=str(upload.pk), storage=upload.storage.name, adopted=adopted)


def _is_superseded(upload: Upload) -> bool:
    """Whether its client, who got no answer, has begun anew: what it sends now, perhaps of another run, is to stand.

    At a mounted key the bytes may be visible already.
    """
    if placement.is_in_place(upload):
        return False
    newer = upload.alias.uploads.filter(target_key=upload.target_key, created_at__gt=upload.created_at)
    return newer.filter(batch=None).exists()


def _abort_unfinished(adapter: Adapter, upload: Upload) -> None:
    if upload.token:
        adapter.abort_write(upload.token)
        return
    for token in adapter.unfinished_writes(upload.key):
        if not placement.is_in_place(upload) or _looks_like_its(token, upload):
            adapter.abort_write(token)


def _looks_like_its(token: str, upload: Upload) -> bool:
    """Whether an unfinished write at a mounted key, where others write too, is that of a writer who died before he
    noted its token: it declares the same size, and no other upload has it.

    Raises ObjectUnavailable where a living one may be about to note it, which only time tells.
    """
    if WriteToken.parse(token, storage=upload.storage.name).size != upload.declared_size:
        return False
    others = Upload.objects.filter(storage=upload.storage_id, key=upload.key).exclude(pk=upload.pk)
    # In this order: who notes his token between the two questions is found by the second.
    may_be_noted = others.filter(token="", lease_expires_at__gte=timezone.now()).exists()
    if others.filter(token=token).exists():
        return False
    if may_be_noted:
        raise ObjectUnavailable("Another upload to the key may have begun this unfinished write.")
    return True


def _adopt(adapter: Adapter, upload: Upload) -> bool:
    """Register bytes that were published and not registered, if they are those that were noted before publish."""
    try:
        with adapter.open_read(upload.key) as stream, Hasher(["sha256", BLOCK_SUMS]) as hasher:
            if stream.stat.size != upload.size:
                return False
            lease = UploadLease(upload)
            pump(stream, lambda _: None, hasher, on_progress=lambda _: lease.keep())
            digests = hasher.finish()
            if digests["sha256"].hex() != upload.sha256:
                return False
        return not catalog.register(upload, stream.stat.version, sums=digests[BLOCK_SUMS], late=True).replayed
    except (NotFound, ContentDiffers, AliasUsedUp, TooLarge):
        return False


def _purge() -> int:
    now = timezone.now()
    old = now - timedelta(seconds=settings.TOMBSTONE_S)
    ended = Q(expires_at__lt=old) | Q(revoked_at__lt=old)
    events_before = now - timedelta(seconds=settings.EVENTS_KEEP_S)
    purges: dict[str, Callable[[], int]] = {
        "tombstones": lambda: retiring.purge_tombstones(old),
        "transfers": lambda: transfers.purge(old),
        "copies": lambda: copy_progress.purge(old),
        "aliases": lambda: purge(Alias.objects.filter(ended, uploads__isnull=True)),
        "events": lambda: purge(Event.objects.filter(created_at__lt=events_before)),
        "idempotency keys": lambda: purge(IdempotencyKey.objects.filter(created_at__lt=now - timedelta(days=2))),
    }
    purged = 0
    for rows, purge_some in purges.items():
        with chores.apart("janitor.purge", rows):
            purged += purge_some()
    return purged
