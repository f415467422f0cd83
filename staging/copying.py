"""Copying: a transfer brings a version to another storage, all or nothing, from whichever copy can be read."""

from django.conf import settings
from django.db import transaction

from adapters.base import Adapter, ObjectStat, WriteSession
from adapters.errors import AdapterError, WriteLost
from staging import claims, placement, planning, policies, queue, reading, replicas, replication, sharing
from staging.claims import Claim
from staging.connections import release
from staging.errors import CopyDiffers, ObjectUnavailable, StorageClosed
from staging.models import Checkpoint, Object, Replica, Transfer
from staging.proving import is_proven
from staging.pump import Hasher, pump
from staging.states import CheckpointState, ReplicaState, StorageState, TransferKind, TransferState, VerifyMode
from staging.storages import adapter_for


def copy(transfer: Transfer, claim: Claim) -> None:
    """Bring the version to the transfer's target and register it there; a version that is gone ends the transfer.

    Raises what the storages raise, NoSpace, ObjectUnavailable, CopyDiffers, and what ends the claim. Then nothing of
    the copy is visible, and what of it can be used again is noted in ``transfer.token``.
    """
    target = transfer.object
    found = Replica.objects.filter(object=target, storage=transfer.target_id).first() if target else None
    if target is None or not target.kept:
        discard(transfer)
        claims.finish(transfer, TransferState.CANCELLED)
    elif found and found.state == ReplicaState.AVAILABLE:
        claims.finish(transfer, TransferState.DONE, bytes_done=target.size)
    elif transfer.target.state in (StorageState.DRAINING, StorageState.DRAINED):
        discard(transfer)
        if claims.finish(transfer, TransferState.CANCELLED):
            replication.settle(target)  # What the policy asks for goes where the drain leads.
    elif found and found.state != ReplicaState.COPYING:
        raise StorageClosed(f"An earlier copy on {transfer.target} is being removed.")
    else:
        _Copy(transfer, claim, target, found).run()


def discard(transfer: Transfer) -> None:
    """Leave nothing behind of a copy that will not be made. Raises what its storage raises."""
    planned = Replica.objects.filter(object=transfer.object_id, storage=transfer.target_id, state=ReplicaState.COPYING)
    if transfer.object_id and (left := planned.first()):
        adapter = adapter_for(transfer.target)
        release()
        _remove(adapter, left.key, transfer.token)
        replicas.drop_copy(left)


