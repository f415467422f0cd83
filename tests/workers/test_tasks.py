"""What is sent is what a worker knows: names of tasks stand in three places that no import joins."""

from django.conf import settings
from kombu import Connection

from staging import chores, retiring
from staging.models import Transfer
from staging.states import TransferState
from tests.place import Place
from tests.staging.bodies import put
from workers import app, tasks
from workers.schedule import SCHEDULE


def test_the_message_of_a_transfer_names_a_task_that_does_it(place: Place) -> None:
    app.loader.import_default_modules()
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    with (
        Connection(settings.CELERY_BROKER_URL, transport_options=options) as broker,
        broker.SimpleQueue("eviction") as queue,
    ):
        queue.clear()
        retiring.delete(put(place, b"x" * 10).object)
        message = queue.get(timeout=10)
        message.ack()
    assert message.headers["expires"], "the sweep tells of it again, so that queues must not keep it for ever"
    arguments, _, _ = message.decode()
    app.tasks[message.headers["task"]](*arguments)
    assert Transfer.objects.get(pk=arguments[0]).state == TransferState.DONE
    assert place.files() == []


def test_every_entry_of_the_schedule_names_a_task() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in SCHEDULE.values()} <= set(app.tasks)


def test_the_sweeps_find_nothing_to_do_on_a_quiet_day(place: Place) -> None:
    put(place, b"x" * 10)
    tasks.sweep_transfers()
    tasks.sweep_leftovers()
    tasks.sweep_tiers()
    tasks.reconcile()
    tasks.scrub()
    assert len(place.files()) == 1


def test_of_several_schedulers_one_acts(place: Place) -> None:
    assert chores.is_due("a chore", every_s=60)
    assert not chores.is_due("a chore", every_s=60)
    assert chores.is_due("a chore", every_s=0)
    assert chores.is_due("another", every_s=60)


def test_a_worker_on_the_embedded_broker_looks_soon_for_what_comes_next() -> None:
    with app.connection_for_read() as connection:
        assert connection.transport.driver_type == "filesystem"
        assert connection.transport.polling_interval == 0.1
