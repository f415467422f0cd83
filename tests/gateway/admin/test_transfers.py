"""Transfers in the admin: how far they are, stopped, and tried again."""

import html
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from staging import chores
from staging.models import Chore, Membership, Object, Transfer
from staging.states import Role
from tests.gateway.admin.conftest import People, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db


def make(lab: Lab, key: str = "results/table.csv", **how: Any) -> Transfer:
    """A transfer of an object of this key, which needs no bytes."""
    if not Object.objects.filter(bucket=lab.data, key=key).exists():
        lab.note(key)
    row = {"kind": "replicate", "size": 4 * 2**30, "reason": "the policy asks for 2 copies", "label": f"data/{key}"}
    if how.get("state") == "running":
        row |= {"lease_expires_at": timezone.now() + timedelta(hours=1)}
    target = Object.objects.get(bucket=lab.data, key=key)
    row |= {"project": lab.project, "object": target, "target": lab.storage, "not_before": timezone.now()}
    return Transfer.objects.create(**row | how)


def state(transfer: Transfer) -> str:
    transfer.refresh_from_db()
    return transfer.state


def test_a_row_tells_why_how_fast_and_how_long(lab: Lab, people: People) -> None:
    began = timezone.now() - timedelta(seconds=100)
    make(lab, state="running", bytes_done=2 * 2**30, start_offset=2**30, started_at=began)
    for address in (page("transfer", "changelist"), page("transfer", "change", Transfer.objects.get().pk), "/admin/"):
        shown = people.viewer.get(address)
        assert "10." in shown
        assert "MiB/s, 3 min" in shown, address
    assert "the policy asks for 2 copies" in people.viewer.get(page("transfer", "changelist"))


def test_a_transfer_that_waits_is_cancelled_at_once_and_one_that_runs_is_told(lab: Lab, people: People) -> None:
    waiting, running = make(lab), make(lab, "b", state="running")
    assert "was cancelled" in people.operator.confirms(page("transfer", "cancel", waiting.pk))
    assert state(waiting) == "cancelled"
    assert "will stop within seconds" in people.operator.confirms(page("transfer", "cancel", running.pk))
    assert state(running) == "running"
    assert running.cancelled_at is not None
    assert LogEntry.objects.filter(object_id=str(waiting.pk), user=people.operator.user).exists()


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"kind": "delete"}, "Bytes that are being removed cannot be kept"),
        ({"state": "done"}, "that is done cannot be cancelled"),
        ({"state": "failed"}, "that is failed cannot be cancelled"),
    ],
)
def test_what_cannot_be_cancelled_says_why(lab: Lab, people: People, row: dict[str, Any], why: str) -> None:
    transfer = make(lab, **row)
    assert page("transfer", "cancel", transfer.pk) not in people.operator.get(page("transfer", "change", transfer.pk))
    assert why in people.operator.confirms(page("transfer", "cancel", transfer.pk))
    assert state(transfer) == row.get("state", "queued")


def test_a_transfer_that_failed_is_tried_again(lab: Lab, people: People) -> None:
    transfer = make(lab, state="failed", attempts=12, error_code="access_denied", error_detail="refused our key")
    shown = people.operator.get(page("transfer", "change", transfer.pk))
    assert "refused our key" in shown
    assert page("transfer", "retry", transfer.pk) in shown
    assert page("transfer", "retry", transfer.pk) not in people.viewer.get(page("transfer", "change", transfer.pk))
    shown = people.operator.confirms(page("transfer", "retry", transfer.pk))
    assert "is queued anew" in shown
    assert (state(transfer), transfer.attempts, transfer.error_code) == ("queued", 0, "")
    assert "Only a transfer that failed" in people.operator.confirms(page("transfer", "retry", transfer.pk))


