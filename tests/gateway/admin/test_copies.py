"""Copies in the admin: begun at an object, watched, stopped, and gone on with."""

import pytest
from django.utils import timezone

from staging.models import CopyJob, Object
from tests.gateway.admin.conftest import People, errors_in, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db


def test_an_object_is_copied_from_its_page(lab: Lab, people: People) -> None:
    lab.note("results/table.csv")
    target = Object.objects.get(bucket=lab.data)
    asked = {"to": "data/kept/table.csv", "on_exists": "fail", "move": "on"}
    assert page("object", "copy", target.pk) not in people.viewer.get(page("object", "change", target.pk))
    shown = people.operator.confirms(page("object", "copy", target.pk), **asked)
    assert "The copy is done" in shown
    assert "1 of 1" in shown
    assert Object.objects.get(bucket=lab.data, current=True).key == "kept/table.csv"
    target = Object.objects.get(current=True)
    shown = people.operator.confirms(page("object", "copy", target.pk), to="nowhere/x", on_exists="fail")
    assert "no bucket 'nowhere'" in shown


def test_a_folder_is_moved_by_the_form(lab: Lab, other: Lab, people: People) -> None:
    lab.note("run/a", "run/b")
    add = page("copyjob", "add")
    asked = {"source_bucket": lab.data.pk, "source_key": "run/", "target_bucket": lab.data.pk, "target_key": "kept/"}
    asked |= {"moves": "yes", "on_exists": "fail"}
    people.viewer.get(add, 403)
    assert f'value="{lab.raw.pk}" selected' in people.operator.get(f"{add}?source_bucket={lab.raw.pk}&source_key=in/")
    refused = errors_in(people.operator.send(add, **asked | {"target_key": "kept"}))
    assert refused == {"target_key": ["End both in '/', or neither."]}
    assert "There is nothing below" in str(errors_in(people.operator.send(add, **asked | {"source_key": "ru/"})))
    assert set(errors_in(people.operator.send(add, **asked | {"target_bucket": other.data.pk}))) == {"target_bucket"}
    shown = people.operator.saves(add, **asked)
    assert "The copy is done." in shown
    assert "2 of 2" in shown
    assert set(Object.objects.filter(current=True).values_list("key", flat=True)) == {"kept/a", "kept/b"}


def test_a_copy_is_watched_stopped_and_gone_on_with(lab: Lab, people: People) -> None:
    lab.note("a")
    target = Object.objects.get(bucket=lab.data)
    people.operator.confirms(page("object", "copy", target.pk), to="raw/b", on_exists="skip")
    job = CopyJob.objects.get()
    CopyJob.objects.update(objects_found=9, bytes_found=4 * 2**30, bytes_done=2**30, started_at=timezone.now())
    listed = people.viewer.get(page("copyjob", "changelist"))
    assert "1.0 GiB of 4.0 GiB so far" in listed
    assert "of all its objects" in people.viewer.get(page("copyjob", "change", job.pk))
    people.viewer.get(f"{page('transfer', 'changelist')}?job={job.pk}")
    assert page("copyjob", "retry", job.pk) not in people.operator.get(page("copyjob", "change", job.pk))
    assert "The copy is cancelled" in people.operator.confirms(page("copyjob", "cancel", job.pk))
    assert "The copy goes on" in people.operator.confirms(page("copyjob", "retry", job.pk))
    job.refresh_from_db()
    assert job.state == "running"
    assert "Only a copy that failed" in people.operator.confirms(page("copyjob", "retry", job.pk))


def test_an_object_is_demoted_from_its_page(lab: Lab, people: People) -> None:
    lab.note("a")
    target = Object.objects.get(bucket=lab.data)
    assert "It has no fast copies" in people.operator.confirms(page("object", "demote", target.pk))
