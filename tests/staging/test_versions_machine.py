"""Versions go where the rules say, and nobody is given others' bytes, in whatever order objects are written, deleted,
renamed, moved, shared, pinned, restored and let go, and whenever work on that is done.
"""

import os
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from adapters.errors import AdapterError, Unavailable
from staging import aliases, checkpoints, objects, reading, renaming, sharing, upkeep, writing
from staging.alias_terms import AliasSpec
from staging.checkpoints import CheckpointSpec
from staging.errors import ContentDiffers, InvalidRequest, NameTaken, NotFound
from staging.models import Alias, Checkpoint, Object, Transfer, Upload
from staging.offers import Offer
from staging.states import AliasMode, CopyOnExists, OnExists
from tests.staging.bodies import Body
from tests.staging.versions_model import Begun, Crashed, Model, Pinned, Place
from tests.staging.yard import BACK, TWO, Yard

PLACES = st.sampled_from([("one", "d/a"), ("one", "e/a"), ("two", "d/a")])
DATA = st.sampled_from([b"", b"one", b"two" * 100])
FOLDERS = st.sampled_from(["", "d/"])
MODES = st.sampled_from([OnExists.REPLACE, OnExists.REPLACE, OnExists.FAIL])
NAMES = st.sampled_from(["x", "y"])
STORAGES = st.sampled_from(["fast", "home", "far"])
STEPS = st.sampled_from(["stat", "open_read", "open_write", "publish", "published", "delete", "deleted"])
#: Longer than tombstones are kept.
DAY, MONTH = timedelta(days=1), timedelta(days=31)
BUCKETS = st.sampled_from(["one", "two"])


