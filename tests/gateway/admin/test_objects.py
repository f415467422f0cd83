"""Objects in the admin: found by bucket and prefix, and deleted with their bytes."""

import pytest
from django.contrib.admin.models import LogEntry

from staging import objects, transfers
from staging.models import Object, Replica, Transfer
from tests.gateway.admin.conftest import People, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db


def test_objects_are_found_by_bucket_and_prefix(lab: Lab, people: People) -> None:
    lab.note("results/a.csv", "results/b.csv", "Results/c.csv", "other/results/d.csv")
    address = page("object", "changelist")
    for term, found in {
        "results/": ["results/a.csv", "results/b.csv"],
        "data/results/a": ["results/a.csv"],
        "data/": ["results/a.csv", "results/b.csv", "Results/c.csv", "other/results/d.csv"],
        "nothing": [],
    }.items():
        listed = people.viewer.get(f"{address}?q={term}")
        shown = [key for key in ("results/a.csv", "results/b.csv", "Results/c.csv") if f">data/{key}<" in listed]
        assert shown == [key for key in found if key in ("results/a.csv", "results/b.csv", "Results/c.csv")], term


def test_a_row_shows_size_durability_and_replicas(transactional_db: None, lab: Lab, people: People) -> None:
    made = lab.upload("results/table.csv", b"x" * 2048)
    assert "2.0 KiB" in people.viewer.get(page("object", "changelist"))
    shown = people.viewer.get(page("object", "change", made.pk))
    assert "2.0 KiB (2,048 bytes)" in shown
    assert made.sha256 in shown
    assert "persisted" in shown
    assert Replica.objects.get().key in shown
    assert "1 for this key" in shown


def test_deleting_hides_the_object_and_removes_its_bytes(transactional_db: None, lab: Lab, people: People) -> None:
    made = lab.upload("results/table.csv", b"x")
    place = lab.root / Replica.objects.get().key
    assert "its bytes are removed" in people.operator.get(page("object", "delete", made.pk))
    people.operator.saves(page("object", "delete", made.pk), post="yes")
    assert not Object.objects.get(pk=made.pk).current
    transfers.run(str(Transfer.objects.get().pk))
    assert not place.exists()
    assert LogEntry.objects.filter(object_id=str(made.pk), action_flag=3, user=people.operator.user).exists()


def test_deleting_from_a_mounted_bucket_removes_the_file(transactional_db: None, lab: Lab, people: People) -> None:
    made = lab.upload("table.csv", b"x", bucket=lab.raw)
    assert (lab.root / "in" / "table.csv").exists()
    people.operator.saves(page("object", "delete", made.pk), post="yes")
    assert not (lab.root / "in" / "table.csv").exists()


def test_a_deletion_that_the_storage_refuses_is_said_and_not_logged(
    transactional_db: None, lab: Lab, people: People
) -> None:
    made = lab.upload("folder/table.csv", b"x", bucket=lab.raw)
    (lab.root / "in" / "folder").rename(lab.root / "in" / "moved")
    (lab.root / "in" / "folder").write_text("a file where a folder was")
    answer = people.operator.send(page("object", "delete", made.pk), post="yes")
    said = people.operator.get(answer["Location"])
    gone = not Object.objects.get(pk=made.pk).current
    assert gone == LogEntry.objects.filter(object_id=str(made.pk), action_flag=3).exists()
    assert gone or "storage disk" in said


def test_old_versions_are_shown_when_asked_for_and_cannot_be_deleted(lab: Lab, people: People) -> None:
    lab.note("results/table.csv")
    Object.objects.update(current=False, state="deleting")
    address = page("object", "changelist")
    assert "data/results/table.csv" not in people.viewer.get(address)
    assert "data/results/table.csv" in people.viewer.get(f"{address}?versions=all")
    people.admin.get(page("object", "delete", Object.objects.get().pk), 403)


def test_an_object_is_explained_to_whoever_sees_it(lab: Lab, people: People) -> None:
    lab.note("results/table.csv")
    objects.set_policy(lab.data, "results/table.csv", {"ttl_s": 3600})
    made = Object.objects.get()
    shown = people.viewer.get(page("object", "change", made.pk))
    told = objects.explain(lab.data, made.key)
    for sentence in (*told.policy, *told.replicas, *told.next, "Settings of its own"):
        assert sentence in shown
    assert page("object", "verify", made.pk) not in shown


def test_copies_are_read_back_when_an_operator_asks(lab: Lab, people: People) -> None:
    lab.note("results/table.csv")
    made = Object.objects.get()
    assert page("object", "verify", made.pk) in people.operator.get(page("object", "change", made.pk))
    shown = people.operator.confirms(page("object", "verify", made.pk))
    assert "The copy is to be read back" in shown
    assert "read back the copy on disk: somebody asked" in shown
    assert [(row.kind, row.state) for row in Transfer.objects.all()] == [("verify", "queued")]
    assert LogEntry.objects.filter(object_id=str(made.pk), user=people.operator.user).exists()
    Replica.objects.all().delete()
    assert "There is no copy" in people.operator.confirms(page("object", "verify", made.pk))


def test_what_lies_in_a_mounted_bucket_is_neither_explained_nor_verified(
    transactional_db: None, lab: Lab, people: People
) -> None:
    made = lab.upload("table.csv", b"x", bucket=lab.raw)
    shown = people.operator.get(page("object", "change", made.pk))
    assert 'id="explain"' not in shown
    assert page("object", "verify", made.pk) not in shown
    assert "mirrors one folder" in people.operator.confirms(page("object", "verify", made.pk))
