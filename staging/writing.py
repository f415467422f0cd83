"""Writing: one body becomes one object, or nothing. Row first, bytes second, row last."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from django.conf import settings

from adapters.base import Adapter, ObjectStat, WriteMode, WriteSession
from adapters.errors import AdapterError, AlreadyExists, NotFound
from staging import aliases, catalog, placement, reading
from staging.connections import release
from staging.errors import (
    AliasUsedUp,
    ContentDiffers,
    DigestMismatch,
    NoSpace,
    SizeMismatch,
    StreamEmpty,
    StreamInterrupted,
    TooLarge,
)
from staging.leases import UploadLease
from staging.models import Alias, BrokenStream, Object, Upload
from staging.placement import Policy
from staging.pump import Hasher, Source, pump
from staging.states import Durability, OnExists
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

#: A body of unknown length reserves space in steps of this many bytes.
GROWTH_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Offer:
    """What is known of a body before its first byte. ``size`` None: not declared. ``digests``: by hashlib's names."""

    size: int | None
    content_type: str = ""
    digests: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What stands at the alias's key now. ``replayed``: it stood there before, and the body was equal to it."""

    object: Object
    durability: Durability
    replayed: bool


def receive(alias: Alias, offer: Offer, body: Source) -> Receipt:
    """Store the body behind the alias, all or nothing; the receipt is the promise that the catalog knows it.

    Raises the errors of ``staging.errors``, those of the storage, and whatever ``body`` raises. Then nothing of this
    body is visible, what stood at the key before still does, and what a failing storage did not let us clean up
    belongs to the janitor.
    """
    limit = check(alias, offer)
    if _may_be_a_tail(alias, offer):
        release()
        raise StreamInterrupted if alias.allow_empty_stream or body.read(1) else StreamEmpty
    standing = catalog.current(alias.bucket, alias.key)
    if aliases.is_used_up(alias):
        if standing is None or not reading.has_bytes(standing):
            raise AliasUsedUp
        return _replay(standing, alias, offer, body, limit, AliasUsedUp)
    if standing and not alias.bucket.mounted and alias.on_exists == OnExists.FAIL and reading.has_bytes(standing):
        return _replay(standing, alias, offer, body, limit, ContentDiffers)
    storage = placement.landing(alias.bucket)
    upload_id = uuid.uuid4()
    key = placement.planned_key(alias.bucket, alias.key, str(upload_id))
    content_type = alias.content_type or offer.content_type or "application/octet-stream"
    upload = catalog.reserve(alias, storage, key, upload_id, offer.size, content_type)
    reception = _Reception(upload, offer, limit)
    try:
        return reception.run(body, standing)
    except BaseException:
        reception.give_up()
        raise


def check(alias: Alias, offer: Offer) -> int:
    """Refuse what can be refused before the first byte; returns the most bytes the body may have."""
    policy = Policy.parse(alias.bucket.policy)
    bounds = (settings.MAX_OBJECT_BYTES, policy.max_object_bytes or None, alias.max_bytes)
    limit = min(bound for bound in bounds if bound is not None)
    if offer.size is not None and offer.size > limit:
        raise TooLarge(f"{offer.size} bytes are announced, {limit} are allowed.")
    if offer.size is not None and alias.size is not None and offer.size != alias.size:
        raise SizeMismatch(f"{offer.size} bytes are announced, the alias is for exactly {alias.size}.")
    if alias.sha256 and offer.digests.get("sha256", bytes.fromhex(alias.sha256)).hex() != alias.sha256:
        raise DigestMismatch("The digest announced is not the one that the alias was made for.")
    return limit


def _may_be_a_tail(alias: Alias, offer: Offer) -> bool:
    """curl goes on in the middle of its standard input when it retries: what looks like a body may be a tail."""
    if offer.size is not None or offer.digests or alias.sha256:
        return False
    streams = alias.uploads.filter(target_key=alias.key, declared_size=None)
    return alias.broken_streams.filter(key=alias.key).exists() or streams.exists()


def note_stream_cut(alias: Alias, key: str) -> None:
    """Remember that a body of unknown length did not make it; see ``StreamInterrupted``."""
    BrokenStream.objects.get_or_create(alias=alias, key=key)


def offset(alias: Alias) -> tuple[int, bool]:
    """How many bytes of the alias's object are safe, and whether it is complete."""
    standing = catalog.current(alias.bucket, alias.key)
    return (standing.size, True) if standing else (0, False)


