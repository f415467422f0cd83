"""Copying within a storage: it makes a copy job's object by itself, and no byte passes through Waybill."""

import uuid
from concurrent.futures import ThreadPoolExecutor, wait

from django.db import connections, transaction
from django.utils import timezone

from adapters.base import Adapter, CopiesWithin, ObjectStat, WriteMode
from adapters.errors import AlreadyExists, VersionChanged
from adapters.tokens import WriteToken
from staging import catalog, events, placement, policies, reservations, tiers, writing
from staging.blocks import WHOLE_BYTES
from staging.claims import Claim
from staging.connections import release
from staging.errors import CopyDiffers, StorageClosed
from staging.leases import UploadLease
from staging.models import Alias, BlockSums, Bucket, Storage, Upload
from staging.offers import Offer
from staging.reading import Copy, Found
from staging.states import OnExists, VerifyMode
from staging.storages import adapter_for

#: How often the claim is looked after while the storage works.
_POLL_S = 0.5


def copy(source: Bucket, alias: Alias, found: Found, claim: Claim) -> bool:
    """Have the storage copy what was ``found`` to the alias's key; False where that cannot be, and nothing was done.

    The catalog must know digest and blocks of what it lists, so what others wrote is copied so between mounted buckets
    only, and what a policy wants to see proven goes the way of an upload. Raises what the storage raises,
    VersionChanged, CopyDiffers, and what ends the claim: noticed at once, but the storage's copy is waited for and then
    removed.
    """
    target = alias.bucket
    writing.check(alias, Offer(found.size))
    if not target.mounted and alias.on_exists == OnExists.FAIL and catalog.current(target, alias.key):
        return False
    if policies.of_bucket(target).verify != VerifyMode.SIZE:
        return False
    storage = target.storage if target.mounted else tiers.landing(target, found.size)
    here = next((copy for copy in found.copies if copy.replica.storage_id == storage.pk), None)
    if here is None:
        return False
    adapter = adapter_for(storage)
    if not isinstance(adapter, CopiesWithin):
        return False
    sums = _sums(found)
    if found.sha256 and found.etag_is_strong and (target.mounted or sums is not None):
        return _listed(adapter, alias, found, here, storage, sums or b"", claim)
    return target.mounted and source.mounted and _unlisted(adapter, alias, found, here, claim)


def _sums(found: Found) -> bytes | None:
    """The sums of the version's blocks; None where they are wanted and not known."""
    if found.size <= WHOLE_BYTES:
        return b""
    row = BlockSums.objects.filter(pk=found.object_id).first()
    return bytes(row.sums) if row else None


def _mode(alias: Alias) -> WriteMode:
    replaces = alias.bucket.mounted and alias.on_exists == OnExists.REPLACE
    return WriteMode.REPLACE if replaces else WriteMode.CREATE


def _listed(
    adapter: Adapter, alias: Alias, found: Found, here: Copy, storage: Storage, sums: bytes, claim: Claim
) -> bool:
    """With a row before the bytes and one after, like an upload: whoever finds the row after a crash can tell."""

    def take_room(place: Storage, percent: int) -> Upload:
        if place != storage:
            raise StorageClosed(f"The storage {storage} has no room for the copy any more.")
        return _reserve(alias, found, place, up_to_percent=percent)

    upload = tiers.reserve(alias.bucket, found.size, take_room)
    reservations.note_content(upload, found.size, found.sha256)
    try:
        stat = _copy(adapter, here, upload, claim)
        if stat.checksum and stat.checksum.algorithm == "sha-256" and stat.checksum.hex != found.sha256:
            raise CopyDiffers(f"The storage {adapter.name} made a copy of other content.")
        replayed = catalog.register(upload, stat.version, sums=sums).replayed
    except AlreadyExists:
        reservations.drop(upload)
        return False  # What stands there may be equal, which only reading tells.
    except BaseException:
        _give_up(upload)
        raise
    if replayed:
        _give_up(upload)
    return True


def _unlisted(adapter: Adapter, alias: Alias, found: Found, here: Copy, claim: Claim) -> bool:
    """A file that others wrote stays one of theirs; who waits for it is told.

    Its row is there for the janitor, who may remove what is unfinished, and makes no object of it.
    """
    upload = _reserve(alias, found, alias.bucket.storage)
    reservations.disown(upload)
    try:
        _copy(adapter, here, upload, claim)
    except AlreadyExists:
        reservations.drop(upload)
        return False
    except BaseException:
        _give_up(upload)
        raise
    with transaction.atomic():
        events.record(alias.bucket.project_id, "object.created", f"{alias.bucket}/{alias.key}")
        reservations.drop(upload)
    return True


def _reserve(alias: Alias, found: Found, storage: Storage, *, up_to_percent: int = 100) -> Upload:
    upload_id = uuid.uuid4()
    key = placement.planned_key(alias.bucket, alias.key, str(upload_id))
    size, kind = found.size, found.content_type
    return reservations.reserve(alias, storage, key, upload_id, size, kind, up_to_percent=up_to_percent)


def _copy(adapter: Adapter, here: Copy, upload: Upload, claim: Claim) -> ObjectStat:
    source, lease = here.replica.key, UploadLease(upload)
    token = WriteToken.new(upload.key, size=upload.declared_size, mode=_mode(upload.alias))
    reservations.note_token(upload, str(token))
    _fence_off(adapter, upload)
    release()
    before = adapter.stat(source)
    if here.version not in (None, before.version):
        raise VersionChanged("another one stands there now", storage=adapter.name, key=source)

    def work() -> ObjectStat:
        assert isinstance(adapter, CopiesWithin)
        try:
            return adapter.copy_within(source, token)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        copied = pool.submit(work)
        while not wait([copied], timeout=_POLL_S).done:
            claim.keep(0)
            lease.keep()
        stat = copied.result()
    after = adapter.stat(source)
    if stat.size != before.size or after.version != before.version:
        raise VersionChanged("it changed while it was copied", storage=adapter.name, key=source)
    claim.confirm(stat.size)
    return stat


def _fence_off(adapter: Adapter, upload: Upload) -> None:
    """See to it that earlier attempts, whose workers may still be at it, publish nothing from now on."""
    earlier = upload.alias.uploads.filter(target_key=upload.target_key, storage=upload.storage, batch=None)
    for one in earlier.exclude(pk=upload.pk):
        if reservations.claim(one):
            _give_up(one)
            release()
            if one.token:
                adapter.abort_write(one.token)


def _give_up(upload: Upload) -> None:
    """The janitor removes what of it there may be, soon; what is published at a mounted key stays."""
    reservations.disown(upload)
    reservations.owned(upload).update(lease_expires_at=timezone.now())
