"""Parking: a body whose storage cannot go on with it waits on a fast storage of the project until it is whole."""

import copy
import uuid
from collections.abc import Mapping
from contextlib import suppress

from django.conf import settings

from adapters.base import Adapter, ReadStream, ReadsUnfinished, WriteMode, WriteSession
from staging import catalog, lateness, placement, reservations, tiers
from staging.connections import release
from staging.errors import ContentDiffers, DigestMismatch, NoSpace, PartsDiffer, StagingError, StorageClosed
from staging.leases import UploadLease
from staging.models import Alias, Object, Storage, Upload
from staging.offers import Offer, Progress, Receipt
from staging.pump import Source
from staging.reception import Reception, begin
from staging.states import StorageState
from staging.storages import adapter_for

#: What is smaller is sent again sooner than it is copied.
LEAST_BYTES = 8 * 1024 * 1024
#: The slowest tier on which a body may wait.
_SLOWEST_TIER = 1


def reserve(alias: Alias, offer: Offer) -> Upload | None:
    """The row of a body that is to wait, its space taken below the hard mark; None where it goes straight to its place.

    That is so where that storage can go on with an upload by itself, where the body is small or of unknown length, and
    where the project has no fast storage besides that has room.
    """
    if offer.whole is None or offer.whole < LEAST_BYTES:
        return None
    landing = tiers.landing(alias.bucket, offer.whole)
    target = adapter_for(landing)
    if target.traits.resumes and (not alias.bucket.mounted or isinstance(target, ReadsUnfinished)):
        return None
    placement.open_home(alias.bucket)
    upload_id, most = uuid.uuid4(), settings.HARD_WATER
    key, whole, digests = placement.parked_key(alias.bucket, str(upload_id)), offer.whole, offer.digests
    fast = Storage.objects.filter(project=alias.project_id, tier__lte=_SLOWEST_TIER, state=StorageState.ACTIVE)
    for storage in fast.exclude(pk=landing.pk).select_related("credential").order_by("tier", "pk"):
        if adapter_for(storage).traits.resumes:
            with suppress(NoSpace, StorageClosed):
                return reservations.reserve(
                    alias, storage, key, upload_id, whole, offer.content_type, digests, up_to_percent=most
                )
    return None


def reception_of(upload: Upload, offer: Offer, limit: int, *, session: WriteSession | None = None) -> Reception:
    """The reception that fits the upload: one that is parked goes on to its storage at its end."""
    return (Parked if placement.is_parked(upload) else Reception)(upload, offer, limit, session=session)


class Parked(Reception):
    """A reception on a fast storage, at a key that nobody reads. What has come whole is stored as one body."""

    def _take(self, adapter: Adapter, body: Source, standing: Object | None) -> Receipt | Progress:  # noqa: ARG002
        self.session = self._open(adapter)
        return self._take_part(adapter, body)

    def _open(self, adapter: Adapter) -> WriteSession:
        release()
        return adapter.open_write(self.upload.key, size=self.upload.declared_size, mode=WriteMode.CREATE)

    def _complete(self, adapter: Adapter, *, late: bool = False) -> Receipt:
        """Store what has come whole. A storage that does not answer leaves it parked for a later attempt."""
        alias = copy.copy(self.upload.alias)
        alias.key = self.upload.target_key
        if self.session is not None:
            self.publishing = True
            self.session.publish()
        self.publishing = True
        try:
            if late and lateness.is_outdated(alias, self.upload):
                raise ContentDiffers(f"{alias.bucket}/{alias.key} was written meanwhile.")
            standing = catalog.current(alias.bucket, alias.key)
            with adapter.open_read(self.upload.key) as stream:
                receipt = begin(alias, self._whole(), _Kept(stream, self.lease), self.limit, standing)
        except DigestMismatch as exc:
            self._remove_published(adapter)
            raise PartsDiffer(str(exc)) from exc
        except StagingError as exc:
            if not exc.transient:
                self._remove_published(adapter)
            raise
        self._remove_published(adapter)
        assert isinstance(receipt, Receipt), "the whole makes an object"
        return receipt

    def _whole(self) -> Offer:
        promised: Mapping[str, str] = self.upload.promised
        return Offer(
            self.upload.declared_size,
            self.upload.content_type,
            {name: bytes.fromhex(digest) for name, digest in promised.items()},
        )


class _Kept:
    """A parked body on its way to its storage; its own lease is kept meanwhile."""

    def __init__(self, stream: ReadStream, lease: UploadLease) -> None:
        self._stream, self._lease = stream, lease

    def read(self, max_bytes: int) -> bytes:
        self._lease.keep()
        return self._stream.read(max_bytes)