class _Copy:
    """One attempt."""

    def __init__(self, transfer: Transfer, claim: Claim, target: Object, planned: Replica | None) -> None:
        self._transfer, self._claim, self._target = transfer, claim, target
        self._policy = policies.of(target)
        self._planned = planned
        self._resumed = False

    def run(self) -> None:
        if self._transfer.target.state != StorageState.ACTIVE:
            raise StorageClosed(f"The storage {self._transfer.target} is {self._transfer.target.state}.")
        copies = reading.in_order(self._target.replicas.select_related("storage__credential", "storage__node"))
        if not copies:
            others = self._target.replicas.exclude(storage=self._transfer.target_id)
            placement.refuse_lost(self._target.state, others)
            raise ObjectUnavailable("No copy of the object can be read now.")
        if self._planned is None and self._share():
            return
        adapter = adapter_for(self._transfer.target)
        session = self._begin(adapter)
        with session:
            try:
                self._fill(session, copies)
                stat = session.publish()
            except (AdapterError, claims.WorkerStops) as exc:
                if exc.transient:
                    self._keep(adapter, session)
                raise
        self._prove(adapter, stat)
        self._register(adapter, stat)

    def _share(self) -> bool:
        """Where a version with the same bytes at one place has a good copy on the target, that is the copy then."""
        twin = sharing.twin_on(self._target, self._transfer.target)
        if twin is None:
            return False
        with transaction.atomic():
            known = claims.finish(self._transfer, TransferState.DONE, bytes_done=self._target.size)
            known = known and sharing.share_copy(self._target, twin)
            if not known:
                transaction.set_rollback(True)
        if known:
            self._is_there()
        return known

    def _begin(self, adapter: Adapter) -> WriteSession:
        """Go on where the last attempt let go, or begin anew at a key of this attempt's own."""
        if self._planned and self._transfer.token:
            token, self._transfer.token = self._transfer.token, ""
            claims.owned(self._transfer).update(token="")
            release()
            try:
                session = adapter.resume_write(token)
            except WriteLost:
                pass
            else:
                self._resumed = True
                return session
        mine = str(self._transfer.pk), self._transfer.fence
        key = placement.copy_key(self._target.bucket, str(self._target.pk), *mine)
        if self._planned is None:
            most = settings.HARD_WATER if self._transfer.kind == TransferKind.PROMOTE else 100
            self._planned = replicas.plan_copy(self._target, self._transfer.target, key, up_to_percent=most)
            release()
        else:
            release()
            _remove(adapter, self._planned.key, "")
            replicas.move_plan(self._planned, key)
            release()
        return adapter.open_write(key, size=self._target.size)

    def _fill(self, session: WriteSession, copies: list[Replica]) -> None:
        start, size = session.offset, self._target.size
        claims.owned(self._transfer).update(start_offset=start, bytes_done=start)
        found = reading.pinned(self._target, copies)
        with reading.open_stream(found, start, size) as stream, Hasher(["sha256"]) as hasher:
            pump(stream, session.write, hasher, on_progress=lambda _: self._claim.keep(session.offset))
            sha256 = hasher.finish()["sha256"].hex()
        self._claim.confirm(session.offset)
        if start == 0 and sha256 != self._target.sha256:
            for copy in copies:
                replication.verify(copy, reason="a copy of it had other bytes", priority=planning.URGENT)
            raise CopyDiffers("What was read is not what the object's digest says; its copies are verified.")

    def _keep(self, adapter: Adapter, session: WriteSession) -> None:
        """Note how the next attempt may go on; where the storage cannot, it begins anew."""
        if not adapter.traits.resumes or not session.offset:
            return
        try:
            self._transfer.bytes_done = session.offset
            self._transfer.token = session.suspend()
        except AdapterError:
            self._transfer.token = ""

    def _prove(self, adapter: Adapter, stat: ObjectStat) -> None:
        """What the policy wants to see of the copy; what came in pieces is always read back."""
        verify = VerifyMode.READ if self._resumed else self._policy.verify
        size = self._target.size
        if not is_proven(adapter, stat, self._target.sha256, verify, lambda _: self._claim.keep(size)):
            adapter.delete(stat.key)
            raise CopyDiffers(f"The storage {adapter.name} holds other bytes than were written.")

    def _register(self, adapter: Adapter, stat: ObjectStat) -> None:
        assert self._planned is not None
        with transaction.atomic():
            known = claims.finish(self._transfer, TransferState.DONE, bytes_done=self._target.size)
            known = known and replicas.publish_copy(self._planned, stat)
            if not known:
                transaction.set_rollback(True)
        release()
        if not known:
            adapter.delete(stat.key)  # This attempt's own key: whoever took over writes to another.
            return
        self._is_there()

    def _is_there(self) -> None:
        replication.settle(self._target)
        if self._target.pinned and placement.persists(self._transfer.target):
            _tell_checkpoints(self._target)


def _tell_checkpoints(target: Object) -> None:
    """Where these may be the last bytes that a checkpoint has waited for, have somebody look at once."""
    for checkpoint in Checkpoint.objects.filter(state=CheckpointState.PENDING, members__object=target):
        coming = Transfer.objects.filter(object__pins__checkpoint=checkpoint, kind__in=replication.COPYING)
        if not coming.filter(state__in=replication.LIVE).exists():
            queue.enqueue_checkpoint(checkpoint)


def _remove(adapter: Adapter, key: str, token: str) -> None:
    if token:
        adapter.abort_write(token)
    for unfinished in adapter.unfinished_writes(key):
        adapter.abort_write(unfinished)
    adapter.delete(key)
