"""Receptions: one body on its way through its reservation, from the first byte to the catalog, or to a break."""

import uuid
from collections.abc import Callable
from io import BytesIO

import structlog
from django.db import DatabaseError

from adapters.base import Adapter, ObjectStat, ReadsUnfinished, WriteMode, WriteSession
from adapters.errors import AdapterError, AlreadyExists, NotFound, VersionChanged
from staging import catalog, lateness, placement, policies, reading, reservations, tiers
from staging.blocks import Content
from staging.connections import release
from staging.errors import (
    AliasUsedUp,
    BodyIncomplete,
    ContentDiffers,
    CopyDiffers,
    LeaseLost,
    NoSpace,
    ObjectUnavailable,
    PartsDiffer,
    TooLarge,
)
from staging.leases import UploadLease
from staging.models import Alias, Object, Replica, Storage, Upload
from staging.offers import Offer, Progress, Receipt, receipt_of, take
from staging.parts import read_once_more
from staging.proving import is_proven
from staging.pump import Hasher, Source, pump
from staging.states import OnExists
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

#: A body of unknown length reserves space in steps of this many bytes.
GROWTH_BYTES = 8 * 1024 * 1024

#: The receptions that run in this process, by upload.
_RUNNING: dict[uuid.UUID, "Reception"] = {}


