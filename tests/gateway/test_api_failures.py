"""Producers that have given up, over the API: one alias, a group, again, and what is refused."""

import pytest

from staging.models import Alias, Event
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db

WRITE = {"bucket": "data", "key": "run/out", "mode": "write", "labels": {"job": "7"}}


def test_a_failed_producer_is_marked_once_with_the_first_reason(lab: Lab) -> None:
    made = lab.operator.make("aliases", WRITE)
    assert (made["failed_at"], made["failure"]) == (None, "")
    for reason in ("exit status 137", "another reason"):
        answer = lab.operator("POST", f"aliases/{made['id']}/fail", {"reason": reason})
        assert (answer.status_code, answer.json()["failure"]) == (200, "exit status 137")
        assert answer.json()["failed_at"]
    [event] = Event.objects.filter(kind="alias.failed")
    assert (event.subject, event.facts) == ("write data/run/out", {"alias": made["id"]})
    assert lab.operator.get(f"aliases/{made['id']}")["state"] == "live"


def test_a_failed_job_is_marked_by_its_label_and_its_inputs_are_left_alone(lab: Lab) -> None:
    lab.operator.make("aliases", [{**WRITE, "key": f"run/{number}"} for number in range(3)])
    lab.operator.make("aliases", {**WRITE, "mode": "read"})
    lab.operator.make("aliases", {**WRITE, "labels": {"job": "8"}})
    group = {"labels": {"job": "7"}, "reason": "node lost"}
    assert lab.operator("POST", "aliases/fail", group).json() == {"failed": 3}
    assert lab.operator("POST", "aliases/fail", group).json() == {"failed": 0}
    failed = Alias.objects.filter(failed_at__isnull=False)
    assert {(alias.key, alias.failure) for alias in failed} == {(f"run/{number}", "node lost") for number in range(3)}
    assert Event.objects.filter(kind="alias.failed").count() == 3


def test_what_cannot_fail_is_refused(lab: Lab) -> None:
    read, write = (lab.operator.make("aliases", {**WRITE, "mode": mode})["id"] for mode in ("read", "write"))
    lab.operator.refused("POST", f"aliases/{read}/fail", {}, status=400)
    for reason in ("x" * 256, "two\nlines", 7):
        problem = lab.operator.refused("POST", f"aliases/{write}/fail", {"reason": reason}, status=400)
        assert list(problem["fields"]) == ["reason"]
    lab.operator.refused("POST", "aliases/fail", {"reason": "no group"}, status=400)
    lab.operator.refused("POST", f"aliases/{write}/fail", {"why": ""}, status=400)
    assert not Alias.objects.filter(failed_at__isnull=False).exists()
