"""Receiving an archive: each of its files becomes an object, or none does.

Each file is an upload of its own, with a key of its own that nobody reads, until the archive has ended as it must.
Then one transaction makes all of them current. What a crash leaves belongs to the janitor, which adopts no upload that
is one of a batch and removes its bytes.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from django.conf import settings

from adapters.errors import AdapterError
from staging import catalog, placement, policies, reading, reservations, tiers, unpacking
from staging.archive_limits import Limits
from staging.batch import Arrival
from staging.blocks import BLOCK_SUMS
from staging.connections import release
from staging.errors import (
    ContentDiffers,
    CopyDiffers,
    DigestMismatch,
    InvalidRequest,
    LeaseLost,
    StagingError,
    TooLarge,
)
from staging.models import Alias, Object, Replica, Storage, Upload
from staging.offers import Offer
from staging.proving import is_proven
from staging.pump import Hasher, Source, pump
from staging.states import Durability, OnExists
from staging.storages import adapter_for
from staging.unpacking import Kind, UnpackedFile

log = structlog.get_logger(__name__)

#: Rows of so many uploads are asked for or changed at a time.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an archive: its files and their bytes, all of them current now.

    ``replayed``: each of them stood there before. ``durability`` is that of the least safe one.
    """

    count: int
    content_bytes: int
    replayed: bool
    durability: Durability


def unpack(alias: Alias, offer: Offer, body: Source, kind: Kind, limits: Limits) -> tuple[Received, str]:
    """Unpack a body below the alias's prefix; also returns the body's own SHA-256.

    The digests announced for the body are compared before anything becomes visible. Raises what ``receive`` does,
    and DigestMismatch.
    """
    folder = settings.DATA_DIR / "unpacking"
    folder.mkdir(exist_ok=True)
    with Hasher({"sha256", *offer.digests}) as hasher:
        source = _Hashed(body, hasher)

        def files() -> Iterator[UnpackedFile]:
            yield from unpacking.unpack(source, kind, limits, prefix=alias.key, folder=folder)
            found = source.digests = hasher.finish()
            for name, digest in offer.digests.items():
                if found[name] != digest:
                    raise DigestMismatch(f"The {name} of the archive is {found[name].hex()}, not {digest.hex()}.")

        received = receive(alias, alias.key, files())
    return received, source.digests["sha256"].hex()


def landing(alias: Alias) -> Storage:
    """The storage that takes the files. Raises InvalidRequest for a mounted bucket, and StorageClosed."""
    if alias.bucket.mounted:
        raise InvalidRequest("Archives are unpacked into managed buckets only.")
    return tiers.landing(alias.bucket, None)


class _Hashed:
    """A source whose bytes are hashed as they pass."""

    def __init__(self, inner: Source, hasher: Hasher) -> None:
        self._inner, self._hasher = inner, hasher
        self.digests: Mapping[str, bytes] = {}

    def read(self, max_bytes: int) -> bytes:
        chunk = self._inner.read(max_bytes)
        if chunk:
            self._hasher.update(chunk)
        return chunk


def receive(alias: Alias, prefix: str, files: Iterable[UnpackedFile]) -> Received:
    """Store every file below ``prefix`` of the alias's bucket, which is a managed one, all or none.

    ``files`` are judged already (``staging.unpacking``) and may raise to the very end. Raises what they do, the errors
    of ``staging.errors`` and those of the storage; then nothing of the archive is visible, what stood there before
    still does, and what a failing storage did not let us remove belongs to the janitor.
    """
    reception = _Reception(alias, prefix, landing(alias))
    try:
        for file in files:
            reception.take(file)
        return reception.register()
    except BaseException:
        reception.give_up()
        raise


