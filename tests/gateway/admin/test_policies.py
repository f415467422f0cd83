"""Policies of buckets in the admin: entered field by field, refused where they are wrong, read by viewers."""

from typing import Any

import pytest

from staging import buckets, storages
from staging.errors import InUse
from staging.models import Bucket, Storage
from staging.storages import StorageSpec
from tests.gateway.admin.conftest import People, errors_in, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db

#: The form as it comes, and nothing asked for.
USUAL = {
    "write": "through",
    "lands_on": "",
    "flush_within_s": "5 min",
    "dirty_budget_bytes": "",
    "spill": "yes",
    "ttl_s": "",
    "max_object_bytes": "",
    "min_replicas": "1",
    "max_replicas": "",
    "spread": "none",
    "verify": "size",
    "cache": "none",
}
#: All that can be asked for.
ASKED = {
    "write": "back",
    "lands_on": "fast",
    "replicate_to": ["far", "copy"],
    "min_replicas": 2,
    "max_replicas": 3,
    "spread": "sites",
    "cache": "promote",
    "ttl_s": 7 * 86400,
    "pin": True,
    "spill": False,
    "flush_within_s": 90,
    "dirty_budget_bytes": 3 * 2**30,
    "verify": "read",
    "max_object_bytes": 10 * 2**30,
}


@pytest.fixture
def yard(lab: Lab) -> Lab:
    """Besides ``disk``: ``fast`` of tier 1, ``copy`` and ``far`` of tier 2."""
    for name, tier, site in (("fast", 1, ""), ("copy", 2, "south"), ("far", 2, "north")):
        storages.create(lab.project, StorageSpec(name, "memory", {}, tier=tier, site=site))
    return lab


def kept(bucket: Bucket) -> dict[str, Any]:
    return Bucket.objects.get(pk=bucket.pk).policy


def test_only_what_is_unusual_is_kept(yard: Lab, people: People) -> None:
    address = page("bucket", "change", yard.data.pk)
    people.admin.saves(address, **USUAL)
    assert kept(yard.data) == {}
    asked = {"write": "back", "lands_on": "fast", "flush_within_s": "2 h", "replicate_to": ["far"], "min_replicas": "2"}
    people.admin.saves(address, **USUAL | asked)
    told = {"write": "back", "lands_on": "fast", "flush_within_s": 7200, "replicate_to": ["far"], "min_replicas": 2}
    assert kept(yard.data) == told


def test_a_policy_comes_back_from_its_form_as_it_was(yard: Lab, people: People) -> None:
    buckets.set_policy(yard.data, ASKED)
    address = page("bucket", "change", yard.data.pk)
    form = people.admin.client.get(address).context["adminform"].form
    sent = {name: form[name].value() for name in form.fields}
    assert set(sent) == set(ASKED)
    # A browser sends what is ticked in the order in which it is shown.
    sent["replicate_to"] = [name for name, _ in form.fields["replicate_to"].choices if name in sent["replicate_to"]]
    people.admin.saves(address, **{name: value for name, value in sent.items() if value not in (None, False)})
    assert kept(yard.data) == ASKED


def test_a_new_bucket_has_its_policy_at_once(yard: Lab, people: People) -> None:
    asked = {"write": "ephemeral", "lands_on": "fast", "spill": "no", "ttl_s": "12 h"}
    people.admin.saves(page("bucket", "add"), storage=yard.storage.pk, name="scratch", **USUAL | asked)
    told = {"write": "ephemeral", "lands_on": "fast", "spill": False, "ttl_s": 12 * 3600}
    assert kept(Bucket.objects.get(name="scratch")) == told


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"write": "back"}, "lands_on"),
        ({"pin": "on"}, "lands_on"),
        ({"lands_on": "copy"}, "lands_on"),
        ({"replicate_to": ["nowhere"]}, "replicate_to"),
        ({"min_replicas": "2"}, "min_replicas"),
        ({"min_replicas": "0"}, "min_replicas"),
        ({"replicate_to": ["far", "copy"], "min_replicas": "3", "max_replicas": "2"}, "max_replicas"),
        ({"flush_within_s": "soon"}, "flush_within_s"),
        ({"dirty_budget_bytes": "-1"}, "dirty_budget_bytes"),
        ({"ttl_s": "200000 d"}, "ttl_s"),
        ({"write": "sideways"}, "write"),
    ],
)
def test_what_cannot_be_given_is_said_at_its_field(
    yard: Lab, people: People, asked: dict[str, Any], wrong: str
) -> None:
    found = errors_in(people.admin.send(page("bucket", "change", yard.data.pk), **USUAL | asked))
    assert list(found) == [wrong]
    assert kept(yard.data) == {}


def test_a_storage_that_went_is_still_named_and_can_be_taken_out(yard: Lab, people: People) -> None:
    buckets.set_policy(yard.data, {"replicate_to": ["far"]})
    with pytest.raises(InUse):
        storages.delete(Storage.objects.get(name="far"))
    Bucket.objects.update(policy={})
    storages.delete(Storage.objects.get(name="far"))
    Bucket.objects.filter(pk=yard.data.pk).update(policy={"replicate_to": ["far"]})  # As before that was refused.
    address = page("bucket", "change", yard.data.pk)
    assert "far: not there" in people.admin.get(address)
    assert list(errors_in(people.admin.send(address, **USUAL, replicate_to=["far"]))) == ["replicate_to"]
    people.admin.saves(address, **USUAL)
    assert kept(yard.data) == {}


def test_a_mounted_bucket_says_only_how_large_objects_may_be(yard: Lab, people: People) -> None:
    address = page("bucket", "change", yard.raw.pk)
    assert 'name="write"' not in people.admin.get(address)
    people.admin.saves(address, max_object_bytes="1 kB", write="back")
    assert kept(yard.raw) == {"max_object_bytes": 1000}


def test_viewers_read_the_policy_in_words(yard: Lab, people: People) -> None:
    buckets.set_policy(yard.data, ASKED)
    shown = people.viewer.get(page("bucket", "change", yard.data.pk))
    for words in (
        "flushed to the bucket's soon after",
        "90 s",
        "for 7 d",
        "10.0 GiB",
        "3.0 GiB",
        "2, on disk, far, copy",
        "pinned",
    ):
        assert words in shown, words
    assert 'name="write"' not in shown
    assert "back on fast, 2 copies, cached, pinned, for 7 d" in people.viewer.get(page("bucket", "changelist"))


def test_storages_of_other_projects_are_not_offered(yard: Lab, other: Lab, people: People) -> None:
    storages.create(other.project, StorageSpec("theirs", "memory", {}, tier=1))
    for address in (page("bucket", "add"), page("bucket", "change", yard.data.pk)):
        assert "theirs" not in people.admin.get(address)
    assert "theirs" in people.root.get(page("bucket", "add"))
