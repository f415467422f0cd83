"""Placement: a bucket's policy, where new bytes go, and in which order replicas are read. Pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from adapters.base import ObjectStat
from staging.errors import InvalidRequest, StorageClosed
from staging.models import Bucket, Replica, Storage, Upload
from staging.states import Durability, ReplicaState, StorageState

#: Where Waybill keeps the bytes of managed buckets, below a storage's root.
MANAGED_FOLDER = ".waybill"


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of a bucket. ``max_object_bytes`` 0 means the gateway's own limit."""

    max_object_bytes: int = 0

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> "Policy":
        """Raises InvalidRequest naming every field that is unknown or wrong."""
        known = {field.name for field in fields(cls)}
        wrong = {name: "unknown setting" for name in raw if name not in known}
        value = raw.get("max_object_bytes", 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            wrong["max_object_bytes"] = "a whole number of bytes, 0 for no limit of its own"
        if wrong:
            raise InvalidRequest("The policy is not valid.", fields=wrong)
        return cls(max_object_bytes=int(str(value)))


def planned_key(bucket: Bucket, key: str, object_id: str) -> str:
    """Where the bytes of a new version lie on the bucket's storage."""
    if bucket.mounted:
        return f"{bucket.prefix}{key}"
    name = object_id.replace("-", "")
    return f"{MANAGED_FOLDER}/{bucket.pk}/{name[:2]}/{name}"


def parked_key(bucket: Bucket, object_id: str) -> str:
    """Where the bytes of an upload wait that is parked on another storage than the bucket's."""
    return f"{MANAGED_FOLDER}/parked/{bucket.pk}/{object_id.replace('-', '')}"


def is_reserved(bucket: Bucket, key: str) -> bool:
    """Whether a key of a mounted bucket lies where the bytes of managed buckets are kept, on any storage."""
    return bucket.mounted and MANAGED_FOLDER in f"{bucket.prefix}{key}".split("/")


def is_in_place(upload: Upload) -> bool:
    """Whether the upload is written where everybody sees it: to a mounted bucket, and not parked elsewhere."""
    bucket = upload.alias.bucket
    return bool(bucket.mounted and upload.storage_id == bucket.storage_id)


def landing(bucket: Bucket) -> Storage:
    """The storage that takes new bytes of the bucket. Raises StorageClosed where it takes none."""
    storage = bucket.storage
    if storage.state != StorageState.ACTIVE:
        raise StorageClosed(f"The storage {storage.name} is {storage.state} and takes no new data.", retry_after_s=60)
    return storage


def reading_order(replicas: Iterable[Replica]) -> list[Replica]:
    """Readable replicas, the best first: healthy before suspect storages, fast tiers before slow ones."""
    readable = [r for r in replicas if r.state == ReplicaState.AVAILABLE and r.storage.state != StorageState.LOST]
    return sorted(readable, key=lambda r: (r.storage.state == StorageState.SUSPECT, r.storage.tier, r.pk))


def damaged(replicas: Iterable[Replica]) -> list[Replica]:
    """Replicas of which some bytes are wrong; the others are as good as ever where each block can be told."""
    return [r for r in replicas if r.state == ReplicaState.BAD and r.storage.state != StorageState.LOST]


def still_holds(replicas: Iterable[Replica], stat: ObjectStat, size: int) -> bool:
    """Whether a mounted storage still holds what Waybill published there, as far as its versions can tell."""
    return stat.size == size and any(replica.storage_version == stat.version for replica in replicas)


def durability(replicas: Iterable[Replica]) -> Durability:
    """The truth at this moment about how safe an object with these replicas is."""
    tiers = [_tier_of_safety(r.storage) for r in replicas if r.state == ReplicaState.AVAILABLE]
    if 2 in tiers:
        return Durability.PERSISTED
    if len(tiers) > 1:
        return Durability.REPLICATED
    return Durability.LOCAL if 1 in tiers else Durability.EPHEMERAL


def _tier_of_safety(storage: Storage) -> int:
    """What is not written to the disk at once may be gone with the machine's power, wherever the storage stands."""
    return 0 if storage.options.get("sync") is False else storage.tier
