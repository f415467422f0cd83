"""Reading: what an alias's object is at this moment, and its bytes from the first replica that answers."""

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db import DatabaseError

from adapters.base import ObjectStat, ReadStream, SignsUrls
from adapters.errors import AdapterError, Damaged, NotFound, RangeInvalid, Truncated, VersionChanged
from staging import alias_uses, catalog, failures, health, nodes, placement, planning, replication, verified_reading
from staging.blocks import Proof
from staging.connections import release
from staging.errors import DataPending, ObjectUnavailable, SourceMissing, StorageUnusable
from staging.models import Alias, Object, Replica
from staging.states import AliasMode, ObjectState
from staging.storages import adapter_for
from staging.verified_reading import VerifiedRead

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Copy:
    """One place to read from; ``version`` pins a mounted source, managed keys never change."""

    replica: Replica
    version: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """One version, pinned: its size in bytes, its digest where it is known, and where to read it, best place first.

    ``etag`` is the digest, or the storage's word, which is weak where ``etag_is_strong`` is false. ``replaced_at`` is
    until when another version may have been here, if only one that is forgotten. ``object_id`` is None of what others
    may have written. ``damaged`` are copies with wrong blocks in them, whose other blocks may be read.
    """

    size: int
    sha256: str
    etag: str
    etag_is_strong: bool
    modified: datetime | None
    content_type: str
    copies: tuple[Copy, ...]
    replaced_at: datetime | None = None
    object_id: uuid.UUID | None = None
    damaged: tuple[Copy, ...] = ()

    @property
    def can_change(self) -> bool:
        """Whether others than Waybill may write where the bytes lie."""
        return self.object_id is None


def find(alias: Alias) -> Found:
    """What the alias stands for now; opens a storage only for mounted buckets.

    Raises DataPending while it may still come, SourceMissing and ProducerFailed where it will not, ObjectUnavailable
    where no replica can be read and ObjectLost where none ever will, StorageGone, and the errors of a mounted storage.
    """
    if alias.checkpoint_id is not None:
        return _find_kept(alias, alias.checkpoint_id)
    return _find_mounted(alias) if alias.bucket.mounted else _find_managed(alias)


def pinned(version: Object, copies: Sequence[Replica], damaged: Sequence[Replica] = ()) -> Found:
    """A version of a managed bucket, to be read from these copies of it; from damaged ones block by block."""
    return Found(
        size=version.size,
        sha256=version.sha256,
        etag=version.sha256,
        etag_is_strong=True,
        modified=version.created_at,
        content_type=version.content_type,
        copies=tuple(Copy(replica, None) for replica in copies),
        replaced_at=version.created_at - timedelta(seconds=0 if version.version > 1 else settings.TOMBSTONE_S),
        object_id=version.pk,
        damaged=tuple(Copy(replica, None) for replica in damaged),
    )


def has_bytes(standing: Object) -> bool:
    """Whether the version may still be read: false only where every storage says that its bytes are not there.

    A storage that cannot be asked now is not doubted.
    """
    copies, mounted = in_order(standing.replicas.all()), standing.bucket.mounted
    release()
    return any(_may_hold(replica, mounted) for replica in copies)


def open_stream(found: Found, start: int, stop: int) -> ReadStream:
    """The bytes ``[start, stop)`` of the pinned version. No database connection is held from here on.

    The first copy that answers serves; when it fails later, the next one goes on at the same byte. Where the version's
    blocks are known, none that is damaged is passed on. Raises the first copy's error when none answers.
    """
    proof = proof_of(found, start, stop)
    release()
    return open_proven(found, proof, start, stop)


def proof_of(found: Found, start: int, stop: int) -> Proof | None:
    """By what the bytes of the version are known; None of what others may have written, and where nothing was noted."""
    if found.object_id is None:
        return None
    return verified_reading.proof_of(found.object_id, size=found.size, sha256=found.sha256, start=start, stop=stop)


