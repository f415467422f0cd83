"""Cached blocks: the rows and the space of the parts of objects that lie on fast storages for their readers.

A row is one attempt at one key, so that whoever was given up and comes late can harm nobody: what it has written
stands in no other row. Space is reserved while a block is filled, and used until its bytes are gone.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone

from staging import placement, reservations
from staging.errors import NoSpace
from staging.models import CachedBlock, Object, Storage
from staging.states import BlockState

#: The size in bytes of every block but an object's last; a multiple of that of the blocks whose sums are known.
BLOCK_BYTES = 32 * 1024 * 1024
#: After so long without progress a filler is given up.
LEASE_S = 15.0

#: Readers of a block are noted no more often than this.
_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Which bytes of a version, and the fast storage on which they are to be."""

    object: Object
    storage: Storage
    start: int

    @property
    def size(self) -> int:
        """In bytes."""
        return min(BLOCK_BYTES, self.object.size - self.start)


def find(place: Place) -> CachedBlock | None:
    """The block, ready or being filled by somebody whose lease still runs; None where there is none."""
    found = CachedBlock.objects.filter(object=place.object, storage=place.storage, start=place.start)
    block = found.filter(Q(state=BlockState.READY) | Q(state=BlockState.FILLING, lease_expires_at__gte=timezone.now()))
    first = block.first()
    if first is None:
        return None
    if first.size != place.size:  # From a version of Waybill with blocks of another size.
        let_go(first)
        return None
    first.storage = place.storage
    return first


def claim(place: Place) -> CachedBlock | None:
    """The right to fill the block, its space reserved up to the hard mark; None where another has it or has filled it.

    Raises NoSpace, also for a version that is not current any more.
    """
    overdue = CachedBlock.objects.filter(object=place.object, storage=place.storage, start=place.start)
    for given_up in overdue.filter(state=BlockState.FILLING, lease_expires_at__lt=timezone.now()):
        let_go(given_up)
    if not Object.objects.filter(pk=place.object.pk, current=True).exists():
        raise NoSpace("No room is given to a version that was replaced or deleted.")
    try:
        with transaction.atomic():
            key = placement.block_key(place.object.bucket, str(place.object.pk), uuid.uuid4().hex, place.start)
            made = CachedBlock.objects.create(
                object=place.object,
                storage=place.storage,
                start=place.start,
                size=place.size,
                key=key,
                lease_expires_at=_lease_end(),
            )
            reservations.take_space(place.storage, place.size, up_to_percent=settings.HARD_WATER)
    except IntegrityError:
        return None
    return made


def renew(block: CachedBlock) -> bool:
    """Prolong the lease of a filler that gets on. False where it was given up."""
    return CachedBlock.objects.filter(pk=block.pk, state=BlockState.FILLING).update(lease_expires_at=_lease_end()) == 1


def publish(block: CachedBlock) -> bool:
    """The bytes have come, and readers may have them. False where nobody wants them any more."""
    with transaction.atomic():
        done = CachedBlock.objects.filter(pk=block.pk, state=BlockState.FILLING).update(
            state=BlockState.READY, lease_expires_at=None, read_at=timezone.now()
        )
        if done:
            _count_as_used(block)
    return bool(done)


def let_go(block: CachedBlock) -> bool:
    """Nobody reads or fills the block from now on; a sweep removes its bytes. False where that was so already."""
    return _let_go(CachedBlock.objects.filter(pk=block.pk)) == 1


def let_go_of(targets: Iterable[Object]) -> None:
    """The versions are going, and their blocks with them."""
    _let_go(CachedBlock.objects.filter(object__in=targets))


def leave(storage: Storage) -> None:
    """The storage is being emptied."""
    _let_go(storage.cached_blocks.all())


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a version is cached on one storage."""

    storage: str
    tier: int
    blocks: int
    of: int

    def __str__(self) -> str:
        have = f"{self.blocks} of {self.of} blocks are cached for readers"
        return f"{self.storage} (tier {self.tier}): {have}; they go first when the storage fills up."


def shares(target: Object) -> list[Share]:
    """Where blocks of the version are ready, by the storage's name."""
    ready = target.cached_blocks.filter(state=BlockState.READY).order_by("storage__name")
    found = ready.values_list("storage__name", "storage__tier").annotate(blocks=Count("pk"))
    return [Share(name, tier, blocks, -(-target.size // BLOCK_BYTES)) for name, tier, blocks in found]


def note_read(block: CachedBlock) -> None:
    """Remember about when the block was read, and that it was read more than once."""
    now = timezone.now()
    if now - block.read_at > _NOTED_EVERY:
        CachedBlock.objects.filter(pk=block.pk).update(read_at=now, reads=F("reads") + 1)


def forget(block: CachedBlock) -> None:
    """Remove the row of a block whose bytes are gone, and give its space back."""
    with transaction.atomic():
        deleted, _ = CachedBlock.objects.filter(pk=block.pk).delete()
        if deleted:
            Storage.objects.filter(pk=block.storage_id).update(used_bytes=F("used_bytes") - block.size)


def _let_go(blocks: QuerySet[CachedBlock]) -> int:
    """Those that are filled first: one that becomes ready meanwhile is found among the others."""
    done = 0
    for block in blocks.filter(state=BlockState.FILLING):
        with transaction.atomic():
            mine = CachedBlock.objects.filter(pk=block.pk, state=BlockState.FILLING)
            if mine.update(state=BlockState.REMOVING):
                _count_as_used(block)
                done += 1
    return done + blocks.filter(state=BlockState.READY).update(state=BlockState.REMOVING)


def _lease_end() -> datetime:
    return timezone.now() + timedelta(seconds=LEASE_S)


def _count_as_used(block: CachedBlock) -> None:
    Storage.objects.filter(pk=block.storage_id).update(
        reserved_bytes=F("reserved_bytes") - block.size, used_bytes=F("used_bytes") + block.size
    )