class Reception:
    """One body on its way; use ``run`` for a body from its first byte, ``go_on`` for one that continues a session."""

    def __init__(self, upload: Upload, offer: Offer, limit: int, *, session: WriteSession | None = None) -> None:
        self.upload, self.offer, self.limit = upload, offer, limit
        self.session = session
        self.publishing = False
        self.is_let_go = self.is_dropped = False
        self.lost: Object | None = None
        self.sums = b""
        self.lease = UploadLease(upload)

    def run(self, body: Source, standing: Object | None) -> Receipt | Progress:
        """Take the body; on any error keep what can be resumed, and leave nothing else behind."""
        adapter = adapter_for(self.upload.storage)
        return self._watched(adapter, lambda: self._take(adapter, body, standing))

    def go_on(self, body: Source) -> Receipt | Progress:
        """Take the rest of the body, or another part of it, behind what the session holds."""
        adapter = adapter_for(self.upload.storage)
        return self._watched(adapter, lambda: self._take_part(adapter, body))

    def _watched(self, adapter: Adapter, work: Callable[[], Receipt | Progress]) -> Receipt | Progress:
        _RUNNING[self.upload.pk] = self
        try:
            return work()
        except LeaseLost:
            self._let_go()
            raise
        except BaseException as exc:
            if self._is_fenced_off():
                # Whatever failed here, it is the successor who tells what becomes of the upload.
                self._let_go()
                raise LeaseLost from exc
            if not self._suspends(adapter, exc):
                self.give_up()
            raise
        finally:
            _RUNNING.pop(self.upload.pk, None)

    def _take(self, adapter: Adapter, body: Source, standing: Object | None) -> Receipt | Progress:
        try:
            self.session = self._open(adapter)
            if not self.offer.is_last:
                return self._take_part(adapter, body)
            came = take(body, self.session.write, self.upload.alias, self.offer, on_progress=self._progress)
            if standing and (standing.size, standing.sha256) == (came.size, came.sha256):
                if self._is_in_place(adapter, standing):
                    self.give_up()
                    reservations.outdate(self.upload.alias.bucket, [self.upload.target_key], self.upload.created_at)
                    return receipt_of(standing, replayed=True)
                self.lost = standing
            self._note(came)
            self.publishing = True
            stat = self.session.publish()
        except AlreadyExists as exc:
            self.publishing = False
            stat = self._compare(adapter, body, exc)
            return self._register(adapter, stat, replayed=True)
        self._prove(adapter, stat)
        return self._register(adapter, stat, replayed=False)

    def _prove(self, adapter: Adapter, stat: ObjectStat) -> None:
        """What the bucket's policy wants to see of the first copy; nobody sees that yet."""
        verify = policies.of_bucket(self.upload.alias.bucket).verify
        if not is_proven(adapter, stat, self.upload.sha256, verify, lambda _: self.lease.keep()):
            self._remove_published(adapter)
            raise CopyDiffers(f"The storage {adapter.name} holds other bytes than were written.")

    def _take_part(self, adapter: Adapter, body: Source) -> Receipt | Progress:
        assert self.session is not None
        with Hasher(self.offer.part_digests) as hasher:
            pump(body, self.session.write, hasher, on_progress=self._progress)
            if hasher.finish() != self.offer.part_digests:
                raise PartsDiffer("The bytes of this part do not have the digest that came with it.")
        if not self.offer.is_last:
            self._suspend(adapter)
            return Progress(self.upload.offset, length=self.upload.declared_size)
        return self._complete(adapter)

    def finish(self) -> Receipt | Progress:
        """Make an object of a session that has all its bytes, or of bytes that were published and not registered.

        Their writer is gone, so that they replace nothing that was committed after it began.
        """
        adapter = adapter_for(self.upload.storage)
        return self._watched(adapter, lambda: self._complete(adapter, late=True))

    def _complete(self, adapter: Adapter, *, late: bool = False) -> Receipt:
        """Publish what came in several parts, and read it once more before anybody may see it.

        Managed keys are Waybill's own, so what is published there is not visible yet. The digest is that of the bytes
        which the storage holds; where it is not what was announced, the upload begins anew.
        """
        if placement.is_in_place(self.upload):
            return self._complete_in_place(adapter, late=late)
        if self.session is not None:
            self.publishing = True
            self.session.publish()
        with adapter.open_read(self.upload.key) as stream:
            self.publishing = True
            try:
                came = read_once_more(stream, self.upload, self.lease)
            except PartsDiffer:
                self._remove_published(adapter)
                raise
        self._note(came)
        return self._register(adapter, stream.stat, replayed=False, late=late)

    def _complete_in_place(self, adapter: Adapter, *, late: bool) -> Receipt:
        """The same at a mounted key, where everybody sees what is published: the parts are read before that."""
        assert self.session is not None
        assert isinstance(adapter, ReadsUnfinished), "may_be_resumed has seen to that"
        token = self.session.suspend()
        self.is_let_go = True
        if late and lateness.is_outdated(self.upload.alias, self.upload):
            adapter.abort_write(token)
            self._drop()
            raise ContentDiffers(f"{self.upload.key} was written meanwhile.")
        with adapter.read_unfinished(token) as stream:
            try:
                came = read_once_more(stream, self.upload, self.lease)
            except PartsDiffer:
                adapter.abort_write(token)
                self._drop()
                raise
        self.session, self.is_let_go = adapter.resume_write(token), False
        self._note(came)
        try:
            self.publishing = True
            stat = self.session.publish()
        except AlreadyExists as exc:
            self.publishing = False
            return self._register(adapter, self._compare(adapter, BytesIO(), exc), replayed=True, late=late)
        return self._register(adapter, stat, replayed=False, late=late)

    def give_up(self) -> None:
        """Leave nothing behind. Once publish has begun only the janitor can tell what is there, and it will."""
        try:
            if self.session is not None:
                self.session.abort()
        except AdapterError as exc:
            log.warning("upload.left_to_janitor", upload=str(self.upload.pk), storage=exc.storage, error=exc.code)
            if not self.publishing:
                reservations.disown(self.upload)
            return
        if not self.publishing:
            self._drop()

    def _suspends(self, adapter: Adapter, exc: BaseException) -> bool:
        """Whether what came was kept for a client that goes on."""
        passing = isinstance(exc, BodyIncomplete) or (isinstance(exc, AdapterError) and exc.transient)
        known = self.offer.resumable or self.upload.declared_size is not None
        if not passing or not known or self.publishing or self.session is None or not self.session.offset:
            return False
        if not may_be_resumed(self.upload, adapter):
            return False
        try:
            return self._suspend(adapter)
        except LeaseLost:
            self._let_go()
            return True
        except AdapterError as second:
            log.warning("upload.not_suspended", upload=str(self.upload.pk), error=second.code)
            if self.is_let_go:  # The session has nothing left that it could abort: the janitor finds the bytes.
                reservations.disown(self.upload)
            return self.is_let_go

    def _suspend(self, adapter: Adapter) -> bool:
        """Leave the bytes to whoever goes on. False where the storage kept none; storages may lose the last part."""
        assert self.session is not None
        token = self.session.suspend()
        self.is_let_go = True
        with adapter.resume_write(token) as again:
            if not again.offset and not self.offer.resumable:
                return False
            offset = again.offset
            token = again.suspend()
        reservations.suspend(self.upload, token, offset)
        log.info("upload.suspended", upload=str(self.upload.pk), offset=offset, declared=self.upload.declared_size)
        return True

    def _drop(self) -> None:
        self.is_dropped = True
        reservations.drop(self.upload)

    def _is_fenced_off(self) -> bool:
        """Whether somebody else has taken the upload over, as far as the database can tell now."""
        try:
            return not self.is_dropped and not reservations.owned(self.upload).exists()
        except DatabaseError:
            return False
        finally:
            release()

    def _let_go(self) -> None:
        """Somebody else has taken the upload over: the bytes are theirs."""
        is_wanted = Upload.objects.filter(pk=self.upload.pk).exists()
        release()
        try:
            if self.session is not None and not is_wanted:
                self.session.abort()
                self._remove_what_nobody_knows()
            elif self.session is not None and not self.is_let_go and not self.publishing:
                self.session.suspend()
        except AdapterError as exc:
            log.warning("upload.left_to_successor", upload=str(self.upload.pk), storage=exc.storage, error=exc.code)
            return
        reservations.hand_over(self.upload)

    def _remove_what_nobody_knows(self) -> None:
        """Bytes that were published after the janitor had found none at the key, and so adopted none."""
        here = Replica.objects.filter(storage=self.upload.storage_id, key=self.upload.key)
        if self.publishing and not placement.is_in_place(self.upload) and not here.exists():
            release()
            adapter_for(self.upload.storage).delete(self.upload.key)

    def _open(self, adapter: Adapter) -> WriteSession:
        mounted = self.upload.alias.bucket.mounted
        replaces = mounted and self.upload.alias.on_exists == OnExists.REPLACE
        mode = WriteMode.REPLACE if replaces else WriteMode.CREATE
        release()
        session = adapter.open_write(self.upload.key, size=self.upload.declared_size, mode=mode)
        if mounted:
            self.session = session
            reservations.note_token(self.upload, session.token)
            release()
        return session

    def _progress(self, moved: int) -> None:
        moved += self.offer.start
        if moved > self.limit:
            raise TooLarge(f"More than {self.limit} bytes came.")
        if self.upload.declared_size is None and moved > self.upload.reserved_bytes:
            self._grow(moved)
        self.lease.keep(self.session.offset if self.session else None)

    def _note(self, came: Content) -> None:
        """Write down what is about to be published. Its sums need not be: who adopts it after a crash reads it."""
        self.sums = came.sums
        reservations.note_content(self.upload, came.size, came.sha256)
        release()

    def _grow(self, moved: int) -> None:
        """Reserve a step ahead; on a storage that is nearly full, only what has come."""
        try:
            tiers.grow(self.upload, min(moved + GROWTH_BYTES, self.limit))
        except NoSpace:
            tiers.grow(self.upload, moved)
        release()

    def _is_in_place(self, adapter: Adapter, standing: Object) -> bool:
        """Whether what the catalog knows is still there: in a mounted bucket others write to the key too."""
        if not self.upload.alias.bucket.mounted:
            return reading.has_bytes(standing)
        try:
            stat = adapter.stat(self.upload.key)
        except NotFound:
            return False
        return placement.still_holds(standing.replicas.all(), stat, standing.size)

    def _compare(self, adapter: Adapter, body: Source, found: AlreadyExists) -> ObjectStat:
        """A file stands at a mounted key: the body must be equal to it, by reading it, whoever put it there."""
        try:
            return self._compared(adapter, body, found)
        except (NotFound, VersionChanged) as exc:
            raise ObjectUnavailable("Somebody else is writing it at this moment.") from exc

    def _compared(self, adapter: Adapter, body: Source, found: AlreadyExists) -> ObjectStat:
        refusal = ContentDiffers("A file with other content stands at this key of the storage.")
        if self.session is None:
            if self.offer.size not in (None, adapter.stat(self.upload.key).size):
                raise refusal from found
            self._note(take(body, _discard, self.upload.alias, self.offer, on_progress=self._progress))
        with adapter.open_read(self.upload.key) as stream, Hasher(["sha256"]) as hasher:
            if stream.stat.size != self.upload.size:
                raise refusal from found
            pump(stream, _discard, hasher, on_progress=lambda _: self.lease.keep())
            if hasher.finish()["sha256"].hex() != self.upload.sha256:
                raise refusal from found
        if self.session is not None:
            self.session.abort()
        return stream.stat

    def _register(self, adapter: Adapter, stat: ObjectStat, *, replayed: bool, late: bool = False) -> Receipt:
        try:
            registered = catalog.register(self.upload, stat.version, sums=self.sums, late=late, lost=self.lost)
        except (ContentDiffers, AliasUsedUp, TooLarge):
            self._remove_published(adapter)
            raise
        if registered.replayed:
            self._remove_published(adapter)
        return receipt_of(registered.object, replayed=replayed or registered.replayed)

    def _remove_published(self, adapter: Adapter) -> None:
        """Our bytes lost the race for the key. Managed keys are ours alone, so they can simply go.

        But not once somebody else has taken the upload over: then they may be the very object that stands there.
        """
        try:
            reservations.renew(self.upload)
        except LeaseLost:
            return
        finally:
            release()
        try:
            if not placement.is_in_place(self.upload):
                adapter.delete(self.upload.key)
        except AdapterError as exc:
            log.warning("upload.left_to_janitor", upload=str(self.upload.pk), storage=exc.storage, error=exc.code)
            return
        self._drop()


def begin(alias: Alias, offer: Offer, body: Source, limit: int, standing: Object | None) -> Receipt | Progress:
    """Store a body from its first byte where its bucket's policy has new bytes land."""
    upload_id = uuid.uuid4()
    key = placement.planned_key(alias.bucket, alias.key, str(upload_id))
    content_type = alias.content_type or offer.content_type or "application/octet-stream"

    def take_room(storage: Storage, percent: int) -> Upload:
        return reservations.reserve(
            alias, storage, key, upload_id, offer.whole, content_type, offer.digests, up_to_percent=percent
        )

    upload = tiers.reserve(alias.bucket, offer.whole, take_room)
    return Reception(upload, offer, limit).run(body, standing)


def running(upload: Upload) -> Reception | None:
    """The reception of the upload that runs in this process."""
    return _RUNNING.get(upload.pk)


def may_be_resumed(upload: Upload, adapter: Adapter) -> bool:
    """Whether a client may go on with the upload: its bytes can be read before anybody else sees them."""
    if not adapter.traits.resumes or upload.batch is not None:
        return False
    return not placement.is_in_place(upload) or isinstance(adapter, ReadsUnfinished)


def _discard(_: bytes) -> None:
    """A sink for bytes that are only hashed."""