def open_proven(found: Found, proof: Proof | None, start: int, stop: int) -> ReadStream:
    """The same by a proof of these bytes, or of more, that the caller has; the catalog is asked nothing."""
    copies = found.copies + (found.damaged if proof else ())
    if not copies:
        raise ObjectUnavailable
    if len(copies) > 1:
        return _FailoverStream(found, copies, proof, start, stop)
    return _open(found, copies[0], proof, start, stop)


def signed_url(found: Found) -> str | None:
    """A URL of the pinned version at a storage that signs some and has the bytes now; None where there is none."""
    release()
    for copy in found.copies:
        adapter, key = adapter_for(copy.replica.storage), copy.replica.key
        if not isinstance(adapter, SignsUrls):
            continue
        try:
            stat = adapter.stat(key)
            if stat.size == found.size and copy.version in (None, stat.version):
                return adapter.sign_url(key, method="GET", lifetime_s=settings.REDIRECT_LIFETIME_S)
        except AdapterError as exc:
            log.warning("replica.failed", storage=exc.storage, error=exc.code, offset=0)
    return None


def _find_managed(alias: Alias) -> Found:
    replicas = catalog.current_replicas(alias.bucket, alias.key)
    current = replicas[0].object if replicas else catalog.current(alias.bucket, alias.key)
    if current is None:
        failures.check(alias.bucket, alias.key)
        if alias_uses.is_awaited(alias.bucket, alias.key):
            raise DataPending
        if catalog.was_deleted(alias.bucket, alias.key):
            raise SourceMissing("The object was deleted.")
        if AliasMode(alias.mode).is_prefix:
            raise SourceMissing("There is no such object below the prefix.")
        raise DataPending
    # It may have been published between the two questions.
    return _readable(current, replicas or list(current.replicas.all()))


def _find_kept(alias: Alias, checkpoint_id: int) -> Found:
    held = catalog.held(checkpoint_id, alias.bucket, alias.key)
    replicas = list(held.replicas.all())
    failures.check_held(held, replicas)
    return replace(_readable(held, replicas), replaced_at=None)  # Restores change none of its bytes.


def _readable(current: Object, replicas: Sequence[Replica]) -> Found:
    failures.check_lost(current, replicas)
    copies, damaged = in_order(replicas), placement.damaged(replicas)
    damaged = damaged if damaged and verified_reading.is_verifiable(current) else []
    if current.state not in (ObjectState.AVAILABLE, ObjectState.UNAVAILABLE) or not (copies or damaged):
        raise ObjectUnavailable(f"The object is {current.state} and has {len(copies)} readable replicas.")
    return pinned(current, copies, damaged)


def _find_mounted(alias: Alias) -> Found:
    bucket = alias.bucket
    known = catalog.current(bucket, alias.key)
    awaited = alias_uses.is_awaited(bucket, alias.key)
    place = Replica(storage=bucket.storage, key=bucket.prefix + alias.key)
    release()
    try:
        stat = adapter_for(bucket.storage).stat(place.key)
    except NotFound as exc:
        failures.check(bucket, alias.key)
        raise (DataPending if awaited else SourceMissing)() from exc
    ours = known if known and placement.still_holds(known.replicas.all(), stat, known.size) else None
    return Found(
        size=stat.size,
        sha256=ours.sha256 if ours else "",
        etag=ours.sha256 if ours and stat.version_is_strong else _opaque(stat),
        etag_is_strong=stat.version_is_strong,
        modified=stat.modified,
        content_type=ours.content_type if ours else "application/octet-stream",
        copies=(Copy(place, stat.version),),
        replaced_at=stat.modified,
    )


def in_order(replicas: Iterable[Replica]) -> list[Replica]:
    """Readable replicas, the best first; those on storages that this process leaves alone come last."""
    found = placement.reading_order(replicas, nodes.is_elsewhere)
    return sorted(found, key=lambda replica: health.refuses(replica.storage))


