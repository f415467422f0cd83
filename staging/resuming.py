"""Resuming: how far an upload came, who may go on with it, and its completion where only the answer was lost."""

import time
from datetime import timedelta

import structlog
from django.conf import settings
from django.utils import timezone

from adapters.base import Adapter, WriteSession
from adapters.errors import NotFound, WriteLost
from staging import catalog, parking, placement, reception, reservations
from staging.connections import release
from staging.errors import LeaseLost, StagingError, WrongOffset
from staging.leases import CONFIRM_S
from staging.models import Alias, Upload
from staging.offers import Offer, Progress, Receipt
from staging.pump import Source
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

#: A writer that was fenced off has noticed, or can write no more, after so long; see ``UploadLease``.
HANDOVER_S = CONFIRM_S + 1
_POLL_S = 0.05


def progress(alias: Alias) -> Progress:
    """How many bytes of the alias's upload are safe.

    A running upload goes on undisturbed. One whose writer is gone is looked up on the storage; where all its bytes are
    there it is completed, so that a client whose answer was lost learns that it has nothing left to send.
    """
    upload = _unfinished(alias)
    if upload is None:
        return _standing(alias)
    live = reception.running(upload)
    if live is not None:
        return Progress(live.session.offset if live.session else 0, length=upload.declared_size)
    if upload.suspended_at is None and _is_alive(upload):
        return Progress(upload.offset, length=upload.declared_size)
    if not Upload.objects.filter(pk=upload.pk).exists():
        return _standing(alias)
    if upload.suspended_at is not None and upload.offset != upload.declared_size:
        return Progress(upload.offset, length=upload.declared_size)
    return _look(alias, upload)


def is_begun(alias: Alias) -> bool:
    """Whether there is an upload to the alias's key that a client may go on with."""
    return _unfinished(alias) is not None


def begun(alias: Alias, offer: Offer) -> Upload:
    """The upload that a part belongs to. Raises WrongOffset where there is none of this length and these digests."""
    upload = _unfinished(alias)
    if upload is None or _is_of_another(upload, offer):
        standing = _standing(alias)
        raise WrongOffset(offset=standing.offset, complete=standing.object is not None)
    return upload


def _is_of_another(upload: Upload, offer: Offer) -> bool:
    """Whether a part is announced to be of another whole than the upload was."""
    if offer.whole is not None and upload.declared_size not in (None, offer.whole):
        return True
    return any(upload.promised.get(name, digest.hex()) != digest.hex() for name, digest in offer.digests.items())


def go_on(alias: Alias, offer: Offer, body: Source, limit: int) -> Receipt | Progress:
    """Take a part that does not begin at the first byte.

    Raises WrongOffset where it does not begin where the bytes that are safe end; then nothing has changed. What waits
    of another whole than this part's is given up, so that its client begins anew.
    """
    try:
        upload = begun(alias, offer)
    except WrongOffset:
        reservations.supersede(alias, alias.key)
        raise
    adapter = adapter_for(upload.storage)
    session = _taken_over(upload, adapter)
    if session is None:
        raise WrongOffset(offset=0, complete=False)
    if session.offset != offer.start:
        _leave(upload, session)
        raise WrongOffset(offset=session.offset, complete=False)
    reservations.promise(upload, offer.digests)
    return parking.reception_of(upload, offer, limit, session=session).go_on(body)


def complete(upload: Upload) -> Receipt | None:
    """Make an object of a claimed upload all of whose bytes are there; None where some are missing.

    Raises what the storage raises, and ContentDiffers or PartsDiffer, after which the upload is gone.
    """
    adapter = adapter_for(upload.storage)
    if upload.declared_size is None or not reception.may_be_resumed(upload, adapter):
        return None
    session = _session(upload, adapter)
    if session is not None and session.offset != upload.declared_size:
        session.suspend()
        return None
    # At a mounted key others write too, so that a file there need not be this upload's.
    if session is None and (placement.is_in_place(upload) or not _is_published(upload, adapter)):
        return None
    return _finish(upload, session)


def _finish(upload: Upload, session: WriteSession | None) -> Receipt:
    size = upload.declared_size
    assert size is not None, "only an upload of known length can have all its bytes"
    receipt = parking.reception_of(upload, Offer(size), size, session=session).finish()
    assert isinstance(receipt, Receipt)
    return receipt


def _is_published(upload: Upload, adapter: Adapter) -> bool:
    """Whether the writer came as far as publishing all bytes at the private key, and no further."""
    try:
        return adapter.stat(upload.key).size == upload.declared_size
    except NotFound:
        return False