class _Reception:
    """The files of one archive on their way; some hundred bytes of memory each."""

    def __init__(self, alias: Alias, prefix: str, storage: Storage) -> None:
        self._alias, self._prefix, self._storage = alias, prefix, storage
        policy = policies.of_bucket(alias.bucket)
        bounds = (settings.MAX_OBJECT_BYTES, policy.max_object_bytes or None, alias.max_bytes)
        self._verify = policy.verify
        self._limit = min(bound for bound in bounds if bound is not None)
        self._batch = uuid.uuid4()
        self._arrivals: list[Arrival] = []
        self._places: dict[uuid.UUID, str] = {}
        self._lease_s = settings.UPLOAD_LEASE_S / 3
        self._renew_at = time.monotonic() + self._lease_s
        self._is_undecided = False

    def take(self, file: UnpackedFile) -> None:
        """Write and publish one file at its private key."""
        key = f"{self._prefix}{file.path}"
        if file.size > self._limit:
            raise TooLarge(f"{file.path!r} has {file.size} bytes, {self._limit} are allowed.")
        standing = catalog.current(self._alias.bucket, key)
        if standing and self._alias.on_exists == OnExists.FAIL and standing.size != file.size:
            raise ContentDiffers(f"{file.path!r} stands there with other content.")
        upload_id = uuid.uuid4()
        place = placement.planned_key(self._alias.bucket, key, str(upload_id))

        def take_room(percent: int) -> None:
            reservations.reserve(
                self._alias,
                self._storage,
                place,
                upload_id,
                file.size,
                self._alias.content_type,
                target_key=key,
                batch=self._batch,
                up_to_percent=percent,
            )

        tiers.take_more(self._alias.bucket, self._storage, file.size, take_room)
        self._places[upload_id] = place
        release()
        adapter = adapter_for(self._storage)
        with adapter.open_write(place, size=file.size) as session, Hasher(["sha256", BLOCK_SUMS]) as hasher:
            pump(file.content, session.write, hasher, on_progress=lambda _: self._keep_leases())
            digests = hasher.finish()
            stat = session.publish()
        sha256, sums = digests["sha256"].hex(), digests[BLOCK_SUMS]
        if not is_proven(adapter, stat, sha256, self._verify, lambda _: self._keep_leases()):
            raise CopyDiffers(f"The storage {adapter.name} holds other bytes than were written.")
        self._arrivals.append(Arrival(upload_id, key, place, file.size, sha256, sums, stat.version))
        self._keep_leases()

    def register(self) -> Received:
        """Make all of them current at once, and remove those that stood there before."""
        lost = self._lost()
        self._renew()
        self._is_undecided = True
        try:
            replayed = catalog.register_all(self._alias, self._storage, self._arrivals, lost=lost)
        except StagingError:
            self._is_undecided = False  # It refused, so that nothing was committed.
            raise
        self._is_undecided = False
        durability = {placement.durability([Replica(storage=self._storage)])}
        for at in range(0, len(replayed), _BATCH):
            keys = [arrival.key for arrival in replayed[at : at + _BATCH]]
            for standing in self._standing(keys):
                durability.add(placement.durability(standing.replicas.all()))
        for arrival in replayed:
            self._remove(arrival.upload_id, arrival.place)
        return Received(
            count=len(self._arrivals),
            content_bytes=sum(arrival.size for arrival in self._arrivals),
            replayed=len(replayed) == len(self._arrivals),
            durability=min(durability, key=list(Durability).index),
        )

    def give_up(self) -> None:
        """Leave nothing behind. What may have been committed, only the janitor can tell: its rows are gone then."""
        if not self._is_undecided:
            for upload_id, place in self._places.items():
                self._remove(upload_id, place)

    def _remove(self, upload_id: uuid.UUID, place: str) -> None:
        upload = Upload.objects.filter(pk=upload_id).first()
        release()
        if upload is None:
            return
        try:
            adapter = adapter_for(self._storage)
            adapter.delete(place)
            for token in adapter.unfinished_writes(place):
                adapter.abort_write(token)
        except (AdapterError, StagingError) as exc:
            log.warning("upload.left_to_janitor", upload=str(upload_id), storage=self._storage.name, error=exc.code)
            return
        reservations.drop(upload)

    def _lost(self) -> set[uuid.UUID]:
        """Versions of equal content that have lost their bytes, and are replaced by ours."""
        lost = set()
        for at in range(0, len(self._arrivals), _BATCH):
            ours = {arrival.key: arrival for arrival in self._arrivals[at : at + _BATCH]}
            for standing in self._standing(list(ours)):
                arrival = ours[standing.key]
                is_equal = (standing.size, standing.sha256) == (arrival.size, arrival.sha256)
                if is_equal and not reading.has_bytes(standing):
                    lost.add(standing.pk)
                self._keep_leases()
        return lost

    def _standing(self, keys: list[str]) -> list[Object]:
        rows = Object.objects.filter(bucket=self._alias.bucket, current=True, key__in=keys)
        return list(rows.prefetch_related("replicas__storage__credential"))

    def _keep_leases(self) -> None:
        """To be called with every chunk: the first file's lease must last until the last one has come."""
        if time.monotonic() > self._renew_at:
            self._renew()
            release()

    def _renew(self) -> None:
        ids = list(self._places)
        for at in range(0, len(ids), _BATCH):
            batch = ids[at : at + _BATCH]
            ours = Upload.objects.filter(pk__in=batch, fence=reservations.FIRST_FENCE)
            if ours.update(lease_expires_at=reservations.lease_end()) != len(batch):
                raise LeaseLost
        self._renew_at = time.monotonic() + self._lease_s
