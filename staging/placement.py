"""Placement: where bytes lie and are to lie, which copies count, and in which order they are read. Pure functions."""

from collections.abc import Callable, Iterable, Sequence

from adapters.base import ObjectStat
from staging.errors import ObjectLost, StorageClosed, StorageGone
from staging.models import Bucket, Replica, Storage, Upload
from staging.policies import Policy
from staging.states import Durability, ObjectState, ReplicaState, StorageState, WritePolicy

#: Where Waybill keeps the bytes of managed buckets, below a storage's root.
MANAGED_FOLDER = ".waybill"
_LEFT = (StorageState.DRAINING, StorageState.DRAINED)
_PARKED = f"{MANAGED_FOLDER}/parked/"


def planned_key(bucket: Bucket, key: str, object_id: str) -> str:
    """Where the bytes of a new version lie on the storage that takes them."""
    return f"{bucket.prefix}{key}" if bucket.mounted else _managed_key(bucket, object_id)


def copy_key(bucket: Bucket, object_id: str, transfer_id: str, attempt: int) -> str:
    """Where a transfer's attempt to copy a version puts its bytes. No other attempt ever writes there, on any storage.

    Two storages may be one place, and what a late worker removes or leaves behind must be its own.
    """
    return f"{_managed_key(bucket, object_id)}.{transfer_id.replace('-', '')}.{attempt}"


def block_key(bucket: Bucket, object_id: str, attempt_id: str, start: int) -> str:
    """Where an attempt to cache the bytes of a version from ``start`` on puts them; a name that nobody else uses."""
    return f"{_managed_key(bucket, object_id)}.{attempt_id.replace('-', '')}.{start}"


def parked_key(bucket: Bucket, object_id: str) -> str:
    """Where the bytes of an upload wait that is parked on another storage than the bucket's."""
    return f"{_PARKED}{bucket.pk}/{object_id.replace('-', '')}"


def is_reserved(bucket: Bucket, key: str) -> bool:
    """Whether a key of a mounted bucket lies where the bytes of managed buckets are kept, on any storage."""
    return bucket.mounted and MANAGED_FOLDER in f"{bucket.prefix}{key}".split("/")


def is_in_place(upload: Upload) -> bool:
    """Whether the upload is written where everybody sees it: to a mounted bucket, and not parked elsewhere."""
    return bool(upload.alias.bucket.mounted) and not is_parked(upload)


def is_parked(upload: Upload) -> bool:
    """Whether the upload waits on another storage than it is for."""
    return bool(upload.key.startswith(_PARKED))


def home(bucket: Bucket) -> Storage:
    """Where the bucket's bytes persist: its storage, or the one that a drain of it moves them to."""
    return moved(bucket.storage)


def open_home(bucket: Bucket) -> Storage:
    """The home, if it takes new data. Raises StorageClosed, and StorageGone for what mirrors one that was given up."""
    storage = bucket.storage if bucket.mounted else home(bucket)
    if bucket.mounted:
        refuse_gone(storage)
    if storage.state != StorageState.ACTIVE:
        raise StorageClosed(f"The storage {storage.name} is {storage.state} and takes no new data.", retry_after_s=60)
    return storage


def refuse_gone(storage: Storage) -> None:
    """Raises StorageGone where somebody has given the storage up."""
    if storage.is_given_up:
        raise StorageGone(f"The storage {storage} is gone for good.")


def reading_order(replicas: Iterable[Replica], is_far: Callable[[Storage], bool] = lambda _: False) -> list[Replica]:
    """Readable replicas, the best first: not on suspect storages, of a fast tier, and not of another node."""
    return sorted(
        filter(is_readable, replicas),
        key=lambda r: (r.storage.state == StorageState.SUSPECT, r.storage.tier, is_far(r.storage), r.pk),
    )


def is_readable(replica: Replica) -> bool:
    """Whether the copy may be read, as far as the catalog knows."""
    return replica.state == ReplicaState.AVAILABLE and replica.storage.state != StorageState.LOST


