"""Several storages of one project, and buckets with policies over them; work is done here and now, without a worker."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from staging import aliases, buckets, catalog, reading, transfers, writing
from staging.alias_terms import AliasSpec
from staging.buckets import BucketSpec
from staging.models import Bucket, Object, Project, Replica, Storage, Transfer
from staging.offers import Offer
from staging.states import AliasMode, ReplicaState, TransferState
from tests.servers.faulty import Faults
from tests.staging.bodies import Body

MIB = 1024 * 1024
DATA = bytes(range(256)) * 64
BACK = {"write": "back", "lands_on": "fast"}
TWO = {"replicate_to": ["far"], "min_replicas": 2}


def kinds(done: list[Transfer]) -> list[tuple[str, str, str]]:
    """What was done, where, and how it ended."""
    return [(one.kind, one.target.name, one.state) for one in done]


def read(target: Object) -> bytes:
    """The bytes as a reader gets them."""
    copies = list(target.replicas.filter(state=ReplicaState.AVAILABLE).select_related("storage__credential"))
    with reading.open_stream(reading.pinned(target, copies), 0, target.size) as stream:
        return b"".join(iter(stream.read, b""))


class Yard:
    """``fast`` is of tier 1, ``home`` and ``far`` of tier 2; what is done there can be made to fail."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self.folder = project, folder
        self.storages = {name: self._storage(name, tier) for name, tier in (("fast", 1), ("home", 2), ("far", 2))}

    def __getitem__(self, name: str) -> Storage:
        """The storage as it is now."""
        return Storage.objects.get(pk=self.storages[name].pk)

    def faults(self, name: str) -> Faults:
        return Faults(self.folder / name)

    def bucket(self, name: str = "runs", **policy: Any) -> Bucket:
        return buckets.create(self.project, BucketSpec(name, self["home"], policy=policy))

    def put(self, bucket: Bucket, key: str, data: bytes) -> Object:
        bucket = Bucket.objects.select_related("storage").get(pk=bucket.pk)
        alias = aliases.create(bucket, [AliasSpec(AliasMode.WRITE, key, on_exists="replace")])[0]
        return writing.receive(alias, Offer(len(data)), Body(data)).object

    def work(self, *, most: int = 50) -> list[Transfer]:
        """Do what is due, and what that leads to, each once, until nothing is; returns what was done, in order."""
        done: list[Transfer] = []
        for _ in range(most):
            due = Transfer.objects.filter(state=TransferState.QUEUED, not_before__lte=timezone.now())
            due = due.exclude(pk__in=[one.pk for one in done])
            transfer = due.order_by("priority", "not_before").first()
            if transfer is None:
                return done
            transfers.run(str(transfer.pk))
            transfer.refresh_from_db()
            done.append(transfer)
        raise AssertionError("it does not come to rest")

    def hurry(self) -> None:
        """As if every wait between two attempts were over."""
        Transfer.objects.filter(state=TransferState.QUEUED).update(not_before=timezone.now() - timedelta(seconds=1))

    def where(self, target: Object) -> dict[str, str]:
        """The state of each copy by the name of its storage; a dirty one says so."""
        rows = Replica.objects.filter(object=target).select_related("storage")
        return {row.storage.name: "dirty" if row.dirty else row.state for row in rows}

    def file(self, replica: Replica) -> Path:
        return self.folder / replica.storage.name / replica.key

    def copy_on(self, target: Object, name: str) -> Replica:
        return Replica.objects.select_related("storage").get(object=target, storage=self.storages[name])

    def current(self, bucket: Bucket, key: str) -> Object | None:
        return catalog.current(bucket, key)

    def assert_all_is_counted(self) -> None:
        """Every file has its row and every row its file; used and reserved bytes are those of the rows."""
        for name in self.storages:
            storage, root = self[name], self.folder / name
            rows = {row.key: row.size for row in (*storage.replicas.all(), *storage.cached_blocks.all())}
            files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
            assert files == set(rows), f"{name}: files and rows differ: {files ^ set(rows)}"
            assert (storage.used_bytes, storage.reserved_bytes) == (sum(rows.values()), 0), name

    def _storage(self, name: str, tier: int) -> Storage:
        (self.folder / name).mkdir()
        options = {"root": str(self.folder / name)}
        return Storage.objects.create(project=self.project, name=name, scheme="faulty", options=options, tier=tier)
