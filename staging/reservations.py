"""Reservations: the row that an upload has before its bytes, its lease, and who may go on with it."""

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from staging.errors import LeaseLost, NoSpace, StorageClosed
from staging.models import Alias, Bucket, Storage, Upload
from staging.states import StorageState

#: The fence of an upload that nobody has taken over.
FIRST_FENCE = 1
#: Storages whose bytes nobody looks after any more.
_LEFT = Q(state=StorageState.DRAINED) | Q(state=StorageState.LOST, returns_to="")
#: What is noted of an upload's content so that no bytes are ever taken for it.
_NOTHING: Mapping[str, Any] = {"size": -1, "sha256": "0" * 64}


def reserve(
    alias: Alias,
    storage: Storage,
    key: str,
    upload_id: uuid.UUID,
    declared: int | None,
    content_type: str,
    promised: Mapping[str, bytes] | None = None,
    *,
    target_key: str | None = None,
    batch: uuid.UUID | None = None,
    up_to_percent: int = 100,
) -> Upload:
    """The row before the bytes: reserve the key and the declared space.

    Raises NoSpace and StorageClosed; nothing is reserved then.

    ``promised`` are the digests announced for the whole, by hashlib's names. ``target_key`` is the object's key where
    the alias does not name it; uploads of one ``batch`` are registered together. No more than ``up_to_percent`` of the
    storage's capacity is taken.
    """
    with transaction.atomic():
        take_space(storage, declared or 0, up_to_percent=up_to_percent)
        return Upload.objects.create(
            id=upload_id,
            alias=alias,
            storage=storage,
            key=key,
            target_key=alias.key if target_key is None else target_key,
            batch=batch,
            declared_size=declared,
            reserved_bytes=declared or 0,
            content_type=content_type,
            promised={name: digest.hex() for name, digest in (promised or {}).items()},
            lease_expires_at=lease_end(),
        )


def lease_end() -> datetime:
    """When an upload's lease that is taken or renewed now runs out."""
    return timezone.now() + timedelta(seconds=settings.UPLOAD_LEASE_S)


def take_space(storage: Storage, count: int, *, up_to_percent: int = 100) -> None:
    """Reserve bytes on a storage by one conditional UPDATE.

    Raises NoSpace, and StorageClosed where it has been drained or given up.
    """
    if _with_room(storage, count, up_to_percent).exclude(_LEFT).update(reserved_bytes=F("reserved_bytes") + count) != 1:
        if Storage.objects.filter(_LEFT, pk=storage.pk).exists():
            raise StorageClosed(f"The storage {storage.name} has been drained or given up.")
        raise _no_room(storage, count)


def check_space(storage: Storage, count: int) -> None:
    """Whether so many bytes could be reserved at this moment. Raises NoSpace."""
    if storage.capacity_bytes is not None and not _with_room(storage, count).exists():
        raise _no_room(storage, count)


def grow(upload: Upload, total: int, *, up_to_percent: int = 100) -> None:
    """Reserve what a body of unknown length has come to. Raises NoSpace or LeaseLost."""
    with transaction.atomic():
        take_space(upload.storage, total - upload.reserved_bytes, up_to_percent=up_to_percent)
        if not owned(upload).update(reserved_bytes=total):
            raise LeaseLost
    upload.reserved_bytes = total


def renew(upload: Upload, offset: int | None = None) -> None:
    """Prolong the lease of a living upload, and note how far it came. Raises LeaseLost where it was taken over."""
    came = {} if offset is None else {"offset": offset}
    if not owned(upload).update(lease_expires_at=lease_end(), **came):
        raise LeaseLost


def promise(upload: Upload, digests: Mapping[str, bytes]) -> None:
    """Keep what a further part's client announces for the whole. Raises LeaseLost."""
    promised = {**upload.promised, **{name: digest.hex() for name, digest in digests.items()}}
    if promised != upload.promised and not owned(upload).update(promised=promised):
        raise LeaseLost
    upload.promised = promised


