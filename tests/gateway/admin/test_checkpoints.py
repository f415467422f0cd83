"""Checkpoints in the admin: how safe they are, restored, and let go of."""

import pytest

from staging import checkpoints, retiring
from staging.checkpoints import CheckpointSpec
from staging.models import Checkpoint, Object
from tests.gateway.admin.conftest import People, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db


def test_a_checkpoint_is_shown_restored_and_let_go_of(lab: Lab, people: People) -> None:
    lab.note("run/a", "run/b")
    made, _ = checkpoints.create(lab.project, CheckpointSpec("run-1", lab.data, "run/"))
    retiring.delete(Object.objects.get(key="run/a"))
    shown = people.viewer.get(page("checkpoint", "change", made.pk))
    assert "2 of 2" in shown
    assert "data/run/" in shown
    assert "The restore is done" in people.operator.confirms(page("checkpoint", "restore", made.pk))
    assert Object.objects.filter(key="run/a", current=True).exists()
    assert "lets go" in people.operator.confirms(page("checkpoint", "release", made.pk))
    assert not Checkpoint.objects.exists()
