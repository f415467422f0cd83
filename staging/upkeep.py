"""Upkeep: object by object what its policy lacks is made, and copy by copy what was not read for long is read back."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Sum
from django.utils import timezone

from staging import chores, policies, replication, retiring, transfers, versions
from staging.models import Bucket, Object, Replica, Transfer
from staging.models.replica import KEPT_OBJECT
from staging.planning import URGENT
from staging.replication import LIVE
from staging.states import ReplicaState, StorageState, TransferKind, TransferState

#: Rows that are looked at together, and how many times that one pass of the reconciler does so.
_AT_ONCE, _BATCHES = 500, 10
RECONCILE, SCRUB = "upkeep.reconcile", "upkeep.scrub"
_WITHIN = "flush_within_s"


def reconcile() -> int:
    """Queue what the next objects' policies ask for, and removals that had failed; returns how many transfers.

    Passes go through all objects. Those that lack nothing are looked at by the thousand; where many lack something, a
    pass ends sooner.
    """
    made, place = 0, chores.place(RECONCILE)
    with chores.apart("upkeep.removals"):
        made += replication.revive_removals(_AT_ONCE)
    for _ in range(_BATCHES):
        more, place = replication.reconcile(place, limit=_AT_ONCE)
        chores.note_place(RECONCILE, place)
        made += more
        if not place or made >= _AT_ONCE:
            break
    return made


def scrub(*, for_s: float) -> int:
    """Queue as many bytes to be read back as ``WAYBILL_SCRUB_BYTES_S`` allows for so many seconds; how many copies."""
    # What waits for a storage that does not answer keeps nothing of the others from its turn.
    live = Transfer.objects.filter(kind=TransferKind.VERIFY, state__in=LIVE, target__failing_since=None)
    budget = settings.SCRUB_BYTES_S * for_s - (live.aggregate(bytes=Sum("size"))["bytes"] or 0)
    old = timezone.now() - timedelta(seconds=settings.SCRUB_AFTER_S)
    due = Replica.objects.filter(
        KEPT_OBJECT,
        state=ReplicaState.AVAILABLE,
        verified_at__lt=old,
        object__bucket__mounted=False,
        storage__failing_since=None,
    ).exclude(storage__state__in=[StorageState.SUSPECT, StorageState.LOST])
    count = 0
    # What could not be read is a person's business: it stands among the transfers that failed.
    asked = [*LIVE, TransferState.FAILED]
    known = Transfer.objects.filter(kind=TransferKind.VERIFY, state__in=asked, source=OuterRef("pk"))
    due = due.exclude(Exists(known))
    # Of versions that share their bytes one stands for all.
    twins = Replica.objects.filter(
        storage=OuterRef("storage"), key=OuterRef("key"), pk__lt=OuterRef("pk"), state=ReplicaState.AVAILABLE
    )
    due = due.exclude(Exists(twins.filter(object__current=True)))
    for replica in due.select_related("object__bucket", "storage").order_by("verified_at")[:_AT_ONCE]:
        if budget <= 0:
            break
        with chores.apart("upkeep.verify", replica.object_id):
            replication.verify(replica, reason="it was not read back for long")
            budget -= replica.size
            count += 1
    return count


def expire() -> int:
    """Delete objects whose time to live is over; returns how many."""
    over = Object.objects.filter(current=True, expires_at__lte=timezone.now())
    ended = list(over.order_by("expires_at").values_list("pk", flat=True)[:_AT_ONCE])
    count = 0
    for name in ended:
        with chores.apart("upkeep.expire", name), transaction.atomic():
            # Somebody may have prolonged its life meanwhile, or restored it.
            target = over.select_for_update(of=("self",)).select_related("bucket").filter(pk=name).first()
            if target is None:
                continue
            # The bucket's policy may have changed, and not have come to it yet.
            versions.correct_end(target, policies.of(target))
            if target.expires_at and target.expires_at <= timezone.now():
                retiring.delete(target)
                count += 1
    return count


def hasten() -> int:
    """Put flushes first that were not done in the time that their policies give them; returns how many."""
    waiting = Transfer.objects.filter(kind=TransferKind.FLUSH, state=TransferState.QUEUED, priority__gt=URGENT)
    has_own = Q(object__policy__has_key=_WITHIN)
    # Those of each time apart, so that none hide behind others that may wait for longer.
    alike = [
        (waiting.filter(object__bucket=bucket).exclude(has_own), policies.of_bucket(bucket).flush_within_s)
        for bucket in Bucket.objects.filter(pk__in=waiting.order_by().values("object__bucket"))
    ]
    own = waiting.filter(has_own).order_by().values_list(f"object__policy__{_WITHIN}", flat=True).distinct()
    alike += [(waiting.filter(**{f"object__policy__{_WITHIN}": within_s}), within_s) for within_s in own]
    count = 0
    for flushes, within_s in alike:
        late = flushes.filter(created_at__lt=timezone.now() - timedelta(seconds=within_s))
        for transfer in late.order_by("created_at")[:_AT_ONCE]:
            with chores.apart("upkeep.hasten", transfer.pk):
                transfers.hasten(transfer)
                count += 1
    return count