def suspend(upload: Upload, token: str, offset: int) -> None:
    """Keep what came of an upload that broke off for ``WAYBILL_UPLOAD_KEEP_S``. Raises LeaseLost.

    An earlier upload of the same key through the same alias that waits to be resumed is given up for it.
    """
    now = timezone.now()
    kept = owned(upload).update(
        token=token, offset=offset, suspended_at=now, lease_expires_at=now + timedelta(seconds=settings.UPLOAD_KEEP_S)
    )
    if not kept:
        raise LeaseLost
    upload.token, upload.offset, upload.suspended_at = token, offset, now
    supersede(upload.alias, upload.target_key, but=upload)


def supersede(alias: Alias, target_key: str, *, but: Upload | None = None) -> None:
    """Give up the uploads to the key through the alias that wait to be resumed; the janitor removes their bytes.

    Even where all have come: nobody is to find them at the key once something else was sent, or nothing any more.
    """
    waiting = alias.uploads.filter(target_key=target_key, suspended_at__isnull=False, batch=None)
    others = waiting.exclude(pk=but.pk) if but else waiting
    if others.exists():
        others.update(lease_expires_at=timezone.now(), **_NOTHING)


def outdate(bucket: Bucket, keys: Collection[str], before: datetime) -> None:
    """What stands at the keys was acknowledged once more: the janitor is to finish no upload, by whomever, that began
    before.

    One whose writer lives goes on.
    """
    here = Upload.objects.filter(alias__bucket=bucket.pk, target_key__in=keys, batch=None)
    here.filter(created_at__lt=before).update(**_NOTHING)


def claim(upload: Upload) -> bool:
    """Become the only one who may go on with the upload: its writer so far is fenced off. False where we are late."""
    claimed = owned(upload).update(fence=F("fence") + 1, suspended_at=None, lease_expires_at=lease_end())
    upload.fence += claimed
    return claimed == 1


def hand_over(upload: Upload) -> bool:
    """Tell who claimed the upload that its former writer has let go of the bytes. False where nobody waits for that."""
    waiting = Upload.objects.filter(pk=upload.pk, fence=upload.fence + 1, suspended_at=None)
    return waiting.update(suspended_at=timezone.now()) == 1


def is_handed_over(upload: Upload) -> bool:
    """Whether the former writer of a claimed upload has let go."""
    return owned(upload).filter(suspended_at__isnull=False).exists()


def note_token(upload: Upload, token: str) -> None:
    """Keep the storage's name for the unfinished write, by which the janitor finds it. Raises LeaseLost."""
    if not owned(upload).update(token=token):
        raise LeaseLost


def note_content(upload: Upload, size: int, sha256: str) -> None:
    """Write down what is about to be published, and renew the lease, in one conditional UPDATE. Raises LeaseLost."""
    if not owned(upload).update(size=size, sha256=sha256, lease_expires_at=lease_end()):
        raise LeaseLost
    upload.size, upload.sha256 = size, sha256


def disown(upload: Upload) -> None:
    """Let the janitor remove the bytes, even if all have come: what is noted here is the content of nothing."""
    owned(upload).update(**_NOTHING)


def drop(upload: Upload) -> None:
    """Give up a reservation whose bytes are gone from the storage."""
    with transaction.atomic():
        deleted, _ = owned(upload).delete()
        if deleted:
            Storage.objects.filter(pk=upload.storage_id).update(
                reserved_bytes=F("reserved_bytes") - upload.reserved_bytes
            )


def owned(upload: Upload) -> QuerySet[Upload]:
    """The upload's row as long as nobody else has taken it over."""
    return Upload.objects.filter(pk=upload.pk, fence=upload.fence)


def _with_room(storage: Storage, count: int, up_to_percent: int = 100) -> QuerySet[Storage]:
    wanted = F("used_bytes") + F("reserved_bytes") + count
    room = F("capacity_bytes") * up_to_percent / 100 if up_to_percent < 100 else F("capacity_bytes")
    return Storage.objects.filter(pk=storage.pk).annotate(room=room).exclude(room__isnull=False, room__lt=wanted)


def _no_room(storage: Storage, count: int) -> NoSpace:
    return NoSpace(f"The storage {storage.name} has no room for {count} bytes more.")