def _unfinished(alias: Alias) -> Upload | None:
    """The upload to the alias's key that a client may go on with: one that waits for it first, then the latest."""
    rows = alias.uploads.filter(target_key=alias.key, batch=None).exclude(
        suspended_at__isnull=False, lease_expires_at__lt=timezone.now()
    )
    found = list(rows.select_related("storage__credential"))
    for upload in found:
        # A prefix alias stands for many keys; the one that is meant is the caller's.
        upload.alias = alias
    adapters = {upload.storage_id: adapter_for(upload.storage) for upload in found}
    found = [upload for upload in found if reception.may_be_resumed(upload, adapters[upload.storage_id])]
    return max(found, key=lambda upload: (upload.suspended_at is not None, upload.created_at), default=None)


def _standing(alias: Alias) -> Progress:
    """What stands at the key, where the alias's upload can have become that."""
    standing = catalog.current(alias.bucket, alias.key)
    is_used = Alias.objects.filter(pk=alias.pk, uses__gt=0).exists()  # It may have been completed just now.
    if standing is None or not is_used or standing.created_at < alias.created_at:
        return Progress(0)  # It came another way: whether it is the same only a PUT can tell.
    return Progress(standing.size, standing, standing.size)


def _is_alive(upload: Upload) -> bool:
    """Whether somebody writes: a living writer renews its lease every few seconds."""
    until = time.monotonic() + 2 * CONFIRM_S
    while time.monotonic() < until:
        now = Upload.objects.filter(pk=upload.pk).values("lease_expires_at", "suspended_at", "fence", "offset").first()
        release()
        if now is None:
            return False
        if now["fence"] != upload.fence or now["suspended_at"] is not None:
            return True
        if now["lease_expires_at"] != upload.lease_expires_at:
            upload.offset = now["offset"]
            return True
        if upload.lease_expires_at < timezone.now() + timedelta(seconds=settings.UPLOAD_LEASE_S - 3 * CONFIRM_S):
            return False
        time.sleep(_POLL_S * 4)
    return False


def _look(alias: Alias, upload: Upload) -> Progress:
    """Ask the storage how far an upload came whose writer is gone, and complete it where it came to its end."""
    adapter = adapter_for(upload.storage)
    try:
        session = _taken_over(upload, adapter, is_dead=True)
        if session is not None and session.offset != upload.declared_size:
            _leave(upload, session)
            return Progress(session.offset, length=upload.declared_size)
        if session is not None:
            made = _finish(upload, session).object
            return Progress(made.size, made, made.size)
    except (LeaseLost, WrongOffset):
        release()
    except StagingError as exc:
        log.warning("upload.not_completed", upload=str(upload.pk), error=exc.code)
    return _standing(alias)


def _taken_over(upload: Upload, adapter: Adapter, *, is_dead: bool = False) -> WriteSession | None:
    """The upload's session, ours alone; None where its bytes are gone, and the upload with them. Raises LeaseLost.

    ``is_dead``: its writer has shown no sign of life for so long that there is nobody to wait for.
    """
    suspended = upload.suspended_at is not None
    live = reception.running(upload)
    if not reservations.claim(upload):
        raise LeaseLost
    if not suspended and not is_dead:
        if live is not None:
            live.offer.stop()
        _wait_for_handover(upload)
    session = _session(upload, adapter)
    if session is not None:
        return session
    if receipt := complete(upload):
        raise WrongOffset(offset=receipt.object.size, complete=True)
    # Where the length was never declared, its writer may have published and not come to registering it.
    if not placement.is_in_place(upload):
        adapter.delete(upload.key)
    reservations.drop(upload)
    return None


def _wait_for_handover(upload: Upload) -> None:
    until = time.monotonic() + HANDOVER_S
    while time.monotonic() < until and not reservations.is_handed_over(upload):
        release()
        time.sleep(_POLL_S)
    release()


def _session(upload: Upload, adapter: Adapter) -> WriteSession | None:
    release()
    for token in [upload.token] if upload.token else adapter.unfinished_writes(upload.key):
        try:
            return adapter.resume_write(token)
        except WriteLost:
            continue
    return None


def _leave(upload: Upload, session: WriteSession) -> None:
    """Put the upload back for whoever comes with the right offset."""
    offset, token = session.offset, session.suspend()
    try:
        reservations.suspend(upload, token, offset)
    except LeaseLost:
        log.info("upload.taken_again", upload=str(upload.pk))
