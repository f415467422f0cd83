"""What must hold once all is quiet: the invariants of the catalog, and that its rows and the storages say the same."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping

from django.conf import settings
from django.db.models import Count, F, Q

from staging import orphans, placement, planning, policies, replication, tally
from staging.models import (
    CachedBlock,
    Checkpoint,
    CheckpointMember,
    CopyJob,
    Event,
    Object,
    Replica,
    Storage,
    Transfer,
    Upload,
)
from staging.models.replica import KEPT_OBJECT
from staging.states import (
    BlockState,
    CheckpointState,
    CopyState,
    ObjectState,
    ReplicaState,
    StorageState,
    TransferState,
)
from tests.chaos.world import MOUNTS, World

#: Contents by bucket and key.
Contents = Mapping[tuple[str, str], bytes]


def unrest() -> list[str]:
    """What is still to be done, in words; nothing once all has come to rest."""
    live = Transfer.objects.filter(state__in=replication.LIVE)
    found = [
        f"{one} to {one.target}: {one.state}, {one.attempts} attempts, {one.error_code}, due {one.not_before:%X}"
        for one in live.select_related("target")
    ]
    found += [
        f"an upload of {one.target_key} with a lease until {one.lease_expires_at:%X}" for one in Upload.objects.all()
    ]
    passing = CachedBlock.objects.exclude(state=BlockState.READY)
    found += [f"the cached block {one.key} is {one.state}" for one in passing]
    unwanted = CachedBlock.objects.exclude(object__current=True)
    found += [f"the cached block {one.key} is of a version that is gone" for one in unwanted]
    dirty = Replica.objects.filter(dirty=True).select_related("object", "storage")
    found += [f"the copy of {one.object} on {one.storage} is dirty" for one in dirty]
    limited = Storage.objects.filter(capacity_bytes__isnull=False, state=StorageState.ACTIVE)
    high = F("capacity_bytes") * settings.HIGH_WATER / 100
    full = limited.annotate(filled=F("used_bytes") + F("reserved_bytes")).filter(filled__gt=high)
    found += [f"{one} is above its high mark" for one in full]
    found += [
        f"the copy {one} is running, listed: {one.listed}" for one in CopyJob.objects.filter(state=CopyState.RUNNING)
    ]
    open_ones = Q(state=CheckpointState.PENDING) | Q(restoring_since__isnull=False) | Q(released_at__isnull=False)
    found += [f"the checkpoint {one} has something left to be done" for one in Checkpoint.objects.filter(open_ones)]
    found += [f"{one} is draining" for one in Storage.objects.filter(state=StorageState.DRAINING)]
    kept = Object.objects.filter(Q(current=True) | Q(pinned=True), bucket__mounted=False)
    for one in kept.select_related("bucket__storage__drain_to"):
        policy = policies.of(one)
        copies = list(one.replicas.select_related("storage__drain_to"))
        plan = planning.plan(one, policy, copies, policies.storages_of(one.bucket, policy))
        found += [f"{one} still wants {step.kind} on {step.storage}" for step in plan.steps] + plan.missing
    return found


def failed() -> Counter[str]:
    """Transfers that were given up, by kind and error."""
    return Counter(f"{one.kind}: {one.error_code}" for one in Transfer.objects.filter(state=TransferState.FAILED))


def check(world: World, expected: Contents, kept: Mapping[str, Contents]) -> dict[str, int]:
    """Raises AssertionError with all that is wrong; returns how much was looked at, and what late workers left.

    ``expected`` are the contents of keys, and there is nothing else; ``kept`` those of the members of checkpoints.
    """
    mounted = {(bucket, key): data for (bucket, key), data in expected.items() if bucket in MOUNTS}
    managed = {name: data for name, data in expected.items() if name not in mounted}
    wrong = [*_of_objects(world, managed), *_of_blocks(world, managed), *_of_history()]
    wrong += [*_of_checkpoints(world, kept), *_of_mounts(world, mounted)]
    left = 0
    for name, storage in world.storages.items():
        found, orphaned = _of_storage(world, name, storage)
        wrong += found
        left += orphaned
    assert not wrong, "\n".join(wrong)
    return {
        "objects": len(managed),
        "replicas": Replica.objects.count(),
        "mounted files": len(mounted),
        "members of checkpoints": sum(map(len, kept.values())),
        "orphans of late workers": left,
    }


def _of_mounts(world: World, expected: Contents) -> list[str]:
    """On mounted storages there is what clients know of, and nothing unfinished."""
    known = {
        (storage, f"{folder}{key}"): data
        for (bucket, key), data in expected.items()
        for storage, folder in [MOUNTS[bucket]]
    }
    there = {
        (storage, key): world.folder / storage / key
        for storage, folder in MOUNTS.values()
        for key in world.files(storage)
        if key.startswith(folder)
    }
    wrong = [f"there is a file {name}, which nobody wants" for name in set(there) - set(known)]
    wrong += [f"there is no file {name}" for name in set(known) - set(there)]
    return wrong + [
        f"{name} has wrong bytes" for name in set(known) & set(there) if there[name].read_bytes() != known[name]
    ]


def _of_checkpoints(world: World, kept: Mapping[str, Contents]) -> list[str]:
    """All copies of a member are whole, and one of them persists."""
    names = set(Checkpoint.objects.values_list("name", flat=True))
    wrong = [f"the checkpoints {names ^ set(kept)} are there or not"] if names != set(kept) else []
    rows = CheckpointMember.objects.select_related("checkpoint", "object__bucket")
    members = {(row.checkpoint.name, row.object.bucket.name, row.key): row.object for row in rows}
    wanted = {(name, *at): data for name, contents in kept.items() for at, data in contents.items()}
    if set(members) != set(wanted):
        wrong.append(f"checkpoints have other members: {set(members) ^ set(wanted)}")
    for at in set(members) & set(wanted):
        copies = list(members[at].replicas.select_related("storage"))
        if not any(placement.persists(copy.storage) for copy in copies):
            wrong.append(f"the member {at} does not persist")
        for copy in copies:
            path = world.folder / copy.storage.name / copy.key
            if copy.state != ReplicaState.AVAILABLE or not path.exists() or path.read_bytes() != wanted[at]:
                wrong.append(f"a copy of the member {at} on {copy.storage} is {copy.state}, missing or wrong")
    return wrong


def _of_objects(world: World, expected: Contents) -> list[str]:
    wrong = []
    rows = Object.objects.filter(current=True, bucket__mounted=False)
    current = list(rows.select_related("bucket__storage__drain_to"))
    names = Counter((one.bucket.name, one.key) for one in current)
    wrong += [f"{name} has {count} current versions" for name, count in names.items() if count > 1]
    wrong += [f"{name} is in the catalog and should not be" for name in set(names) - set(expected)]
    wrong += [f"{name} is not in the catalog" for name in set(expected) - set(names)]
    for one in current:
        data = expected.get((one.bucket.name, one.key), b"")
        if (one.size, one.sha256) != (len(data), hashlib.sha256(data).hexdigest()):
            wrong.append(f"the catalog says {one.size} bytes of {one}, and {len(data)} others were acknowledged")
        copies = list(one.replicas.select_related("storage"))
        policy = policies.of(one)
        met = placement.satisfies(policy, one.bucket, copies, policies.storages_of(one.bucket, policy))
        if one.state != ObjectState.AVAILABLE or not met:
            wrong.append(f"{one} is {one.state} with {[(c.storage.name, c.state) for c in copies]}")
        for copy in copies:
            path = world.folder / copy.storage.name / copy.key
            if copy.state != ReplicaState.AVAILABLE or copy.dirty:
                wrong.append(f"a copy of {one} on {copy.storage} is {copy.state}, dirty: {copy.dirty}")
            if not path.exists() or path.read_bytes() != data:
                wrong.append(f"a copy of {one} on {copy.storage} is missing or has wrong bytes")
    return wrong


def _of_blocks(world: World, expected: Contents) -> list[str]:
    wrong = []
    for block in CachedBlock.objects.select_related("object__bucket", "storage"):
        assert block.object
        data = expected.get((block.object.bucket.name, block.object.key), b"")
        path = world.folder / block.storage.name / block.key
        if not path.exists() or path.read_bytes() != data[block.start : block.start + block.size]:
            wrong.append(f"the cached block {block.key} of {block.object} is missing or has wrong bytes")
    return wrong


def _of_history() -> list[str]:
    """Every version has its event, none was ever damaged, and none is two."""
    written = Event.objects.filter(kind__in=["object.created", "object.replaced"])
    told = set(written.values_list("facts__object", flat=True))
    # A tombstone that a renaming or a restore leaves is no version that anybody wrote: its object lives on.
    moved = Event.objects.filter(kind__in=["object.renamed", "object.restored"])
    left = set(moved.values_list("facts__from", flat=True))
    untold = [one for one in Object.objects.all() if str(one.pk) not in told]
    wrong = [f"{one} has no event" for one in untold if one.current or one.key not in left]
    for kind in ("replica.bad", "object.unavailable", "object.lost"):
        wrong += [f"{kind}: {one.subject} {one.facts}" for one in Event.objects.filter(kind=kind)]
    twice = Object.objects.values("bucket", "key", "version").annotate(count=Count("pk")).filter(count__gt=1)
    wrong += [f"two versions of one number: {one}" for one in twice]
    gone = Replica.objects.exclude(KEPT_OBJECT).select_related("object")
    return wrong + [f"{one.object} is gone, and a copy of it is {one.state}" for one in gone]


def _of_storage(world: World, name: str, storage: Storage) -> tuple[list[str], int]:
    """Counts, rows and files agree. Whole files of nobody are what a late worker left that was killed behind its fence:
    they may be there, and `manage.py reconcile` finds them by themselves once they are old.
    """
    storage.refresh_from_db()
    wrong = [f"{name} counts other bytes than its rows: {off}"] if (off := tally.drift(storage)) else []
    if storage.reserved_bytes:
        wrong.append(f"{name} has {storage.reserved_bytes} bytes reserved")
    if storage.capacity_bytes is not None and storage.used_bytes > storage.capacity_bytes:
        wrong.append(f"{name} is fuller than full")
    files, managed = _files(world, name), storage.replicas.filter(object__bucket__mounted=False)
    rows = {*managed.values_list("key", flat=True), *storage.cached_blocks.values_list("key", flat=True)}
    wrong += [f"{name} has no file {key}" for key in rows - files]
    wrong += [f"{name} has an unfinished write {key}" for key in files - rows if key.endswith(".partial")]
    for key in files - rows:
        os.utime(world.folder / name / key, (0, 0))
    report = orphans.act(storage)
    lost, removed = report.found[orphans.Kind.LOST], report.found[orphans.Kind.ORPHAN]
    wrong += [f"{name} lost {key}" for key in lost.keys]
    wrong += [
        f"{name} has a file {key}, which nobody removes"
        for key in _files(world, name) - rows
        if not key.endswith(".partial")
    ]
    return wrong, removed.count


def _files(world: World, name: str) -> set[str]:
    """What lies on a storage, mounted folders left out."""
    folders = tuple(folder for storage, folder in MOUNTS.values() if storage == name)
    return {key for key in world.files(name) if not folders or not key.startswith(folders)}
