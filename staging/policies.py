"""Policies: what a bucket, or one object of it, asks for its bytes, and whether the storages that exist can give it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from adapters import registry
from staging.errors import InvalidRequest
from staging.models import Bucket, Object, Storage
from staging.states import CacheMode, Spread, StorageState, VerifyMode, WritePolicy

#: A tier up to this one may take new bytes for another storage, or keep a copy for readers.
SLOWEST_FAST_TIER = 1
_MOST_REPLICAS = 16
_MOST_SECONDS = 100 * 366 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for an object's bytes. Storages are named; the bucket's own one is always where they persist.

    ``lands_on`` is a fast storage (tier 0 or 1) for new bytes and cached copies, ``replicate_to`` are storages for
    copies besides the bucket's. ``max_replicas``, ``max_object_bytes`` and ``dirty_budget_bytes`` 0: no limit of its
    own. ``ttl_s`` 0: for ever. Bytes that were written ``back`` are made safe within ``flush_within_s``, and no more
    than ``dirty_budget_bytes`` wait for that. ``pin`` keeps the fast copy, and ``spill`` lets ephemeral bytes go to the
    bucket's storage when the fast one fills up.
    """

    write: WritePolicy = WritePolicy.THROUGH
    lands_on: str = ""
    replicate_to: tuple[str, ...] = ()
    min_replicas: int = 1
    max_replicas: int = 0
    spread: Spread = Spread.NONE
    cache: CacheMode = CacheMode.NONE
    ttl_s: int = 0
    pin: bool = False
    spill: bool = True
    flush_within_s: int = 300
    dirty_budget_bytes: int = 0
    verify: VerifyMode = VerifyMode.SIZE
    max_object_bytes: int = 0

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> "Policy":
        """Raises InvalidRequest naming every field that is unknown or wrong."""
        known = {field.name for field in fields(cls)}
        wrong = {name: "unknown setting" for name in raw if name not in known}
        values: dict[str, Any] = {}
        for name in known & set(raw):
            try:
                values[name] = _READERS[name](raw[name])
            except ValueError as exc:
                wrong[name] = str(exc)
        if wrong:
            raise InvalidRequest("The policy is not valid.", fields=wrong)
        return cls(**values)

    @property
    def lands_fast(self) -> bool:
        """Whether new bytes go to ``lands_on`` first."""
        return self.write in (WritePolicy.BACK, WritePolicy.EPHEMERAL)

    @property
    def stays_fast(self) -> bool:
        """Whether bytes may lie on ``lands_on`` alone."""
        return self.write == WritePolicy.EPHEMERAL and not self.spill

    @property
    def asks_for_copies(self) -> bool:
        """Whether a new version may need more than the copy that it came with."""
        return bool(self.lands_on) or self.min_replicas > 1

    def is_dirty(self, storage: Storage) -> bool:
        """Whether bytes that land on the storage are still to be made safe elsewhere."""
        return self.write == WritePolicy.BACK and storage.name == self.lands_on

    def ends_at(self, created_at: datetime) -> datetime | None:
        """When the time to live of a version is over that is made then; None where it has none."""
        return created_at + timedelta(seconds=self.ttl_s) if self.ttl_s else None

    def stand(self, storage: Storage) -> str:
        """Where a storage stands, as far as copies are spread: by site or by node; one without stands on its own."""
        place = storage.site if self.spread == Spread.SITES else storage.node_id
        return f"{self.spread} {place}" if place and self.spread != Spread.NONE else f"storage {storage.name}"

    @property
    def names(self) -> set[str]:
        """Every storage that it names."""
        return {*self.replicate_to, self.lands_on} - {""}


def of_bucket(bucket: Bucket) -> Policy:
    """The bucket's policy."""
    return _stored(bucket, bucket.policy)


def of(target: Object) -> Policy:
    """The object's policy: its bucket's, with what the object has of its own."""
    return _stored(target.bucket, {**target.bucket.policy, **target.policy})


def storages_of(bucket: Bucket, policy: Policy) -> list[Storage]:
    """The storages that the policy names, each with the one that a drain moves its copies to."""
    if not policy.names:
        return []
    named = Storage.objects.filter(project=bucket.project_id, name__in=policy.names)
    return list(named.select_related("drain_to"))


