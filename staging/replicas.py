"""Replicas: how the catalog comes to know another copy, doubts one, and lets one go. Space is counted with each."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from adapters.base import ObjectStat
from staging import events, placement, policies, queue, reservations
from staging.errors import LeaseLost, StorageClosed
from staging.models import Object, Replica, Storage, Transfer
from staging.models.replica import STANDING
from staging.policies import Policy
from staging.states import Durability, ObjectState, ReplicaState, StorageState, TransferKind, WritePolicy

#: Readers of a fast copy are noted no more often than this.
_NOTED_EVERY = timedelta(minutes=1)
_NOT_WRONG = (ReplicaState.AVAILABLE, ReplicaState.SUSPECT)


def plan_copy(target: Object, storage: Storage, key: str, *, up_to_percent: int = 100) -> Replica:
    """The row before the bytes of a copy: its place and its space, taken.

    Raises NoSpace, and StorageClosed where another transfer has just planned one there.
    """
    try:
        with transaction.atomic():
            reservations.take_space(storage, target.size, up_to_percent=up_to_percent)
            return Replica.objects.create(
                object=target, storage=storage, key=key, size=target.size, state=ReplicaState.COPYING
            )
    except IntegrityError as exc:
        raise StorageClosed(f"Another transfer brings a copy to {storage} already.") from exc


def move_plan(copy: Replica, key: str) -> None:
    """Another attempt writes the copy to a key of its own, so that a late writer of the last one harms nothing.

    Raises LeaseLost where it is we who are late.
    """
    if not Replica.objects.filter(pk=copy.pk, key=copy.key, state=ReplicaState.COPYING).update(key=key):
        raise LeaseLost("Another attempt makes the copy, or it is made.")
    copy.key = key


def publish_copy(copy: Replica, stat: ObjectStat) -> bool:
    """The row after the bytes; only in the transaction that ends the transfer. False where nobody knows the copy, or
    another attempt has made its key the copy's.

    A version that was deleted meanwhile has its new copy removed with the others.
    """
    target = _locked(copy)
    published = Replica.objects.filter(pk=copy.pk, key=copy.key, state=ReplicaState.COPYING).update(
        state=ReplicaState.AVAILABLE, storage_version=stat.version, verified_at=timezone.now(), read_at=timezone.now()
    )
    if not published:
        return False
    Storage.objects.filter(pk=copy.storage_id).update(
        reserved_bytes=F("reserved_bytes") - copy.size, used_bytes=F("used_bytes") + copy.size
    )
    if not target.kept:
        schedule_removal(copy, target, timezone.now())
        return True
    tell_copied(target, copy)
    return True


def tell_copied(target: Object, copy: Replica) -> None:
    """A further copy is good; in the transaction that makes it so, with the version's row locked."""
    policy, good = policies.of(target), list(target.replicas.select_related("storage"))
    if is_needlessly_dirty(target, policy, good, policies.storages_of(target.bucket, policy)):
        clean(target)
    _record(target, "replica.created", storage=copy.storage.name, durability=placement.durability(good))
    _change(target, ObjectState.UNAVAILABLE, ObjectState.AVAILABLE)
    # It may have been on its way when the storage that it comes from was given up.
    _change(target, ObjectState.LOST, ObjectState.AVAILABLE)


def is_needlessly_dirty(target: Object, policy: Policy, copies: Sequence[Replica], named: Iterable[Storage]) -> bool:
    """Whether some copies are marked dirty, and the others are all that the policy asks for."""
    others = [copy for copy in copies if not copy.dirty]
    return len(others) < len(copies) and placement.satisfies(policy, target.bucket, others, named)


def clean(target: Object) -> None:
    """The version is safe where its policy wants it: its other copies are dirty no more."""
    Replica.objects.filter(object=target, dirty=True).update(dirty=False)


def drop_copy(copy: Replica) -> None:
    """Give up a copy whose bytes are gone from the storage, or never came."""
    with transaction.atomic():
        deleted, _ = Replica.objects.filter(pk=copy.pk, state=ReplicaState.COPYING).delete()
        if deleted:
            Storage.objects.filter(pk=copy.storage_id).update(reserved_bytes=F("reserved_bytes") - copy.size)


