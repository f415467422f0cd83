"""How safe an upload is: told truthfully, and waited for by those who ask."""

import threading
import time

import pytest

from staging import buckets, transfers
from staging.models import Bucket, Storage, Transfer
from tests.place import Place
from tests.servers.process import wait_until
from tests.wire.desk import Desk
from tests.wire.line import Answer

WAIT = {"Prefer": "wait=persisted"}


@pytest.fixture
def landing(desk: Desk, place: Place) -> Bucket:
    """The managed bucket persists on a storage of tier 2, and lands on the place's own of tier 1."""
    root = place.root.with_name(f"{place.root.name}-vault")
    root.mkdir()
    vault = Storage.objects.create(
        project=place.project, name="vault", scheme="local", options={"root": str(root)}, tier=2
    )
    Bucket.objects.filter(pk=place.managed.pk).update(storage=vault)
    desk.place.managed = Bucket.objects.select_related("storage").get(pk=place.managed.pk)
    buckets.set_policy(desk.place.managed, {"write": "back", "lands_on": place.storage.name})
    return desk.place.managed


def test_who_asks_is_answered_when_the_object_is_persisted(desk: Desk, landing: Bucket) -> None:
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(desk.ask("PUT", desk.write(), WAIT, body=b"x" * 1000)))
    asking.start()
    try:
        wait_until(lambda: Transfer.objects.filter(priority=10).exists(), what="the flush is put first")
        assert not answers, "it is not persisted yet"
        transfers.run(str(Transfer.objects.get().pk))
    finally:
        asking.join(60)
    (answer,) = answers
    assert (answer.status, answer["Waybill-Durability"], answer["Preference-Applied"]) == (
        201,
        "persisted",
        "wait=persisted",
    )


def test_who_does_not_ask_is_told_the_truth_at_once(desk: Desk, landing: Bucket) -> None:
    answer = desk.ask("PUT", desk.write(), body=b"x")
    assert (answer.status, answer["Waybill-Durability"]) == (201, "local")
    assert "Preference-Applied" not in answer.headers
    transfers.run(str(Transfer.objects.get().pk))
    again = desk.ask("PUT", desk.write(), WAIT, body=b"x")
    assert (again.status, again["Waybill-Durability"], again["Preference-Applied"]) == (
        200,
        "persisted",
        "wait=persisted",
    )


def test_nobody_waits_for_what_nothing_works_on(desk: Desk, landing: Bucket) -> None:
    buckets.set_policy(landing, {"write": "ephemeral", "lands_on": "disk"})
    began = time.monotonic()
    answer = desk.ask("PUT", desk.write(), WAIT, body=b"x")
    assert (answer.status, answer["Waybill-Durability"]) == (201, "local")
    assert "Preference-Applied" not in answer.headers
    assert time.monotonic() - began < 30