def _opaque(stat: ObjectStat) -> str:
    """A storage's version as an entity tag: no character of it needs quoting, and it tells nothing of the storage."""
    return hashlib.sha256(f"{stat.size}:{stat.version}".encode()).hexdigest()[:32]


def _may_hold(replica: Replica, mounted: bool) -> bool:
    try:
        stat = adapter_for(replica.storage).stat(replica.key)
    except NotFound:
        return False
    except AdapterError:
        return True
    return placement.still_holds([replica], stat, replica.size) if mounted else stat.size == replica.size


def _open(found: Found, copy: Copy, proof: Proof | None, start: int, stop: int) -> ReadStream:
    if proof is None:
        return _open_unverified(found, copy, start, stop)
    open_at = partial(_open_unverified, found, copy)
    return VerifiedRead(copy.replica, proof, open_at=open_at, size=found.size, start=start, stop=stop)


def _open_unverified(found: Found, copy: Copy, start: int, stop: int) -> ReadStream:
    storage = copy.replica.storage
    try:
        stream = adapter_for(storage).open_read(copy.replica.key, start, stop, version=copy.version)
    except (NotFound, RangeInvalid) as exc:
        if copy.version is not None:
            raise VersionChanged("it vanished", storage=storage.name, key=copy.replica.key) from exc
        log.error("replica.damaged", replica=copy.replica.pk, storage=storage.name, error=exc.code)
        _doubt(found, copy.replica)
        raise Truncated(
            "the catalog lists bytes that are not there", storage=storage.name, key=copy.replica.key
        ) from exc
    if stream.stat.size != found.size:
        stream.close()
        log.error("replica.damaged", replica=copy.replica.pk, storage=storage.name, size=stream.stat.size)
        _doubt(found, copy.replica)
        raise Truncated(f"{stream.stat.size} bytes instead of {found.size}", storage=storage.name, key=copy.replica.key)
    return stream


def _doubt(found: Found, replica: Replica) -> None:
    """Have a worker look whether the copy is really gone, and make another. Without the catalog, readers go on."""
    if found.object_id is None:
        return
    try:
        replication.verify(replica, reason="a reader missed its bytes", priority=planning.UNSAFE)
    except DatabaseError as exc:
        log.warning("replica.not_verified", replica=replica.pk, error=type(exc).__name__)
    finally:
        release()


class _FailoverStream(ReadStream):
    """Reads one version from several replicas: when one fails, the next goes on at the same byte.

    One that is damaged comes again behind the others, once they have passed the place.
    """

    def __init__(self, found: Found, copies: Sequence[Copy], proof: Proof | None, start: int, stop: int) -> None:
        self.start, self.stop, self._offset = start, stop, start
        self._found, self._proof, self._left = found, proof, list(copies)
        self._copy, self._damaged = copies[0], list[tuple[int, Copy]]()
        self._stream = self._next(None)
        self.stat = self._stream.stat

    def read(self, max_bytes: int = 1024 * 1024) -> bytes:
        while True:
            try:
                chunk = self._stream.read(max_bytes)
            except AdapterError as exc:
                log.warning("replica.failed", storage=exc.storage, error=exc.code, offset=self._offset)
                self._stream.close()
                if isinstance(exc, Damaged):
                    self._damaged.append((self._offset, self._copy))
                self._stream = self._next(exc)
            else:
                self._offset += len(chunk)
                return chunk

    def close(self) -> None:
        self._stream.close()

    def _next(self, first: AdapterError | StorageUnusable | None) -> ReadStream:
        self._left += [copy for offset, copy in self._damaged if offset < self._offset]
        self._damaged = [(offset, copy) for offset, copy in self._damaged if offset >= self._offset]
        while self._left:
            self._copy = self._left.pop(0)
            try:
                return _open(self._found, self._copy, self._proof, self._offset, self.stop)
            except (AdapterError, StorageUnusable) as exc:
                name = self._copy.replica.storage.name
                log.warning("replica.failed", storage=name, error=exc.code, offset=self._offset)
                first = first or exc
        raise first or AssertionError("a stream without copies")
