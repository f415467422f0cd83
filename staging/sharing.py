"""Sharing: a version stands at another key too, in the same bucket or another, and no byte moves.

The new version's rows of its copies name the places of the old one's. What its bucket's policy asks for besides, the
planner makes of them; a further copy of the one is shared with the other in its turn. ``replicas`` lets the bytes of a
place go with its last row.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Max, Q
from django.utils import timezone

from staging import events, placement, policies, replicas, replication, reservations, retiring
from staging.errors import ContentDiffers, NotFound, ObjectUnavailable, StagingError, TooLarge
from staging.models import BlockSums, Bucket, Object, Replica, Storage
from staging.models.object import KEPT
from staging.policies import Policy
from staging.states import CopyOnExists, ObjectState, ReplicaState, StorageState

#: Of so many versions at one place it is seen whether they have a copy elsewhere.
_TWINS = 500
#: How often it is tried when others write the same keys at the same moment.
_RACES = 5


@dataclass
class Shared:
    """What became of each source key: a copy, or it was left as it is, or why there is none."""

    done: list[Object] = field(default_factory=list)
    skipped: list[Object] = field(default_factory=list)
    failed: dict[str, StagingError] = field(default_factory=dict)


class _Overtaken(OperationalError):
    """Somebody else wrote one of the keys meanwhile."""


def share(
    source: Bucket, target: Bucket, keys: Mapping[str, str], *, on_exists: CopyOnExists, moves: bool = False
) -> Shared:
    """Let what stands at each source key stand at its target key too, in one transaction with the caller's.

    Where equal content stands there already, that is the copy. ``moves``: the sources are deleted with it. Both buckets
    are managed ones of one project.
    """
    for _ in range(_RACES):
        try:
            with transaction.atomic():
                return _share(source, target, keys, on_exists, moves)
        except (IntegrityError, _Overtaken):
            continue
    raise _Overtaken(f"Others write the same keys of the bucket {target}.")


def _share(source: Bucket, target: Bucket, keys: Mapping[str, str], on_exists: CopyOnExists, moves: bool) -> Shared:
    # Those who copy and those who replace take turns, so that no two wait for each other.
    list(Bucket.objects.select_for_update(no_key=True).filter(pk__in={source.pk, target.pk}).order_by("pk"))
    found, policy = Shared(), policies.of_bucket(target)
    # Until the end nobody may delete, replace or evict what is shared: all of them change the version's row first.
    current = Object.objects.select_for_update(of=("self",)).filter(bucket=source, key__in=keys, current=True)
    sources = {row.key: row for row in current.order_by("pk")}
    for row in sources.values():
        row.bucket = source
    places = _places(sources.values())
    there = Object.objects.filter(bucket=target, key__in=keys.values())
    last = dict(there.order_by().values_list("key").annotate(Max("version")))
    standing = {one.key: one for one in there.filter(current=True)}
    made, stay = dict[str, Object](), list[str]()
    for key, new_key in keys.items():
        one, before = sources.get(key), standing.get(new_key)
        refusal = _refusal(one, places, policy, before, on_exists)
        if one is None or refusal:
            found.failed[key] = refusal or NotFound(f"There is no object {key!r} in the bucket {source} any more.")
        elif before and _is_equal(one, before) and before.state == ObjectState.AVAILABLE:
            found.done.append(one)
            stay.append(new_key)
        elif before and not _is_equal(one, before) and on_exists == CopyOnExists.SKIP:
            found.skipped.append(one)
        else:
            if before and not retiring.retire(before, keep_s=settings.REPLACED_KEEP_S):
                raise _Overtaken
            made[key] = _copy_of(one, target, new_key, last.get(new_key, 0) + 1, policy)
            found.done.append(one)
    reservations.outdate(target, stay, timezone.now())
    _write(target, [(sources[key], version) for key, version in made.items()], places, policy, moves)
    events.record_objects(dict.fromkeys(standing, "object.replaced"), target, made.values())
    if moves:
        retiring.delete_all(source, found.done)
    for key, version in made.items():
        version.bucket = target
        if policy.asks_for_copies or not placement.satisfies(policy, target, places[sources[key].pk]):
            replication.settle(version, is_new=True)
    return found


def _places(versions: Iterable[Object]) -> dict[object, list[Replica]]:
    """The good copies of each version. One that is to go is never shared: its bytes may be gone at any moment."""
    found: dict[object, list[Replica]] = {}
    rows = Replica.objects.filter(object__in=list(versions), state=ReplicaState.AVAILABLE)
    for row in rows.exclude(storage__state=StorageState.LOST).select_related("storage").order_by("pk"):
        found.setdefault(row.object_id, []).append(row)
    return found


def _refusal(
    one: Object | None,
    places: Mapping[object, Sequence[Replica]],
    policy: Policy,
    before: Object | None,
    on_exists: CopyOnExists,
) -> StagingError | None:
    if one is None:
        return None
    if before and not _is_equal(one, before) and on_exists == CopyOnExists.FAIL:
        return ContentDiffers(f"An object of other content stands at {before.key!r}.")
    if not places.get(one.pk):
        return ObjectUnavailable("No copy of the object can be read now.")
    if policy.max_object_bytes and one.size > policy.max_object_bytes:
        return TooLarge(f"The target takes objects of at most {policy.max_object_bytes} bytes.")
    return None


def _is_equal(one: Object, before: Object) -> bool:
    """Whether the same content stands there. Where it cannot be read, the copy heals it."""
    return (one.size, one.sha256) == (before.size, before.sha256)


def _copy_of(one: Object, bucket: Bucket, key: str, version: int, policy: Policy) -> Object:
    return Object(
        bucket=bucket,
        key=key,
        version=version,
        size=one.size,
        sha256=one.sha256,
        content_type=one.content_type,
        metadata=one.metadata,
        expires_at=policy.ends_at(timezone.now()),
    )


def _write(
    bucket: Bucket,
    made: Sequence[tuple[Object, Object]],
    places: Mapping[object, Sequence[Replica]],
    policy: Policy,
    moves: bool,
) -> None:
    Object.objects.bulk_create(version for _, version in made)
    copies = {one.pk: version for one, version in made}
    sums = BlockSums.objects.filter(object__in=copies)
    BlockSums.objects.bulk_create(BlockSums(object=copies[row.pk], sums=row.sums) for row in sums)
    handed_over, further = list[Replica](), list[Replica]()
    for one, version in made:
        is_safe = placement.satisfies(policy, bucket, places[one.pk])
        goes = moves and not one.pinned  # Its good copies are the new version's then.
        for place in places[one.pk]:
            row = place if goes else _beside(place)
            row.object, row.dirty = version, policy.is_dirty(place.storage) and not is_safe
            (handed_over if goes else further).append(row)
    Replica.objects.bulk_update(handed_over, ["object", "dirty"])
    Replica.objects.bulk_create(further)


def _beside(place: Replica) -> Replica:
    """Another row of the same place."""
    return Replica(
        storage=place.storage,
        key=place.key,
        size=place.size,
        shares=True,
        storage_version=place.storage_version,
        verified_at=place.verified_at,
    )


def twin_on(target: Object, storage: Storage) -> Replica | None:
    """A good copy on the storage of a version that has its bytes at one place with this one somewhere."""
    places = [Q(storage=place, key=key) for place, key in target.replicas.values_list("storage", "key")]
    if not places:
        return None
    others = Replica.objects.filter(reduce(or_, places)).exclude(object=target).values_list("object", flat=True)
    chosen = list(others.order_by("pk")[:_TWINS])
    there = Replica.objects.filter(object__in=chosen, storage=storage, state=ReplicaState.AVAILABLE)
    return there.order_by("pk").first() if chosen else None


def share_copy(target: Object, twin: Replica) -> bool:
    """Have the other version's copy be this one's too; in a transaction. False where either has gone meanwhile."""
    both = Object.objects.select_for_update(of=("self",)).filter(KEPT, pk__in=[target.pk, twin.object_id])
    found = {row.pk: row for row in both.select_related("bucket").order_by("pk")}
    if len(found) < 2 or not Replica.objects.filter(pk=twin.pk, key=twin.key, state=ReplicaState.AVAILABLE).exists():
        return False
    copy = _beside(twin)
    copy.object = found[target.pk]
    copy.save()
    replicas.tell_copied(copy.object, copy)
    return True


def condemn(replica: Replica, why: str, *, missing: bool = False) -> bool:
    """As ``replicas.condemn``. Versions of the place that have no good copy left get those of the others."""
    found = replicas.condemn(replica, why, missing=missing)
    versions = Object.objects.filter(KEPT, replicas__in=replicas.of_place(replica)).order_by("pk")[:_TWINS]
    copies: dict[UUID, list[Replica]] = {version.pk: [] for version in versions}
    for copy in Replica.objects.filter(object__in=copies).select_related("storage").order_by("pk"):
        copies[copy.object_id].append(copy)
    good = [copy for rows in copies.values() for copy in rows if placement.is_readable(copy)]
    for version in versions:
        has = {copy.storage_id for copy in copies[version.pk]}
        twin = next((copy for copy in good if copy.storage_id not in has), None)
        if twin and not any(map(placement.is_readable, copies[version.pk])):
            with suppress(IntegrityError), transaction.atomic():
                share_copy(version, twin)
    return found
