"""Checkpoints in the admin: how safe they are, restored, and let go of."""

import pytest

from staging import checkpoints, retiring
from staging.checkpoints import CheckpointSpec
from staging.models import Checkpoint, Object
from tests.gateway.admin.conftest import People, errors_in, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db


def test_a_checkpoint_is_shown_restored_and_let_go_of(lab: Lab, people: People) -> None:
    lab.note("run/a", "run/b")
    made, _ = checkpoints.create(lab.project, CheckpointSpec("run-1", lab.data, "run/"))
    retiring.delete(Object.objects.get(key="run/a"))
    shown = people.viewer.get(page("checkpoint", "change", made.pk))
    assert "2 of 2" in shown
    assert "data/run/" in shown
    held = f"{page('object', 'changelist')}?checkpoint={made.pk}&versions=all"
    assert held in shown
    lab.note("else")
    listed = people.viewer.get(held)
    assert "data/run/a" in listed
    assert "kept by a checkpoint" in listed
    assert "data/else" not in listed
    one = people.viewer.get(page("object", "change", Object.objects.get(key="run/a").pk))
    assert page("checkpoint", "change", made.pk) in one
    assert "The restore is done" in people.operator.confirms(page("checkpoint", "restore", made.pk))
    assert Object.objects.filter(key="run/a", current=True).exists()
    assert "lets go" in people.operator.confirms(page("checkpoint", "release", made.pk))
    assert not Checkpoint.objects.exists()


def test_a_checkpoint_is_made_by_the_form(lab: Lab, other: Lab, people: People) -> None:
    lab.note("run/a", "run/b", "else")
    add = page("checkpoint", "add")
    asked = {"project": lab.project.pk, "name": "run-1", "bucket": lab.data.pk, "prefix": "run/", "labels": ""}
    people.viewer.get(add, 403)
    assert "There is nothing to pin" in str(errors_in(people.operator.send(add, **asked | {"prefix": "nothing/"})))
    unnamed = errors_in(people.operator.send(add, **asked | {"bucket": "", "name": "A b"}))
    assert set(unnamed) == {"bucket", "name"}
    for theirs in (other.data, lab.raw):
        assert set(errors_in(people.operator.send(add, **asked | {"bucket": theirs.pk}))) == {"bucket"}
    assert "2 of 2 objects" in people.operator.saves(add, **asked)
    assert Checkpoint.objects.get().count == 2
    assert set(errors_in(people.operator.send(add, **asked))) == {"name"}