def of_place(replica: Replica) -> QuerySet[Replica]:
    """The rows of all versions whose bytes are these, its own among them."""
    return Replica.objects.filter(storage=replica.storage_id, key=replica.key)


def is_last(replica: Replica) -> bool:
    """Whether no other version has its bytes at this place; in a transaction, which others of the place wait for.

    A row is added to a place only beside one that is AVAILABLE. So the bytes of the last one, once it is to be removed,
    are nobody's for good.
    """
    rows = of_place(replica).select_for_update().order_by("pk")
    return all(row.pk == replica.pk for row in rows)


def forget(replica: Replica) -> None:
    """Remove a replica's row; of the last one of a place once its bytes are gone, and then their space is free."""
    with transaction.atomic():
        rows = list(of_place(replica).select_for_update().order_by("pk"))
        mine = next((row for row in rows if row.pk == replica.pk), None)
        if mine is None:
            return
        Replica.objects.filter(pk=mine.pk).delete()
        others = [row for row in rows if row.pk != mine.pk]
        if not others:
            Storage.objects.filter(pk=mine.storage_id).update(used_bytes=F("used_bytes") - mine.size)
        elif not mine.shares:
            Replica.objects.filter(pk=others[0].pk).update(shares=False)


def lose(replica: Replica) -> None:
    """The copy's storage is gone for good. A version that has none left, nor one that may be repaired, is lost."""
    if replica.state == ReplicaState.COPYING:
        drop_copy(replica)
    with transaction.atomic():
        target = _locked(replica)
        if target.replicas.filter(pk=replica.pk).exists():  # A move may have made it another version's.
            forget(replica)
        if not target.kept:
            return
        if target.replicas.filter(state__in=STANDING).exists():
            _tell_missing(target)
        else:
            _change(target, ObjectState.AVAILABLE, ObjectState.LOST)
            _change(target, ObjectState.UNAVAILABLE, ObjectState.LOST)


def frees(replica: Replica) -> bool:
    """Whether the removal of the copy, once it has begun, makes room: no other version keeps the bytes."""
    return not of_place(replica).exclude(pk=replica.pk).exclude(state=ReplicaState.DELETING).exists()


def schedule_removal(
    replica: Replica,
    target: Object,
    not_before: datetime,
    *,
    kind: TransferKind = TransferKind.DELETE,
    reason: str = "",
) -> Transfer:
    """Nobody reads the replica from now on, and a transfer removes its bytes."""
    Replica.objects.filter(pk=replica.pk).update(state=ReplicaState.DELETING)
    transfer = Transfer.objects.create(
        project_id=target.bucket.project_id,
        kind=kind,
        object=target,
        source=replica,
        target=replica.storage,
        label=f"{target.bucket}/{target.key}",
        size=replica.size,
        reason=reason,
        not_before=not_before,
    )
    queue.enqueue_transfer(transfer)
    return transfer


def let_go(replica: Replica, *, reason: str) -> Transfer | None:
    """Remove a copy that its object can do without; None where it cannot, and then nothing has changed.

    What remains must satisfy the policy: so many good copies where they persist, none of them dirty.
    """
    with transaction.atomic():
        target = _locked(replica)
        all_copies = list(target.replicas.select_related("storage"))
        mine = next((copy for copy in all_copies if copy.pk == replica.pk), None)
        policy = policies.of(target)
        if mine is None or mine.state != ReplicaState.AVAILABLE or mine.dirty or not target.kept:
            return None
        pinned_here = policy.pin and mine.storage.name == policy.lands_on
        if pinned_here and mine.storage.state != StorageState.DRAINING:
            return None
        # A copy whose node is silent may be gone: it is no reason to let another go.
        rest = [copy for copy in all_copies if copy.pk != mine.pk and copy.storage.state != StorageState.SUSPECT]
        if not placement.satisfies(policy, target.bucket, rest, policies.storages_of(target.bucket, policy)):
            return None
        if target.pinned and placement.durability(rest) != Durability.PERSISTED:
            return None
        now = timezone.now()
        return schedule_removal(mine, target, now, kind=TransferKind.EVICT, reason=reason)


