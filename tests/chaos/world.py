"""What is at stake: five storages, a bucket for each way to write, mounted ones, and aliases of the keys of clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staging import aliases, api_keys, buckets, projects
from staging.alias_terms import AliasSpec
from staging.buckets import BucketSpec
from staging.models import Bucket, Project, Storage
from staging.states import AliasMode, OnExists, Role
from tests.servers.faulty import Faults

MIB = 1024 * 1024
#: The largest object. The fast storage holds a few of them, so that it is always about to be full.
MOST_BYTES = MIB
FAST_BYTES = 6 * MIB
KEYS_EACH = 3

POLICIES: dict[str, dict[str, Any]] = {
    "through": {"lands_on": "fast", "cache": "read"},
    "around": {"write": "around", "verify": "read"},
    "back": {"write": "back", "lands_on": "fast"},
    "pair": {"write": "back", "lands_on": "fast", "replicate_to": ["far"], "min_replicas": 2, "verify": "checksum"},
    "two": {"replicate_to": ["far"], "min_replicas": 2, "lands_on": "fast", "cache": "promote"},
    "ephemeral": {"write": "ephemeral", "lands_on": "fast"},
}
#: Mounted buckets, with storage and folder: two of one storage, and one where managed buckets have their bytes too.
MOUNTS = {"inbox": ("lab", "in/"), "outbox": ("lab", "out/"), "shelf": ("home", "shelf/")}


@dataclass(frozen=True)
class Slot:
    """A key that one client alone writes to, and the paths of its aliases."""

    bucket: str
    key: str
    write: str
    read: str

    @property
    def is_mounted(self) -> bool:
        """Whether others may see its bytes where they lie."""
        return self.bucket in MOUNTS


class World:
    """``make`` fills an empty catalog."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project: Project = projects.first_project()
        self.storages = {
            "fast": self._storage("fast", 1, capacity_bytes=FAST_BYTES),
            "home": self._storage("home", 2),
            "far": self._storage("far", 2),
            "cold": self._storage("cold", 2),
            "lab": self._storage("lab", 2),
        }
        self.buckets = {
            name: buckets.create(self.project, BucketSpec(name, self.storages["home"], policy=policy))
            for name, policy in POLICIES.items()
        }
        for name, (storage, folder) in MOUNTS.items():
            spec = BucketSpec(name, self.storages[storage], mounted=True, prefix=folder)
            self.buckets[name] = buckets.create(self.project, spec)
        _, self.api_key = api_keys.issue_key(self.project, Role.ADMIN, label="chaos")

    def faults(self, name: str) -> Faults:
        return Faults(self.folder / name)

    def slots(self, client: int) -> list[Slot]:
        """The keys of one client, in every bucket."""
        keys = [f"c{client}/k{number}" for number in range(KEYS_EACH)]
        return [slot for bucket in self.buckets.values() for slot in self._slots(bucket, keys)]

    def files(self, name: str) -> set[str]:
        """The keys of all files on a storage, unfinished ones too."""
        root = self.folder / name
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    def _slots(self, bucket: Bucket, keys: Sequence[str]) -> list[Slot]:
        writes = [AliasSpec(AliasMode.WRITE, key, on_exists=OnExists.REPLACE) for key in keys]
        reads = [AliasSpec(AliasMode.READ, key) for key in keys]
        made = aliases.create(bucket, [*writes, *reads])
        paths = [f"/a/{aliases.token_of(alias)}/{aliases.file_name(alias)}" for alias in made]
        return [Slot(bucket.name, key, paths[at], paths[at + len(keys)]) for at, key in enumerate(keys)]

    def _storage(self, name: str, tier: int, **more: Any) -> Storage:
        root = self.folder / name
        root.mkdir()
        return Storage.objects.create(
            project=self.project, name=name, scheme="faulty", options={"root": str(root)}, tier=tier, **more
        )
