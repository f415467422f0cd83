"""A list of the admin costs the catalog as many queries however many rows it shows."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from staging.models import Checkpoint, CopyJob, Event, Node, Object, Storage, Transfer
from tests.gateway.admin.conftest import People, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db

FEW, MANY = 3, 40
NOW = timezone.now()


def objects(lab: Lab, start: int, count: int) -> None:
    lab.note(*(f"o/{number}" for number in range(start, start + count)))


def transfers(lab: Lab, start: int, count: int) -> None:
    objects(lab, start, count)
    rows = {"project": lab.project, "target": lab.storage, "not_before": NOW, "started_at": NOW, "state": "running"}
    rows |= {"kind": "replicate", "size": 9, "lease_expires_at": NOW + timedelta(days=1)}
    made = Object.objects.filter(key__startswith="o/").order_by("-created_at")[:count]
    Transfer.objects.bulk_create(Transfer(object=one, label=one.key, **rows) for one in made)


def copies(lab: Lab, start: int, count: int) -> None:
    """Running ones, and ones that failed, each with transfers."""
    rows = {"project": lab.project, "source_bucket": lab.data, "target_bucket": lab.raw, "not_before": NOW}
    states = ["running" if number % 2 else "failed" for number in range(count)]
    jobs = CopyJob.objects.bulk_create(CopyJob(state=state, bytes_found=9, started_at=NOW, **rows) for state in states)
    moved = {"project": lab.project, "target": lab.storage, "kind": "copy", "not_before": NOW, "bytes_done": 2}
    moved["lease_expires_at"] = NOW + timedelta(days=1)
    Transfer.objects.bulk_create(Transfer(job=job, state=job.state, **moved) for job in jobs)


def checkpoints(lab: Lab, start: int, count: int) -> None:
    numbers = range(start, start + count)
    Checkpoint.objects.bulk_create(Checkpoint(project=lab.project, name=f"c{n}", bucket=lab.data) for n in numbers)


def nodes(lab: Lab, start: int, count: int) -> None:
    """Each is being drained, with a storage."""
    times = {"seen_at": NOW, "started_at": NOW, "changed_at": NOW, "draining_since": NOW}
    numbers = range(start, start + count)
    made = Node.objects.bulk_create(Node(name=f"n{number}", url=f"http://{number}", **times) for number in numbers)
    how = {"project": lab.project, "scheme": "local", "options": {"root": "/x"}, "state": "draining", "drain_to": None}
    Storage.objects.bulk_create(Storage(name=f"{node}-ram", node=node, **how) for node in made)


def events(lab: Lab, start: int, count: int) -> None:
    Event.objects.bulk_create(Event(project=lab.project, kind="node.lost", subject="n") for _ in range(count))


@pytest.mark.parametrize(
    ("model", "grow"),
    [
        ("object", objects),
        ("transfer", transfers),
        ("copyjob", copies),
        ("checkpoint", checkpoints),
        ("node", nodes),
        ("storage", nodes),
        ("event", events),
    ],
)
def test_more_rows_take_no_more_queries(
    model: str, grow: Callable[[Lab, int, int], None], lab: Lab, people: People
) -> None:
    counts, start = [], 0
    people.root.get(page(model, "changelist"))
    for count in (FEW, MANY):
        grow(lab, start, count)
        start += count
        with CaptureQueriesContext(connection) as captured:
            people.root.get(page(model, "changelist"))
        counts.append(len(captured))
    assert counts[0] == counts[1] < 20


def test_a_list_of_copies_counts_what_their_transfers_do(lab: Lab, people: People) -> None:
    copies(lab, 0, 2)
    CopyJob.objects.update(objects_found=1)
    listed = people.viewer.get(page("copyjob", "changelist"))
    assert "0 of 1 so far" in listed
    assert "2 B of 9 B so far" in listed
    assert "1 failed" in listed
