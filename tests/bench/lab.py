"""A fresh installation of Waybill for measurements: a catalog, one gateway process, buckets and aliases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from staging import aliases, catalog, projects, storages
from staging.alias_terms import AliasSpec
from staging.models import Bucket, Replica
from staging.states import AliasMode
from staging.storages import StorageSpec
from tests.servers.gateway import Gateway


class Lab:
    """``folder`` is for clients and servers; the installation itself lies in DATA_DIR."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        call_command("migrate", verbosity=0)
        self._project = projects.first_project()

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        """One process for everything, as `make up` runs it."""
        with Gateway(self.folder, shared_data_dir=Path(settings.DATA_DIR)) as gateway:
            yield gateway

    def bucket(self, spec: StorageSpec) -> Bucket:
        """A managed bucket on a new storage."""
        storage = storages.create(self._project, spec)
        return Bucket.objects.create(project=self._project, name=spec.name, storage=storage)


def urls(gateway: Gateway, bucket: Bucket, keys: Sequence[str], mode: AliasMode) -> list[str]:
    """An alias for each key."""
    made = aliases.create(bucket, [AliasSpec(mode, key) for key in keys])
    return [gateway.url + gateway.alias_path(aliases.token_of(each), aliases.file_name(each)) for each in made]


def replica(bucket: Bucket, key: str) -> Replica:
    """Where the object's bytes lie."""
    found = catalog.current(bucket, key)
    if found is None:
        raise LookupError(f"{bucket}/{key} was not stored")
    return found.replicas.get()


def discard(bucket: Bucket, key: str) -> None:
    """Remove the object's bytes; its rows stay, nobody asks for them again."""
    where = replica(bucket, key)
    storages.adapter_for(where.storage).delete(where.key)