def places(policy: Policy, bucket: Bucket, named: Iterable[Storage]) -> list[Storage]:
    """Where copies are to persist, the bucket's own storage first; ``named`` are those that the policy names.

    A storage that is drained or given up stands for the one that its copies move to.
    """
    by_name = {storage.name: storage for storage in named}
    wanted = [bucket.storage, *(by_name[name] for name in policy.replicate_to if name in by_name)]
    return list(dict.fromkeys(map(moved, wanted)))


def counted(
    policy: Policy, bucket: Bucket, replicas: Iterable[Replica], named: Iterable[Storage] = ()
) -> list[Replica]:
    """The good copies that the policy counts: on storages that stay, where bytes persist, each on a site or node of its
    own where it asks for that. Ephemeral ones persist nowhere, so that each counts. ``named`` as in ``places``.
    """
    names = {bucket.storage.name, *policy.replicate_to}
    staying = [r for r in replicas if is_readable(r) and r.storage.state != StorageState.DRAINING]
    if policy.write == WritePolicy.EPHEMERAL:
        return staying
    standing_in = {storage.pk for storage in places(policy, bucket, named)}
    here = [r for r in staying if r.storage.name in names or r.storage_id in standing_in]
    return list({policy.stand(replica.storage): replica for replica in reversed(here)}.values())


def satisfies(policy: Policy, bucket: Bucket, replicas: Sequence[Replica], named: Iterable[Storage] = ()) -> bool:
    """Whether these copies alone would be all that the policy asks for. ``named`` as in ``places``."""
    return len(counted(policy, bucket, replicas, named)) >= policy.copies_needed


def damaged(replicas: Iterable[Replica]) -> list[Replica]:
    """Replicas of which some bytes are wrong; the others are as good as ever where each block can be told."""
    return [r for r in replicas if r.state == ReplicaState.BAD and r.storage.state != StorageState.LOST]


def is_lost(state: str, replicas: Iterable[Replica]) -> bool:
    """Whether a version's bytes are gone for good: no copy is there, out of reach, to be repaired or on its way."""
    return state == ObjectState.LOST and all(r.state == ReplicaState.DELETING for r in replicas)


def refuse_lost(state: str, replicas: Iterable[Replica]) -> None:
    """Raises ObjectLost where it is so."""
    if is_lost(state, replicas):
        raise ObjectLost


def still_holds(replicas: Iterable[Replica], stat: ObjectStat, size: int) -> bool:
    """Whether a mounted storage still holds what Waybill published there, as far as its versions can tell."""
    return stat.size == size and any(replica.storage_version == stat.version for replica in replicas)


def durability(replicas: Iterable[Replica]) -> Durability:
    """The truth at this moment about how safe an object with these replicas is."""
    tiers = [_tier_of_safety(r.storage) for r in replicas if is_readable(r)]
    if 2 in tiers:
        return Durability.PERSISTED
    if len(tiers) > 1:
        return Durability.REPLICATED
    return Durability.LOCAL if 1 in tiers else Durability.EPHEMERAL


def persists(storage: Storage) -> bool:
    """Whether bytes there count as persisted."""
    return storage.state != StorageState.LOST and _tier_of_safety(storage) == 2


def _tier_of_safety(storage: Storage) -> int:
    """What is not written to the disk at once may be gone with the machine's power, wherever the storage stands."""
    return 0 if storage.options.get("sync") is False else storage.tier


def _managed_key(bucket: Bucket, object_id: str) -> str:
    name = object_id.replace("-", "")
    return f"{MANAGED_FOLDER}/{bucket.pk}/{name[:2]}/{name}"


def moved(storage: Storage) -> Storage:
    """The storage, or where the drains of it and of those behind it lead."""
    seen = {storage.pk}
    while storage.drain_to and (storage.state in _LEFT or storage.is_given_up):
        storage = storage.drain_to
        if storage.pk in seen:
            break
        seen.add(storage.pk)
    return storage
