"""What a test of data works in: a project, a storage, and buckets on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staging import aliases
from staging.aliases import AliasSpec
from staging.models import Alias, Bucket, Project, Storage
from staging.states import AliasMode


@dataclass
class Place:
    """A project with one local storage, a managed bucket on it, and that storage's root mounted."""

    project: Project
    storage: Storage
    managed: Bucket
    mounted: Bucket
    root: Path

    def alias(self, key: str, mode: AliasMode = AliasMode.READ, *, mounted: bool = False, **spec: Any) -> Alias:
        """A new alias of the managed bucket, or of the mounted one."""
        return aliases.create(self.mounted if mounted else self.managed, [AliasSpec(mode, key, **spec)])[0]

    def files(self) -> list[str]:
        """Every file below the storage's root, unfinished ones too."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())