class _Reception:
    """One body on its way through its reservation."""

    def __init__(self, upload: Upload, offer: Offer, limit: int) -> None:
        self.upload, self.offer, self.limit = upload, offer, limit
        self.session: WriteSession | None = None
        self.publishing = False
        self.lost: Object | None = None
        self.lease = UploadLease(upload)

    def run(self, body: Source, standing: Object | None) -> Receipt:
        adapter = adapter_for(self.upload.storage)
        try:
            self.session = self._open(adapter)
            size, sha256 = take(body, self.session.write, self.upload.alias, self.offer, on_progress=self._progress)
            if standing and (standing.size, standing.sha256) == (size, sha256):
                if self._is_in_place(adapter, standing):
                    self.give_up()
                    return _receipt(standing, replayed=True)
                self.lost = standing
            catalog.note_content(self.upload, size, sha256)
            release()
            self.publishing = True
            stat = self.session.publish()
        except AlreadyExists as exc:
            self.publishing = False
            stat = self._compare(adapter, body, exc)
            return self._register(adapter, stat, replayed=True)
        return self._register(adapter, stat, replayed=False)

    def give_up(self) -> None:
        """Leave nothing behind. Once publish has begun only the janitor can tell what is there, and it will."""
        try:
            if self.session is not None:
                self.session.abort()
        except AdapterError as exc:
            log.warning("upload.left_to_janitor", upload=str(self.upload.pk), storage=exc.storage, error=exc.code)
            return
        if not self.publishing:
            catalog.drop(self.upload)

    def _open(self, adapter: Adapter) -> WriteSession:
        mounted = self.upload.alias.bucket.mounted
        replaces = mounted and self.upload.alias.on_exists == OnExists.REPLACE
        mode = WriteMode.REPLACE if replaces else WriteMode.CREATE
        release()
        session = adapter.open_write(self.upload.key, size=self.offer.size, mode=mode)
        if mounted:
            self.session = session
            catalog.note_token(self.upload, session.token)
            release()
        return session

    def _progress(self, moved: int) -> None:
        if moved > self.limit:
            raise TooLarge(f"More than {self.limit} bytes came.")
        if self.offer.size is None and moved > self.upload.reserved_bytes:
            self._grow(moved)
        self.lease.keep()

    def _grow(self, moved: int) -> None:
        """Reserve a step ahead; on a storage that is nearly full, only what has come."""
        try:
            catalog.grow_reservation(self.upload, min(moved + GROWTH_BYTES, self.limit))
        except NoSpace:
            catalog.grow_reservation(self.upload, moved)
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
        refusal = ContentDiffers("A file with other content stands at this key of the storage.")
        if self.session is None:
            if self.offer.size not in (None, adapter.stat(self.upload.key).size):
                raise refusal from found
            size, sha256 = take(body, _discard, self.upload.alias, self.offer, on_progress=self._progress)
            catalog.note_content(self.upload, size, sha256)
            release()
        with adapter.open_read(self.upload.key) as stream, Hasher(["sha256"]) as hasher:
            if stream.stat.size != self.upload.size:
                raise refusal from found
            pump(stream, _discard, hasher, on_progress=lambda _: self.lease.keep())
            if hasher.finish()["sha256"].hex() != self.upload.sha256:
                raise refusal from found
        if self.session is not None:
            self.session.abort()
        return stream.stat

    def _register(self, adapter: Adapter, stat: ObjectStat, *, replayed: bool) -> Receipt:
        try:
            registered = catalog.register(self.upload, stat.version, lost=self.lost)
        except ContentDiffers:
            self._remove_published(adapter)
            raise
        if registered.replayed:
            self._remove_published(adapter)
        return _receipt(registered.object, replayed=replayed or registered.replayed)

    def _remove_published(self, adapter: Adapter) -> None:
        """Our bytes lost the race for the key. Managed keys are ours alone, so they can simply go."""
        release()
        try:
            if not self.upload.alias.bucket.mounted:
                adapter.delete(self.upload.key)
        except AdapterError as exc:
            log.warning("upload.left_to_janitor", upload=str(self.upload.pk), storage=exc.storage, error=exc.code)
            return
        catalog.drop(self.upload)


def take(
    body: Source, write: Callable[[bytes], None], alias: Alias, offer: Offer, *, on_progress: Callable[[int], None]
) -> tuple[int, str]:
    """Move the whole body and return its size and SHA-256, checked against all that was promised of it."""
    with Hasher({"sha256", *offer.digests}) as hasher:
        size = pump(body, write, hasher, on_progress=on_progress)
        digests = hasher.finish()
    if offer.size is None and size == 0 and not alias.allow_empty_stream:
        raise StreamEmpty
    if alias.size is not None and size != alias.size:
        raise SizeMismatch(f"{size} bytes came, the alias is for exactly {alias.size}.")
    for name, promised in offer.digests.items():
        if digests[name] != promised:
            raise DigestMismatch(
                f"The {name} of the {size} bytes received is {digests[name].hex()}, not {promised.hex()}."
            )
    sha256 = digests["sha256"].hex()
    if alias.sha256 and sha256 != alias.sha256:
        raise DigestMismatch(f"The SHA-256 of the {size} bytes received is {sha256}, the alias is for {alias.sha256}.")
    return size, sha256


def _replay(
    standing: Object,
    alias: Alias,
    offer: Offer,
    body: Source,
    limit: int,
    refusal: type[ContentDiffers] | type[AliasUsedUp],
) -> Receipt:
    """The key is taken: the body is only compared with what stands there."""

    def within(moved: int) -> None:
        if moved > min(limit, standing.size):
            raise refusal

    if offer.size not in (None, standing.size):
        raise refusal
    if offer.digests.get("sha256", bytes.fromhex(standing.sha256)).hex() != standing.sha256:
        raise refusal
    release()
    _, sha256 = take(body, _discard, alias, offer, on_progress=within)
    if sha256 != standing.sha256:
        raise refusal
    return _receipt(standing, replayed=True)


def _receipt(made: Object, *, replayed: bool) -> Receipt:
    replicas = made.replicas.select_related("storage")
    return Receipt(made, placement.durability(replicas), replayed)


def _discard(_: bytes) -> None:
    """A sink for bytes that are only hashed."""
