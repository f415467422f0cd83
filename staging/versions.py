"""Versions: what the catalog changes of a version that stands: its metadata, its own policy, and its key."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max, QuerySet, Value
from django.db.models.functions import Concat, Greatest, Substr
from django.utils import timezone

from adapters.keys import check_key
from staging import policies
from staging.errors import InvalidRequest, NameTaken
from staging.models import Bucket, Object
from staging.models.fields import behind
from staging.policies import Policy
from staging.states import ObjectState

#: The most bytes that an object's metadata may take, names and values together.
MAX_METADATA_BYTES = 16 * 1024
#: A version's time to live is reckoned from a moment before its row is written.
_MOMENT = timedelta(seconds=1)
#: Rows that one statement names.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Moved:
    """An object as it was, and its key and version after it was renamed."""

    object: Object
    key: str
    version: int


def describe(bucket: Bucket, key: str, changed: Mapping[str, str | None]) -> bool:
    """Set the metadata that is given on the current version, take away what is None, keep the rest.

    False where the key has no current version. Raises InvalidRequest where it becomes too much.
    """
    with transaction.atomic():
        target = Object.objects.select_for_update().filter(bucket=bucket, key=key, current=True).first()
        if target is None:
            return False
        kept = {name: value for name, value in {**target.metadata, **changed}.items() if value is not None}
        if sum(len(f"{name}{value}".encode()) for name, value in kept.items()) > MAX_METADATA_BYTES:
            problem = f"at most {MAX_METADATA_BYTES} bytes, names and values together"
            raise InvalidRequest("The metadata is too large.", fields={"metadata": problem})
        target.metadata = kept
        target.save(update_fields=["metadata"])
    return True


def set_policy(target: Object, policy: Mapping[str, object]) -> None:
    """Replace what the version has of its own besides its bucket's policy."""
    target.policy = dict(policy)
    whole = policies.of(target)
    target.expires_at = whole.ends_at(target.created_at)
    target.save(update_fields=["policy", "expires_at"])


def ends_otherwise(target: Object, policy: Policy) -> bool:
    """Whether the version's time to live does not end when its policy says, as after that was changed."""
    end = policy.ends_at(target.created_at)
    if end is None or target.expires_at is None:
        return end != target.expires_at
    return abs(end - target.expires_at) > _MOMENT


def correct_end(target: Object, policy: Policy) -> None:
    """Let the version's time to live end when its policy says, unless somebody has changed it at this moment."""
    if ends_otherwise(target, policy):
        end = policy.ends_at(target.created_at)
        if Object.objects.filter(pk=target.pk, current=True, expires_at=target.expires_at).update(expires_at=end):
            target.expires_at = end


def set_demoting(target: Object, *, demoting: bool) -> None:
    """Note that the version's fast copies are to go, or are gone."""
    Object.objects.filter(pk=target.pk, current=True).update(demoting=demoting)


def rename(bucket: Bucket, source: str, target: str, *, after: str, limit: int) -> list[Moved]:
    """Let the next objects behind ``after`` whose keys begin with ``source`` begin with ``target``; in a transaction.

    Each counts as new at its new key: the version gets the next number and the present as its time, so that nobody
    takes it for what was there before, nor for what it was elsewhere. The old key keeps a tombstone, as if the object
    had been deleted there. Raises NameTaken where an object stands at a new key already, and InvalidKey.
    """
    below = Object.objects.filter(bucket=bucket, current=True, key__gt=after)
    # A folder's end is the end of its keys; an object's name stands for itself alone.
    chosen = below.filter(key__lt=behind(source)) if source.endswith("/") else below.filter(key=source)
    moving = list(chosen.select_for_update().order_by("key")[:limit])
    now, new = timezone.now(), {one.pk: check_key(target + one.key[len(source) :]) for one in moving}
    there = Object.objects.filter(bucket=bucket, key__in=new.values())
    if standing := there.filter(current=True).first():
        raise NameTaken(f"There is an object {standing.key!r} in the bucket {bucket}.")
    last = there.aggregate(last=Max("version"))["last"] or 0
    # The one above both, not above their sum: what goes to and fro would double its number and leave the column.
    Object.objects.filter(pk__in=new).update(
        key=Concat(Value(target), Substr("key", len(source) + 1)), version=Greatest("version", last) + 1, created_at=now
    )
    Object.objects.bulk_create(_tombstone(one, now) for one in moving)
    return [Moved(one, new[one.pk], max(one.version, last) + 1) for one in moving]


def pin(found: QuerySet[Object], *, most: int) -> list[Object]:
    """Pin those that are current, at most so many by their keys, and hold their rows until the transaction ends."""
    chosen = list(found.filter(current=True).order_by("bucket_id", "key").select_for_update(of=("self",))[:most])
    for start in range(0, len(chosen), _BATCH):
        batch = [target.pk for target in chosen[start : start + _BATCH]]
        Object.objects.filter(pk__in=batch, pinned=False).update(pinned=True)
    return chosen


def reinstate(target: Object, key: str) -> None:
    """Make a version whose bytes were kept the current one of a key at which nothing else stands; in a transaction.

    Like a renamed one it counts as new: it gets the next number, the present as its time, and all its time to live.
    """
    others = Object.objects.filter(bucket=target.bucket, key=key).exclude(pk=target.pk)
    last = max(target.version, others.aggregate(last=Max("version"))["last"] or 0)
    now = timezone.now()
    # A later version at the key that it leaves, as where it was replaced there, tells as much as a tombstone.
    later = Object.objects.filter(bucket=target.bucket, key=target.key, version__gt=target.version)
    left = [] if target.key == key or later.exists() else [_tombstone(target, now)]
    target.key, target.version, target.current, target.retired_at = key, last + 1, True, None
    target.created_at = now
    target.expires_at = policies.of(target).ends_at(target.created_at)
    target.save(update_fields=["key", "version", "current", "retired_at", "created_at", "expires_at"])
    Object.objects.bulk_create(left)


def _tombstone(one: Object, now: datetime) -> Object:
    """What a version leaves at its key that goes to another, so that what comes there next is known not to be it."""
    return Object(
        bucket_id=one.bucket_id,
        key=one.key,
        version=one.version + 1,
        current=False,
        state=ObjectState.DELETING,
        size=one.size,
        sha256=one.sha256,
        retired_at=now,
    )
