"""Cache room: which cached blocks make way, and how their bytes go."""

import structlog
from django.db.models import Exists, OuterRef, Sum
from django.utils import timezone

from adapters.errors import AdapterError
from staging import cached_blocks, chores, policies
from staging.connections import release
from staging.errors import StagingError
from staging.models import CachedBlock, Replica, Storage
from staging.models.replica import HOT_READS, IS_HOT
from staging.states import BlockState, CacheMode, ReplicaState, StorageState
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

SWEEP = "cache.sweep"

_AT_ONCE = 500


def size(storage: Storage) -> int:
    """How many bytes of the storage are cached blocks that can make way."""
    ready = CachedBlock.objects.filter(storage=storage, state=BlockState.READY)
    return int(ready.aggregate(bytes=Sum("size", default=0))["bytes"])


def evict(storage: Storage, count: float, *, only_cold: bool = False) -> int:
    """Remove blocks, the least read first, until so many bytes are free; returns how many were freed."""
    freed = 0
    ready = CachedBlock.objects.filter(storage=storage, state=BlockState.READY).select_related("storage__credential")
    if only_cold:
        ready = ready.filter(reads__lt=HOT_READS)
    for block in ready.order_by(IS_HOT, "read_at")[:_AT_ONCE] if count > 0 else ():
        if freed >= count:
            break
        if cached_blocks.let_go(block) and _remove(block):
            freed += block.size
    return freed


def sweep() -> None:
    """Give up fillers that are dead, let go of some of the blocks that nobody is to have, and remove what was let go.

    Passes go through all blocks, so that a policy that has changed, or a whole copy that has come, has its effect.
    """
    dead = CachedBlock.objects.filter(state=BlockState.FILLING, lease_expires_at__lt=timezone.now())
    for block in dead[:_AT_ONCE]:
        with chores.apart("cache_room.let_go", block.pk):
            cached_blocks.let_go(block)
    after, ready = chores.place(SWEEP), CachedBlock.objects.filter(state=BlockState.READY).order_by("pk")
    whole = Replica.objects.filter(object=OuterRef("object"), storage=OuterRef("storage"), state=ReplicaState.AVAILABLE)
    rows = ready.filter(pk__gt=int(after or 0)).annotate(is_spare=Exists(whole))
    page = list(rows.select_related("storage", "object__bucket")[:_AT_ONCE])
    for block in page:
        with chores.apart("cache_room.let_go", block.pk):
            if block.is_spare or not _is_wanted(block):
                cached_blocks.let_go(block)
    chores.note_place(SWEEP, str(page[-1].pk) if len(page) == _AT_ONCE else "")
    _remove_let_go()


def _is_wanted(block: CachedBlock) -> bool:
    target = block.object
    if target is None or not target.current or block.storage.state != StorageState.ACTIVE:
        return False
    policy = policies.of(target)
    return policy.cache != CacheMode.NONE and policy.lands_on == block.storage.name


def _remove_let_go() -> None:
    """Remove what readers have let go of; a storage that fails is left for the next sweep."""
    left = CachedBlock.objects.filter(state=BlockState.REMOVING).exclude(storage__state=StorageState.LOST)
    for storage_id in left.order_by().values_list("storage", flat=True).distinct():
        for block in left.filter(storage=storage_id).select_related("storage__credential")[:_AT_ONCE]:
            is_gone = True
            with chores.apart("cache_room.remove", block.pk):
                is_gone = _remove(block)
            if not is_gone:
                break


def _remove(block: CachedBlock) -> bool:
    """Remove the bytes, and then the row. False where the storage does not let us now."""
    try:
        adapter = adapter_for(block.storage)
        release()
        if block.lease_expires_at is not None:
            for token in adapter.unfinished_writes(block.key):
                adapter.abort_write(token)
        adapter.delete(block.key)
    except (AdapterError, StagingError) as exc:
        log.warning("block.not_removed", block=block.pk, storage=block.storage.name, error=exc.code)
        return False
    cached_blocks.forget(block)
    return True