class Versions(Model):
    """What people do, and what workers do of it."""

    @initialize(data=DATA, is_pinned=st.booleans())
    def begin(self, data: bytes, is_pinned: bool) -> None:
        """Much of what can go wrong begins with a checkpoint that can be restored."""
        self.put(("one", "d/a"), data, OnExists.REPLACE)
        if is_pinned:
            self.take_checkpoint("x", "one", "", completes=True)

    @rule(place=PLACES, data=DATA, mode=MODES)
    def put(self, place: Place, data: bytes, mode: OnExists) -> None:
        before = self.standing.get(place)
        try:
            receipt = writing.receive(self._writer(place, mode), Offer(len(data)), Body(data))
        except ContentDiffers:
            assert before
            assert before.data != data
            assert mode == OnExists.FAIL
        else:
            assert receipt.replayed == (before is not None and before.data == data)
            if receipt.replayed:
                self.changed[place] = self._tick()
            else:
                self._stands(place, receipt.object.pk, data)

    @rule(place=PLACES, data=DATA, mode=MODES, step=STEPS)
    def put_while_a_storage_fails(self, place: Place, data: bytes, mode: OnExists, step: str) -> None:
        storage = {"one": "fast", "two": "home"}[place[0]]
        known = set(Upload.objects.values_list("pk", flat=True))
        before = self.standing.get(place)
        self.yard.faults(storage).fail(step, Unavailable)
        try:
            receipt = writing.receive(self._writer(place, mode), Offer(len(data)), Body(data))
        except AdapterError:
            for left in Upload.objects.exclude(pk__in=known):
                self.crashed[left.pk] = Crashed(place, data, self._tick())
        except ContentDiffers:
            assert before
            assert before.data != data
        else:
            if not receipt.replayed:
                self._stands(place, receipt.object.pk, data)
        finally:
            self._heal(storage)

    @rule(place=PLACES)
    @precondition(lambda self: self.standing)
    def delete(self, place: Place) -> None:
        place = self._near(place)
        objects.delete(self.buckets[place[0]], place[1])
        self._goes(place)

    @rule(place=PLACES, is_folder=st.booleans())
    @precondition(lambda self: self.standing)
    def rename(self, place: Place, is_folder: bool) -> None:
        bucket, key = self._near(place)
        source, to = ("d/", "e/") if key == "d/a" else ("e/", "d/")
        if is_folder:
            self._rename(bucket, source, to, dict.fromkeys(self._below(bucket, source), (bucket, f"{to}a")))
        else:
            self._rename(bucket, f"{source}a", f"{to}a", {(bucket, key): (bucket, f"{to}a")})

    def _rename(self, bucket: str, source: str, to: str, moves: dict[Place, Place]) -> None:
        moves = {old: new for old, new in moves.items() if old in self.standing}
        try:
            renaming.rename(self.buckets[bucket], source, to)
        except NotFound:
            assert not moves
        except NameTaken:
            assert any(new in self.standing for new in moves.values())
        else:
            if source == to:
                return
            found = [(new, self.standing[old]) for old, new in moves.items()]
            for old in moves:
                self._goes(old)
            for new, one in found:
                assert new not in self.standing
                self._stands(new, one.version, one.data)

    @rule(place=PLACES, to=PLACES, how=st.sampled_from(list(CopyOnExists)), moves=st.booleans())
    @precondition(lambda self: self.standing)
    def share(self, place: Place, to: Place, how: CopyOnExists, moves: bool) -> None:
        place = self._near(place)
        if place != to:
            self._share({place: to}, how, moves)

    @rule(
        folder=FOLDERS,
        way=st.permutations(["one", "two"]),
        how=st.sampled_from(list(CopyOnExists)),
        moves=st.booleans(),
    )
    @precondition(lambda self: self.standing)
    def share_folder(self, folder: str, way: list[str], how: CopyOnExists, moves: bool) -> None:
        pairs = {at: (way[1], at[1]) for at in self._below(way[0], folder)}
        if pairs:
            self._share(pairs, how, moves)

    def _share(self, pairs: dict[Place, Place], how: CopyOnExists, moves: bool) -> None:
        ((source, target),) = {(old[0], new[0]) for old, new in pairs.items()}
        keys = {old[1]: new[1] for old, new in pairs.items()}
        found = sharing.share(self.buckets[source], self.buckets[target], keys, on_exists=how, moves=moves)
        done = {one.pk for one in found.done}
        for old, new in pairs.items():
            one, before = self.standing.get(old), self.standing.get(new)
            if one is None or (before and before.data != one.data and how == CopyOnExists.FAIL):
                assert old[1] in found.failed
            elif before and before.data != one.data and how == CopyOnExists.SKIP:
                assert one.version in {left.pk for left in found.skipped}
            else:
                assert one.version in done, found
                if before is None or before.data != one.data:
                    made = self.yard.current(self.buckets[target], new[1])
                    assert made
                    assert made.pk != one.version
                    self._stands(new, made.pk, one.data)
                if moves:
                    self._goes(old)

    @rule(name=NAMES, bucket=BUCKETS, prefix=FOLDERS, completes=st.booleans())
    @precondition(lambda self: self.standing)
    def take_checkpoint(self, name: str, bucket: str, prefix: str, completes: bool) -> None:
        members = {at[1]: one for at, one in self.standing.items() if at[0] == bucket and at[1].startswith(prefix)}
        try:
            row, replayed = checkpoints.create(self.yard.project, CheckpointSpec(name, self.buckets[bucket], prefix))
        except NameTaken:
            assert name in self.pinned or Checkpoint.objects.filter(name=name, released_at__isnull=False)
        except InvalidRequest:
            assert not members
        else:
            if not replayed:
                held = {key: (one.version, one.data) for key, one in sorted(members.items())}
                readers = [checkpoints.read_alias(row, bucket, key) for key in held]
                self.pinned[name] = Pinned(row, bucket, held, readers)
            if completes:
                self.yard.hurry()
                self._work_all()
                self.sweep_checkpoints()

    @rule(name=NAMES)
    @precondition(lambda self: self.pinned)
    def restore(self, name: str) -> None:
        held = self.pinned.get(name) or next(iter(self.pinned.values()))
        held.row.refresh_from_db()
        try:
            checkpoints.restore(held.row)
        except InvalidRequest:
            assert held.row.state == "pending"
            return
        if held.asked is None:
            held.asked = self._tick()
        self._restored(held)

    @rule(name=NAMES)
    @precondition(lambda self: self.pinned)
    def release(self, name: str) -> None:
        held = self.pinned.pop(name, None)
        if held:
            checkpoints.release(held.row)
            held.asked = None

    @rule(place=PLACES, is_over=st.booleans())
    @precondition(lambda self: self.standing)
    def expire(self, place: Place, is_over: bool) -> None:
        place = self._near(place)
        life = DAY if is_over else 120 * MONTH
        here = Object.objects.filter(bucket=self.buckets[place[0]], key=place[1], current=True)
        if is_over:
            here.update(created_at=timezone.now() - 2 * DAY)
        here.update(policy={"ttl_s": life // timedelta(seconds=1)}, expires_at=F("created_at") + life)
        upkeep.expire()
        if is_over:
            self._goes(place)

    @rule(place=PLACES)
    @precondition(lambda self: self.standing)
    def demote(self, place: Place) -> None:
        place = self._near(place)
        objects.demote(self.buckets[place[0]], place[1])

    @rule(most=st.integers(1, 5))
    def work(self, most: int) -> None:
        self.yard.hurry()
        for _ in range(most):
            self._work_one()

    @rule(storage=STORAGES, step=STEPS)
    def work_while_a_storage_fails(self, storage: str, step: str) -> None:
        self.yard.faults(storage).fail(step, Unavailable)
        self.work(3)
        self._heal(storage)

    @rule(chore=st.sampled_from(["reconcile", "leftovers", "checkpoints", "month"]))
    def sweep(self, chore: str) -> None:
        if chore == "reconcile":
            upkeep.reconcile()
        elif chore == "leftovers":
            self.sweep_leftovers()
        elif chore == "checkpoints":
            self.sweep_checkpoints()
        else:
            self._let_a_month_pass()

    def _let_a_month_pass(self) -> None:
        self.sweep_leftovers()
        for model, names in (
            (Object, ("created_at", "retired_at")),
            (Alias, ("created_at",)),
            (Transfer, ("created_at", "finished_at")),
            (Upload, ("created_at",)),
            (Checkpoint, ("restoring_since",)),
        ):
            model.objects.update(**{name: F(name) - MONTH for name in names})
        self.months += 1
        self.sweep_leftovers()

    @rule(place=PLACES)
    @precondition(lambda self: self.standing)
    def begin_to_read(self, place: Place) -> None:
        place = self._near(place)
        alias = aliases.create(self.buckets[place[0]], [AliasSpec(AliasMode.READ, place[1])])[0]
        self.begun = [*self.begun[-2:], Begun(alias, reading.find(alias).sha256)]


@pytest.fixture
def versions(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> type[Versions]:
    # One member at a time, so that other things happen in the middle of a restore.
    monkeypatch.setattr("staging.checkpoint_work._AT_ONCE", 1)
    monkeypatch.setattr("staging.queue._send", lambda *_: None)
    buckets = {"one": yard.bucket("one", **BACK), "two": yard.bucket("two", **TWO)}
    return type("Here", (Versions,), {"yard": yard, "buckets": buckets})


def test_a_restore_over_a_renaming_and_an_upload_comes_to_rest(versions: type[Versions]) -> None:
    """Chance seldom plays this one, which once was never over."""
    played = versions()
    played.begin(b"one", is_pinned=True)
    played.rename(("one", "d/a"), is_folder=False)
    played.put(("one", "e/a"), b"", OnExists.REPLACE)
    played.restore("x")
    played.readers_see_exactly_what_the_rules_say()
    played.teardown()


def test_versions_go_where_the_rules_say(versions: type[Versions]) -> None:
    run_state_machine_as_test(
        versions,
        settings=settings(
            # Whoever changes what is played here plays more; in between the same is played every time.
            max_examples=int(os.environ.get("EXAMPLES", 10)),
            derandomize="EXAMPLES" not in os.environ,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
