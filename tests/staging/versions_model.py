"""What becomes of versions by the rules, and what must hold of the catalog and its bytes after every step."""

import hashlib
import sys
import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from hypothesis.stateful import RuleBasedStateMachine, invariant

from staging import (
    aliases,
    checkpoint_work,
    checkpoints,
    health,
    janitor,
    objects,
    reading,
    storages,
    transfers,
    upkeep,
)
from staging.alias_terms import AliasSpec
from staging.errors import StagingError
from staging.models import Alias, Bucket, Checkpoint, Event, Object, Replica, Storage, Transfer, Upload
from staging.replication import LIVE
from staging.states import AliasMode, OnExists, ReplicaState, TransferState
from tests.staging.yard import Yard, read

Place = tuple[str, str]


@dataclass
class Standing:
    """What readers see at a place: which version, with which bytes, and when it came there, counted in steps."""

    version: uuid.UUID
    data: bytes
    since: int


@dataclass
class Pinned:
    """A checkpoint of a bucket: its members by their keys, and when its restore was asked for."""

    row: Checkpoint
    bucket: str
    members: dict[str, tuple[uuid.UUID, bytes]]
    readers: list[Alias]
    asked: int | None = None
    followed: int = 0


@dataclass
class Crashed:
    """An upload that may be finished later, if nothing happened at its place since it ``began``."""

    place: Place
    data: bytes
    began: int


@dataclass
class Begun:
    """A download that somebody has begun through an alias, and may go on with."""

    alias: Alias
    sha256: str