def doubt(replica: Replica, why: str) -> bool:
    """A copy is out of reach: nobody reads it until it was read back whole. False where it was in doubt before."""
    with transaction.atomic():
        target = _locked(replica)
        found = Replica.objects.filter(pk=replica.pk, state=ReplicaState.AVAILABLE).update(state=ReplicaState.SUSPECT)
        if not found:
            return False
        _record(target, "replica.suspect", storage=replica.storage.name, why=why)
        _tell_missing(target)
    replica.state = ReplicaState.SUSPECT
    return True


def doubt_all(storages: QuerySet[Storage]) -> None:
    """Nobody reads what is on these storages until it was read back; the objects' states follow with that."""
    here = Replica.objects.filter(storage__in=storages, object__bucket__mounted=False, state=ReplicaState.AVAILABLE)
    here.update(state=ReplicaState.SUSPECT)


def condemn(replica: Replica, why: str, *, missing: bool = False) -> bool:
    """A copy is not what the catalog says: nobody reads it any more, by whichever version. False where somebody else
    saw to that.

    What the other versions of the place need of it is the reconciler's to see. Of ephemeral bytes that are ``missing``
    nothing is kept that somebody could repair.
    """
    found = _condemn(replica, why, missing)
    # Anew each time: until the last one is condemned another version may have come to share the place.
    while other := of_place(replica).filter(state__in=_NOT_WRONG).select_related("storage").first():
        _condemn(other, why, missing)
    return found


def _condemn(replica: Replica, why: str, missing: bool) -> bool:
    with transaction.atomic():
        target = _locked(replica)
        mine = Replica.objects.filter(pk=replica.pk, object=target)  # A move may have made it another version's.
        if not mine.filter(state__in=_NOT_WRONG).update(state=ReplicaState.BAD):
            return False
        replica.state = ReplicaState.BAD
        _record(target, "replica.bad", storage=replica.storage.name, why=why)
        _tell_missing(target)
        if missing and policies.of(target).write == WritePolicy.EPHEMERAL:
            schedule_removal(replica, target, timezone.now(), reason="its bytes are gone")
    return True


def confirm(replica: Replica) -> None:
    """A copy was read whole and is what the catalog says, perhaps again, of every version whose bytes these are."""
    for row in of_place(replica).exclude(state=ReplicaState.DELETING).select_related("storage"):
        _confirm(row)


def _confirm(replica: Replica) -> None:
    with transaction.atomic():
        target = _locked(replica)
        mine = Replica.objects.filter(pk=replica.pk, object=target)
        mine.update(verified_at=timezone.now())
        doubted = mine.filter(state__in=[ReplicaState.BAD, ReplicaState.SUSPECT])
        if doubted.update(state=ReplicaState.AVAILABLE):
            _record(target, "replica.good", storage=replica.storage.name)
            _change(target, ObjectState.UNAVAILABLE, ObjectState.AVAILABLE)
            _change(target, ObjectState.LOST, ObjectState.AVAILABLE)


def note_read(replica: Replica) -> None:
    """Remember about when a copy was read, and that it was read more than once."""
    now = timezone.now()
    if replica.read_at is None or now - replica.read_at > _NOTED_EVERY:
        Replica.objects.filter(pk=replica.pk).update(read_at=now, reads=F("reads") + 1)


def _locked(replica: Replica) -> Object:
    """The replica's version, whose row nobody else changes until the transaction ends; its bucket's is not locked."""
    rows = Object.objects.select_for_update(of=("self",)).select_related("bucket__storage")
    return rows.get(pk=replica.object_id)


def _tell_missing(target: Object) -> None:
    """Where no copy can be read the object cannot; what was to lie nowhere else is lost unless a node comes back."""
    if target.kept and not placement.reading_order(target.replicas.select_related("storage")):
        is_ephemeral = policies.of(target).write == WritePolicy.EPHEMERAL
        _change(target, ObjectState.AVAILABLE, ObjectState.LOST if is_ephemeral else ObjectState.UNAVAILABLE)


def _change(target: Object, old: ObjectState, new: ObjectState) -> None:
    if Object.objects.filter(pk=target.pk, state=old).update(state=new):
        _record(target, f"object.{new}")


def _record(target: Object, kind: str, **facts: object) -> None:
    events.record(
        target.bucket.project_id,
        kind,
        f"{target.bucket}/{target.key}",
        object=str(target.pk),
        version=target.version,
        **facts,
    )
