"""The catalog's invariants hold in whatever order things are written, replaced, deleted, interrupted and settled."""

import hashlib
import uuid

import pytest
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from adapters.errors import AdapterError, Unavailable
from staging import catalog, janitor, reading, retiring, sharing, tally, transfers, writing
from staging.errors import StagingError
from staging.models import Event, Object, Replica, Storage, Transfer, Upload
from staging.states import AliasMode, CopyOnExists, OnExists, TransferState
from staging.writing import Offer
from tests.place import Place
from tests.servers.faulty import Faults
from tests.staging.bodies import Body, put, raising

KEYS = st.sampled_from(["a", "b/c"])
DATA = st.sampled_from([b"", b"one", b"two" * 100])
MODES = st.sampled_from(list(OnExists))
STEPS = st.sampled_from(["open_write", "write", "publish", "published", "abort"])


class Interrupt(BaseException):
    """What ends a thread from outside."""


def machine_on(place: Place, faults: Faults) -> type[RuleBasedStateMachine]:
    class Catalog(RuleBasedStateMachine):
        """``visible`` is what readers must see; an upload that crashed may add its content later."""

        def __init__(self) -> None:
            super().__init__()
            self.folder = uuid.uuid4().hex
            self.visible: dict[str, bytes] = {}
            self.crashed: dict[str, set[bytes]] = {}
            self.versions: dict[uuid.UUID, tuple[int, str]] = {}

        @rule(key=KEYS, data=DATA, mode=MODES, stream=st.booleans())
        def write(self, key: str, data: bytes, mode: OnExists, stream: bool) -> None:
            alias = place.alias(f"{self.folder}/{key}", AliasMode.WRITE, on_exists=mode, allow_empty_stream=True)
            before = self.visible.get(key)
            try:
                receipt = writing.receive(alias, Offer(None if stream else len(data)), Body(data, piece=7))
            except StagingError:
                assert before not in (None, data)
                assert mode == OnExists.FAIL
            else:
                assert receipt.replayed == (before == data)
                self._committed(key, data)

        @rule(key=KEYS, data=DATA, mode=MODES, step=STEPS)
        def write_while_the_storage_fails(self, key: str, data: bytes, mode: OnExists, step: str) -> None:
            faults.fail(step, Unavailable)
            try:
                put(place, data, key=f"{self.folder}/{key}", on_exists=mode)
            except AdapterError:
                if step == "published":
                    self.crashed.setdefault(key, set()).add(data)
            except StagingError:
                assert self.visible[key] != data
            else:
                self._committed(key, data)
            faults.heal()

        @rule(key=KEYS, data=DATA)
        def write_and_be_interrupted(self, key: str, data: bytes) -> None:
            alias = place.alias(f"{self.folder}/{key}", AliasMode.WRITE, on_exists=OnExists.REPLACE)
            with pytest.raises(Interrupt):
                writing.receive(alias, Offer(1000), Body(data, at_end=raising(Interrupt())))

        @rule(key=KEYS)
        def delete(self, key: str) -> None:
            current = catalog.current(place.managed, f"{self.folder}/{key}")
            if current:
                retiring.delete(current)
                del self.visible[key]

        @rule(key=KEYS, other=KEYS, how=st.sampled_from(list(CopyOnExists)), moves=st.booleans())
        def copy(self, key: str, other: str, how: CopyOnExists, moves: bool) -> None:
            if key == other:
                return
            data, before = self.visible.get(key), self.visible.get(other)
            keys = {f"{self.folder}/{key}": f"{self.folder}/{other}"}
            found = sharing.share(place.managed, place.managed, keys, on_exists=how, moves=moves)
            if data is None or (before not in (None, data) and how == CopyOnExists.FAIL):
                assert list(found.failed) == list(keys)
            elif before not in (None, data) and how == CopyOnExists.SKIP:
                assert found.skipped
            else:
                assert found.done
                self._committed(other, data)
                if moves:
                    del self.visible[key]

        @rule()
        def let_a_worker_fail(self) -> None:
            faults.fail("delete", Unavailable)
            self.let_a_worker_run()
            faults.heal()

        @rule()
        def let_the_janitor_run(self) -> None:
            place.sweep()
            self._take_over_what_was_adopted()

        @rule()
        def let_a_worker_run(self) -> None:
            Transfer.objects.update(not_before=timezone.now())
            for transfer in Transfer.objects.filter(state=TransferState.QUEUED):
                transfers.run(str(transfer.pk))

        @invariant()
        def readers_see_exactly_what_was_acknowledged(self) -> None:
            for key, data in self.visible.items():
                found = reading.find(place.alias(f"{self.folder}/{key}"))
                assert found.sha256 == hashlib.sha256(data).hexdigest()
                with reading.open_stream(found, 0, found.size) as stream:
                    assert stream.read() == data
            assert Object.objects.filter(current=True).count() == len(self.visible)

        @invariant()
        def a_version_never_changes(self) -> None:
            for made in Object.objects.all():
                assert self.versions.setdefault(made.id, (made.size, made.sha256)) == (made.size, made.sha256)

        @invariant()
        def counts_are_the_sum_of_the_rows(self) -> None:
            storage = Storage.objects.get(pk=place.storage.pk)
            assert storage.reserved_bytes == sum(Upload.objects.values_list("reserved_bytes", flat=True))
            places = dict(Replica.objects.values_list("key", "size"))
            assert storage.used_bytes == sum(places.values())
            assert Replica.objects.filter(shares=False).count() == len(places)
            assert not tally.drift(storage)

        @invariant()
        def every_listed_byte_is_there(self) -> None:
            assert set(Replica.objects.values_list("key", flat=True)) <= set(place.files())

        @invariant()
        def each_version_was_told_once(self) -> None:
            told = Event.objects.filter(kind__in=["object.created", "object.replaced"]).count()
            assert told == Object.objects.count()

        def teardown(self) -> None:
            place.sweep()
            self.let_a_worker_run()
            place.assert_nothing_is_left()
            for model in (Upload, Transfer, Replica, Object, Event):
                model.objects.all().delete()
            Storage.objects.update(used_bytes=0)
            for name in place.files():
                (place.root / name).unlink()

        def _committed(self, key: str, data: bytes) -> None:
            if self.visible.get(key) != data:
                self.crashed.pop(key, None)
            self.visible[key] = data

        def _take_over_what_was_adopted(self) -> None:
            """The janitor may publish what a writer had finished, unless something newer was committed meanwhile."""
            for key, contents in self.crashed.items():
                current = catalog.current(place.managed, f"{self.folder}/{key}")
                for data in contents:
                    if current and current.sha256 == hashlib.sha256(data).hexdigest():
                        self.visible[key] = data
            self.crashed.clear()

    return Catalog


def test_the_catalogs_invariants_hold(faulty_place: Place, faults: Faults) -> None:
    run_state_machine_as_test(
        machine_on(faulty_place, faults),
        settings=settings(
            max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert janitor.sweep().removed == 0
    assert not Storage.objects.exclude(used_bytes=F("reserved_bytes")).exists()