class Model(RuleBasedStateMachine):
    """``standing`` is what readers must see; ``changed`` when something last happened at a place, counted in steps."""

    yard: Yard
    buckets: dict[str, Bucket]

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.standing: dict[Place, Standing] = {}
        self.pinned: dict[str, Pinned] = {}
        self.crashed: dict[uuid.UUID, Crashed] = {}
        self.begun: list[Begun] = []
        self.changed: dict[Place, int] = {}
        self.months = 0
        self.numbers: dict[tuple[str, str, int], uuid.UUID] = {}

    def sweep_checkpoints(self) -> None:
        checkpoint_work.sweep()
        for held in self.pinned.values():
            self._restored(held)
            assert held.row.restoring_since is None, "it would be overtaken for ever"
        assert not Checkpoint.objects.filter(released_at__isnull=False).exists()

    def sweep_leftovers(self) -> None:
        Upload.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        janitor.sweep()
        self._adopt()
        if self.months:  # It may have forgotten what was deleted then.
            self.numbers.clear()

    @invariant()
    def readers_see_exactly_what_the_rules_say(self) -> None:
        found = {
            (one.bucket.name, one.key): (one.pk, one.sha256)
            for one in Object.objects.filter(current=True).select_related("bucket")
        }
        assert found == {at: (one.version, sha256(one.data)) for at, one in self.standing.items()}
        for one in Object.objects.filter(current=True):
            assert sha256(read(one)) == one.sha256

    @invariant()
    def numbers_are_never_given_twice_and_the_current_has_the_highest(self) -> None:
        highest: dict[Place, Object] = {}
        for one in Object.objects.select_related("bucket").order_by("version"):
            at = (one.bucket.name, one.key)
            assert self.numbers.setdefault((*at, one.version), one.pk) == one.pk, f"again: {at} {one.version}"
            highest[at] = one
        for at in self.standing:
            assert highest[at].current

    @invariant()
    def who_has_begun_to_read_is_told_of_other_bytes(self) -> None:
        for begun in self.begun:
            try:
                found = reading.find(begun.alias)
            except StagingError:
                continue
            if found.sha256 != begun.sha256:
                assert found.replaced_at
                begun.alias.refresh_from_db(fields=["created_at"])
                assert found.replaced_at > begun.alias.created_at

    @invariant()
    def what_checkpoints_hold_can_be_read(self) -> None:
        for held in self.pinned.values():
            for alias in held.readers:
                version, data = held.members[alias.key]
                assert read(Object.objects.get(pk=version)) == data
                found = reading.find(alias)
                assert (found.object_id, found.sha256) == (version, sha256(data))

    @invariant()
    def every_good_copy_is_whole_and_what_goes_has_somebody_who_removes_it(self) -> None:
        for copy in Replica.objects.select_related("object", "storage"):
            if copy.state == ReplicaState.AVAILABLE:
                assert copy.object.current or copy.object.pinned
                assert sha256(self.yard.file(copy).read_bytes()) == copy.object.sha256
            elif copy.state == ReplicaState.DELETING:
                assert Transfer.objects.filter(source=copy, kind__in=["delete", "evict"], state__in=LIVE).exists()
        assert not Object.objects.filter(pinned=True, pins=None).exists()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self._come_to_rest()
        finally:
            self._clear()

    def _come_to_rest(self) -> None:
        self.sweep_leftovers()
        assert not Upload.objects.exists()
        for _ in range(9):
            checkpoint_work.sweep()
            upkeep.reconcile()
            self.yard.hurry()
            self._work_all()
        self.sweep_checkpoints()
        assert not Transfer.objects.filter(state__in=LIVE).exists(), "it does not come to rest"
        assert not Checkpoint.objects.exclude(state="complete").exists()
        self.readers_see_exactly_what_the_rules_say()
        self.yard.assert_all_is_counted()
        for held in self.pinned.values():
            checkpoints.release(held.row)
        for place in list(self.standing):
            objects.delete(self.buckets[place[0]], place[1])
        checkpoint_work.sweep()
        self.yard.hurry()
        self._work_all()
        assert not Replica.objects.exists()
        self.yard.assert_all_is_counted()

    def _clear(self) -> None:
        for model in (Checkpoint, Upload, Transfer, Replica, Object, Event, Alias):
            model.objects.all().delete()
        Storage.objects.update(used_bytes=0, reserved_bytes=0)
        for name in self.yard.storages:
            self.yard.faults(name).heal()
            for path in (self.yard.folder / name).rglob("*"):
                if path.is_file():
                    path.unlink()

    def _heal(self, storage: str) -> None:
        self.yard.faults(storage).heal()
        storages.close_adapters()  # They know that it failed.
        health.forget_all()

    def _work_all(self) -> None:
        while self._work_one():
            pass

    def _work_one(self) -> bool:
        due = Transfer.objects.filter(state=TransferState.QUEUED, not_before__lte=timezone.now())
        transfer = due.order_by("priority", "not_before").first()
        if transfer:
            transfers.run(str(transfer.pk))
        return transfer is not None

    def _tick(self) -> int:
        self.now += 1
        return self.now

    def _stands(self, place: Place, version: uuid.UUID, data: bytes) -> None:
        self.standing[place] = Standing(version, data, self._tick())
        self.changed[place] = self.now

    def _goes(self, place: Place) -> None:
        del self.standing[place]
        self.changed[place] = self._tick()

    def _near(self, place: Place) -> Place:
        """The place if something stands there, else one where something does."""
        return place if place in self.standing else min(self.standing)

    def _below(self, bucket: str, prefix: str) -> list[Place]:
        return [at for at in self.standing if at[0] == bucket and at[1].startswith(prefix)]

    def _restored(self, held: Pinned) -> None:
        """Follow a restore as far as it has come."""
        if held.asked is None:
            return
        held.row.refresh_from_db()
        is_over = held.row.restoring_since is None
        for row in held.row.members.filter(pk__gt=held.followed).order_by("pk"):
            if not is_over and row.pk > held.row.place:
                break
            held.followed = row.pk
            version, data = held.members[row.key]
            at = (held.bucket, row.key)
            there = self.standing.get(at)
            if there and (there.version == version or there.since > held.asked):
                continue
            for other in [other for other, one in self.standing.items() if one.version == version]:
                self._goes(other)
            self._stands(at, version, data)
        if is_over:
            held.asked, held.followed = None, 0

    def _adopt(self) -> None:
        """What a writer had finished stands now, unless something happened at its place since."""
        for upload, one in list(self.crashed.items()):
            found = Object.objects.filter(pk=upload).select_related("bucket").first()
            if found and upload not in {at.version for at in self.standing.values()}:
                assert self.changed.get(one.place, 0) <= one.began, "it came behind something newer"
                assert found.current
                self._stands(one.place, upload, one.data)
            if not Upload.objects.filter(pk=upload).exists():
                del self.crashed[upload]

    def _writer(self, place: Place, mode: OnExists) -> Alias:
        bucket = Bucket.objects.select_related("storage").get(pk=self.buckets[place[0]].pk)
        return aliases.create(bucket, [AliasSpec(AliasMode.WRITE, place[1], on_exists=mode)])[0]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