def test_many_are_stopped_only_once_somebody_has_said_yes_to_how_many(lab: Lab, other: Lab, people: People) -> None:
    mine = [make(lab, f"row-{number}") for number in range(8)]
    theirs = make(other, "theirs")
    address = page("transfer", "changelist")
    form = {"action": "cancel_chosen", "_selected_action": [str(row.pk) for row in (*mine[:7], theirs)]}
    asked = people.operator.client.post(address, form)
    shown = html.unescape(asked.content.decode())
    assert "Stop 7 transfers?" in shown
    assert (shown.count("replicate data/row-"), "and 2 more" in shown, "theirs" in shown) == (5, True, False)
    assert {state(row) for row in mine} == {"queued"}, "nothing is done by asking"
    # All that match are chosen; two more have come when it is confirmed.
    whole = form | {"_selected_action": [str(mine[0].pk)], "select_across": "1"}
    asked = people.operator.client.post(f"{address}?state__exact=queued", whole | {"confirmed": "7"})
    assert "Stop 8 transfers?" in asked.content.decode()
    assert {state(row) for row in mine} == {"queued"}
    people.operator.client.post(f"{address}?state__exact=queued", whole | {"confirmed": "8"})
    assert {state(row) for row in mine} == {"cancelled"}
    assert state(theirs) == "queued"


def test_the_last_error_is_shown_where_it_says_something_else(lab: Lab, people: People) -> None:
    first = {"error_code": "offline", "error_detail": "no route to host"}
    same = {"last_error_code": "offline", "last_error_detail": "no route to host"}
    other = {"last_error_code": "access_denied", "last_error_detail": "refused our key"}
    for key, last in (("same", same), ("other", other)):
        row = make(lab, key, state="failed", attempts=12, **first, **last)
        shown = people.viewer.get(page("transfer", "change", row.pk))
        assert "no route to host" in shown
        assert ("Last error of 12 attempts" in shown, "refused our key" in shown) == (key == "other", key == "other")
    assert people.viewer.get(page("transfer", "changelist")).count("last: access_denied") == 1


def test_list_actions_say_what_was_refused_and_why(lab: Lab, other: Lab, people: People) -> None:
    Membership.objects.create(project=other.project, user=people.operator.user, role=Role.VIEWER)
    failed, taken, theirs = make(lab, state="failed"), make(lab, "b", state="failed"), make(other, state="failed")
    make(lab, "b")
    said = people.operator.chooses("transfer", "retry_chosen", failed, taken, theirs)
    assert "1 of them is queued anew" in said
    assert "1 of them not: Another transfer does the same work already." in said
    assert "Your role does not allow this for 1 of them" in said
    assert [state(row) for row in (failed, taken, theirs)] == ["queued", "failed", "failed"]
    said = people.operator.chooses("transfer", "cancel_chosen", failed, taken)
    assert "1 of them was cancelled" in said
    assert "1 of them not: A transfer that is failed" in said


def test_the_dashboard_leads_to_all_that_failed(lab: Lab, other: Lab, people: People) -> None:
    for number in range(10):
        make(lab, f"failed-{number}", state="failed", error_code="access_denied")
    make(other, "theirs", state="failed")
    make(lab, "waiting")
    shown = people.viewer.get("/admin/")
    address = f"{page('transfer', 'changelist')}?state__exact=failed"
    assert f'href="{address}">All 10<' in shown
    assert "1 waiting, 10 failed" in shown
    listed = people.viewer.get(address)
    assert listed.count("data/failed-") >= 10
    assert "data/waiting" not in listed
    assert "theirs" not in listed


def test_superusers_are_told_what_failed_unexpectedly_in_a_sweep(lab: Lab, people: People) -> None:
    with chores.apart("drains.move", "an id"):
        raise KeyError("nobody thought of that")
    told = "drains.move failed unexpectedly"
    shown = people.root.get("/admin/")
    assert told in shown
    assert "KeyError an id" in shown
    assert told not in people.viewer.get("/admin/")
    Chore.objects.update(begun_at=timezone.now() - timedelta(hours=2))
    assert told not in people.root.get("/admin/")