def _stored(bucket: Bucket, raw: Mapping[str, object]) -> Policy:
    try:
        return Policy.parse(raw)
    except InvalidRequest as exc:  # It was checked when it was stored: the caller's request is not to blame.
        raise ValueError(f"the catalog holds a policy for {bucket} that is not understood: {exc.fields}") from exc


def check(bucket: Bucket, raw: Mapping[str, object], storages: Iterable[Storage]) -> Policy:
    """The policy, if the project's storages can give what it asks for. Raises InvalidRequest with the reasons."""
    policy = Policy.parse(raw)
    if wrong := _impossible(bucket, policy, {storage.name: storage for storage in storages}):
        raise InvalidRequest("The policy cannot be met.", fields=wrong)
    return policy


def _impossible(bucket: Bucket, policy: Policy, storages: Mapping[str, Storage]) -> dict[str, str]:
    if bucket.mounted:
        asked = {name for name, value in asdict(policy).items() if value != asdict(Policy())[name]}
        return dict.fromkeys(asked - {"max_object_bytes"}, "a mounted bucket mirrors one folder, in place")
    wrong = _of_landing(bucket, policy, storages)
    copies = [storages.get(name) for name in policy.replicate_to]
    if missing := [name for name in policy.replicate_to if name not in storages]:
        wrong["replicate_to"] = f"there is no storage {', '.join(missing)} in this project"
    elif bucket.storage.name in policy.replicate_to or policy.lands_on in policy.replicate_to:
        wrong["replicate_to"] = "name other storages than the bucket's own and lands_on"
    elif read_only := [storage.name for storage in copies if storage and registry.is_read_only(storage.scheme)]:
        wrong["replicate_to"] = f"{', '.join(read_only)} can only be read"
    places = [bucket.storage, *(storage for storage in copies if storage)]
    if policy.min_replicas > len(places):
        wrong["min_replicas"] = f"only {len(places)} places are named: the bucket's storage and replicate_to"
    if policy.max_replicas and policy.max_replicas < policy.min_replicas:
        wrong["max_replicas"] = "less than min_replicas"
    if policy.spread != Spread.NONE and policy.min_replicas > len({policy.stand(storage) for storage in places}):
        kind = policy.spread.value
        wrong["spread"] = f"{policy.min_replicas} {kind} are needed; see the {kind} of the storages"
    return wrong


def _of_landing(bucket: Bucket, policy: Policy, storages: Mapping[str, Storage]) -> dict[str, str]:
    needs = policy.lands_fast or policy.pin or policy.cache != CacheMode.NONE
    if not policy.lands_on:
        return {"lands_on": "name a storage of tier 0 or 1 for this"} if needs else {}
    fast = storages.get(policy.lands_on)
    if fast is None:
        return {"lands_on": f"there is no storage {policy.lands_on} in this project"}
    if fast == bucket.storage:
        return {"lands_on": "this is the bucket's own storage"}
    if fast.tier > SLOWEST_FAST_TIER:
        return {"lands_on": f"{fast.name} is of tier {fast.tier}; a fast storage is of tier 0 or 1"}
    if fast.state != StorageState.ACTIVE:
        return {"lands_on": f"{fast.name} is {fast.state}"}
    return {}


def _whole(most: int, *, least: int = 0) -> Any:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return read


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _choice(kind: Any) -> Any:
    def read(value: object) -> Any:
        if value not in kind.values:
            raise ValueError(f"one of {', '.join(kind.values)}")
        return kind(value)

    return read


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("the name of a storage")
    return value


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ValueError("a list of names of storages")
    if len(set(value)) < len(value):
        raise ValueError("a storage is named twice")
    return tuple(value)


_READERS: Mapping[str, Any] = {
    "write": _choice(WritePolicy),
    "lands_on": _name,
    "replicate_to": _names,
    "min_replicas": _whole(_MOST_REPLICAS, least=1),
    "max_replicas": _whole(_MOST_REPLICAS),
    "spread": _choice(Spread),
    "cache": _choice(CacheMode),
    "ttl_s": _whole(_MOST_SECONDS),
    "pin": _flag,
    "spill": _flag,
    "flush_within_s": _whole(_MOST_SECONDS),
    "dirty_budget_bytes": _whole(2**63 - 1),
    "verify": _choice(VerifyMode),
    "max_object_bytes": _whole(2**63 - 1),
}
