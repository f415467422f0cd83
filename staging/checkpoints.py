"""Checkpoints: a set of versions is pinned, so that it can be read and restored whatever becomes of its keys.

The pins are made in one transaction. What remains, flushing, completing, restoring and letting go, is done step by
step by ``checkpoint_work.py``, and goes on there after a crash.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.utils import timezone

from adapters.errors import InvalidKey
from adapters.keys import check_prefix
from staging import alias_groups, aliases, checkpoint_work, events, policies, versions
from staging.alias_groups import Selection
from staging.alias_terms import AliasSpec
from staging.errors import InvalidRequest, NameTaken, NotFound, ObjectUnavailable
from staging.models import Alias, ApiKey, Bucket, Checkpoint, CheckpointMember, Object, Project
from staging.models.fields import NAME_RULE, behind, is_name
from staging.states import AliasMode, CheckpointState, ReplicaState

#: The most members: a checkpoint is made within one request.
MAX_MEMBERS = 100_000
#: Rows that one statement names or writes.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class CheckpointSpec:
    """What a caller asks for: all below ``prefix`` of ``bucket``, or what the write aliases with ``labels`` wrote.

    With labels, bucket and prefix may narrow the group.
    """

    name: str
    bucket: Bucket | None = None
    prefix: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """Members and bytes of a checkpoint, and how many of each are persisted now."""

    members: int
    bytes: int
    persisted: int
    persisted_bytes: int


def create(project: Project, spec: CheckpointSpec, *, created_by: ApiKey | None = None) -> tuple[Checkpoint, bool]:
    """Pin the versions that are current now, and have made safe what is not persisted; idempotent by name.

    Returns the checkpoint, and whether it was there before. Raises InvalidRequest, and NameTaken where the one of this
    name is of other things.
    """
    wrong = {} if is_name(spec.name) else {"name": NAME_RULE}
    if spec.bucket is None and not spec.labels:
        wrong["bucket"] = "give a bucket, or the labels of a run's aliases"
    try:
        check_prefix(spec.prefix)
    except InvalidKey as exc:
        wrong["prefix"] = exc.detail
    if wrong:
        raise InvalidRequest("The checkpoint is not valid.", fields=wrong)
    if known := _known(project, spec):
        return known, True
    try:
        with transaction.atomic():
            made = Checkpoint.objects.create(
                project=project,
                name=spec.name,
                bucket=spec.bucket,
                prefix=spec.prefix,
                labels=dict(spec.labels),
                created_by=created_by,
            )
            _fill(made, spec)
    except IntegrityError:
        if known := _known(project, spec):
            return known, True
        raise
    checkpoint_work.advance(made, steps=1)
    return made, False


def restore(checkpoint: Checkpoint) -> None:
    """Make each member the current version of its key again, and bring it to the fast storage of its policy.

    What somebody writes to a key after this was asked stays. Asked again while it goes on, it goes on; afterwards it
    begins anew, and does nothing where nothing has changed. Raises InvalidRequest for one that is not complete, and
    ObjectUnavailable where a member cannot be read now.
    """
    with transaction.atomic():
        asked = Checkpoint.objects.select_for_update().filter(pk=checkpoint.pk, state=CheckpointState.COMPLETE)
        mine = asked.filter(restoring_since=None, released_at=None).first()
        # What cannot be read must not take the place of what can.
        if mine and not checkpoint_work.fail_if_lost(mine):
            if away := checkpoint_work.without(mine, ReplicaState.AVAILABLE):
                raise ObjectUnavailable(f"{away[0].key!r} cannot be read now: its copies are damaged or out of reach.")
            asked.update(restoring_since=timezone.now(), restored_at=None, place=0)
    checkpoint.refresh_from_db()
    if checkpoint.state != CheckpointState.COMPLETE:
        why = f": {checkpoint.failure}" if checkpoint.failure else "."
        raise InvalidRequest(f"Only a complete checkpoint can be restored; this one is {checkpoint.state}{why}")
    checkpoint_work.advance(checkpoint, steps=1)


def release(checkpoint: Checkpoint) -> bool:
    """Let go of the members: bytes that nothing else holds are removed. Returns whether all of it is done already."""
    Checkpoint.objects.filter(pk=checkpoint.pk, released_at=None).update(released_at=timezone.now())
    checkpoint_work.advance(checkpoint, steps=1)
    return not Checkpoint.objects.filter(pk=checkpoint.pk).exists()


def progress(checkpoint: Checkpoint) -> Progress:
    """How far it is."""
    unsafe = checkpoint_work.unsafe(checkpoint).aggregate(size=Sum("object__size"))["size"] or 0
    count = checkpoint_work.unsafe(checkpoint).count()
    members, size = checkpoint.count, checkpoint.size
    return Progress(members, size, members - count, size - unsafe)


def read_alias(
    checkpoint: Checkpoint, bucket: str, key: str, *, lifetime_s: int | None = None, created_by: ApiKey | None = None
) -> Alias:
    """An alias of the version that the checkpoint holds, whatever is current now. Raises NotFound."""
    held = checkpoint.members.filter(key=key, object__bucket__name=bucket, checkpoint__released_at=None)
    found = held.select_related("object__bucket__storage").first()
    if found is None:
        raise NotFound(f"The checkpoint {checkpoint} holds no object {key!r} of a bucket {bucket!r}.")
    spec = AliasSpec(AliasMode.READ, key, lifetime_s=lifetime_s, checkpoint_id=checkpoint.pk)
    return aliases.create(found.object.bucket, [spec], created_by=created_by)[0]


def _known(project: Project, spec: CheckpointSpec) -> Checkpoint | None:
    known = Checkpoint.objects.filter(project=project, name=spec.name).select_related("bucket").first()
    if known is None:
        return None
    if known.released_at is not None:
        raise NameTaken(f"The checkpoint {spec.name!r} is being deleted.")
    if (known.bucket, known.prefix, known.labels) != (spec.bucket, spec.prefix, dict(spec.labels)):
        raise NameTaken(f"A checkpoint named {spec.name!r} exists in this project, of other things.")
    return known


def _fill(made: Checkpoint, spec: CheckpointSpec) -> None:
    chosen: dict[object, Object] = {}
    writers = _group(made.project, spec).order_by().values_list("bucket_id", flat=True).distinct()
    buckets = [spec.bucket.pk] if spec.bucket else list(writers)
    # Who replaces versions is alone in the bucket, and so are we: a key is never seen between two versions.
    list(Bucket.objects.select_for_update(no_key=True).filter(pk__in=buckets).order_by("pk"))
    for rows in _sources(made.project, spec):
        most = MAX_MEMBERS + 1 - len(chosen)
        for target in versions.pin(rows.select_related("bucket__storage__drain_to"), most=most):
            chosen[target.pk] = target
        if len(chosen) > MAX_MEMBERS:
            raise InvalidRequest(f"A checkpoint has at most {MAX_MEMBERS:,} members; take a deeper prefix.")
    if not chosen:
        raise InvalidRequest("There is nothing to pin: no object lies there now.")
    _check_places(chosen.values())
    CheckpointMember.objects.bulk_create(
        [CheckpointMember(checkpoint=made, object=target, key=target.key) for target in chosen.values()],
        batch_size=_BATCH,
    )
    made.count, made.size = len(chosen), sum(target.size for target in chosen.values())
    made.save(update_fields=["count", "size"])
    events.record(made.project, "checkpoint.created", made.name, members=made.count, size=made.size)


def _sources(project: Project, spec: CheckpointSpec) -> Iterator[QuerySet[Object]]:
    """The current versions, some at a time."""
    if not spec.labels:
        assert spec.bucket
        yield _below(spec.bucket.pk, spec.prefix)
        return
    group = _group(project, spec)
    # What was there before a run's alias was made was not written by it.
    mine = Alias.objects.filter(pk__in=group.values("pk"), created_at__lte=OuterRef("created_at"))
    single = mine.filter(mode=AliasMode.WRITE, bucket=OuterRef("bucket"), key=OuterRef("key"))
    writers = group.filter(mode=AliasMode.WRITE).order_by("bucket_id", "key").values_list("bucket_id", "key").distinct()
    wanted: dict[int, list[str]] = {}
    for bucket_id, key in writers:
        wanted.setdefault(bucket_id, []).append(key)
    for bucket_id, keys in wanted.items():
        for start in range(0, len(keys), _BATCH):
            named = Object.objects.filter(bucket=bucket_id, key__in=keys[start : start + _BATCH], current=True)
            yield named.filter(Exists(single))
    for alias in group.filter(mode=AliasMode.WRITE_PREFIX).order_by("bucket_id", "key"):
        yield _below(alias.bucket_id, alias.key).filter(created_at__gte=alias.created_at)


def _group(project: Project, spec: CheckpointSpec) -> QuerySet[Alias]:
    bucket = spec.bucket.name if spec.bucket else ""
    return alias_groups.select(project, Selection(labels=spec.labels, bucket=bucket, prefix=spec.prefix))


def _below(bucket_id: int, prefix: str) -> QuerySet[Object]:
    return Object.objects.filter(bucket=bucket_id, current=True, key__gte=prefix, key__lt=behind(prefix))


def _check_places(chosen: Iterable[Object]) -> None:
    """Raises InvalidRequest where some bucket has no place at which anything could persist."""
    buckets = {target.bucket_id: target for target in chosen}
    for target in buckets.values():
        if target.bucket.mounted:
            raise InvalidRequest(f"The bucket {target.bucket} is mounted: others may change what lies there.")
        if checkpoint_work.place_of(target, policies.storages_of(target.bucket, policies.of(target))) is None:
            raise InvalidRequest(
                f"Nothing persists in the bucket {target.bucket}: neither its storage nor those that its policy copies "
                "to are of tier 2."
            )
