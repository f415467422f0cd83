"""Pressure: more is written than a fast storage holds, while readers want some of it again and again."""

import hashlib
import random
import threading
from collections.abc import Callable
from itertools import accumulate

from django.db import connection
from django.utils import timezone

from staging import cache_room, catalog, placement, reading, tiers, transfers
from staging.models import Bucket, Storage, Transfer
from staging.states import TransferState
from tests.staging.test_read_cache import wait_until_filled
from tests.staging.yard import BACK, Yard

SIZE, CAPACITY, COUNT = 16 * 1024, 24 * 16 * 1024, 48


class Crew:
    """Threads that repeat what they do until the end; what one of them raises fails the test."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._raised: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[], object]) -> None:
        thread = threading.Thread(target=self._run, args=[work])
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(60)
        assert not self._raised, self._raised

    def _run(self, work: Callable[[], object]) -> None:
        try:
            while not self.over.wait(0.05):
                work()
        except BaseException as exc:  # noqa: BLE001  It is raised again in the test.
            self._raised.append(exc)
        finally:
            connection.close()


def test_twice_the_capacity_is_written_under_reads_and_the_hard_mark_holds(yard: Yard) -> None:
    Storage.objects.filter(name="fast").update(capacity_bytes=CAPACITY)
    bucket = Bucket.objects.select_related("storage").get(pk=yard.bucket(**BACK, cache="read").pk)
    written: list[str] = []
    filled: list[int] = []
    counts = {"fast": 0, "reads": 0}

    def move() -> None:
        tiers.relieve()
        cache_room.sweep()
        due = Transfer.objects.filter(state=TransferState.QUEUED, not_before__lte=timezone.now())
        for name in list(due.order_by("priority").values_list("pk", flat=True)[:5]):
            transfers.run(str(name))

    def read() -> None:
        if not written:
            return
        ranks = accumulate(1 / rank for rank in range(1, len(written) + 1))
        [key] = random.choices(written, cum_weights=list(ranks))
        target = catalog.current(bucket, key)
        assert target
        copies = placement.reading_order(target.replicas.all())
        with tiers.open_stream(bucket, reading.pinned(target, copies), 0, target.size) as stream:
            data = b"".join(iter(stream.read, b""))
        assert hashlib.sha256(data).hexdigest() == target.sha256
        counts["reads"] += 1
        counts["fast"] += copies[0].storage.name == "fast"

    def look() -> None:
        fast = yard["fast"]
        filled.append(fast.used_bytes + fast.reserved_bytes)

    crew = Crew()
    for work in (move, move, read, read, look):
        crew.start(work)
    try:
        for number in range(COUNT):
            yard.put(bucket, str(number), random.Random(number).randbytes(SIZE))
            written.append(str(number))
    finally:
        crew.end()
    wait_until_filled()
    assert max(filled) <= CAPACITY * 0.95
    assert counts["reads"], "somebody read"
    yard.hurry()
    yard.work(most=500)
    tiers.relieve()
    cache_room.sweep()
    yard.work(most=500)
    for number in range(COUNT):
        target = yard.current(bucket, str(number))
        assert target
        assert "home" in yard.where(target)
        content = yard.file(yard.copy_on(target, "home")).read_bytes()
        assert hashlib.sha256(content).hexdigest() == target.sha256
    assert yard["fast"].used_bytes <= CAPACITY * 0.80
    yard.assert_all_is_counted()
