"""Storages and their credentials in the admin: forms from the adapters' own words, secrets that never come back."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from staging import credentials, orphans, storages
from staging.models import Bucket, CachedBlock, Credential, Node, Object, Replica, Storage, Transfer
from staging.states import StorageState
from staging.storages import StorageSpec
from tests.gateway.admin.conftest import CANARY, People, errors_in, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db

SFTP = {
    "name": "hpc",
    "tier": "2",
    "capacity_bytes": "",
    "option_host": "sftp.example.org",
    "option_port": "2222",
    "option_username": "waybill",
    "option_root": "/srv/data",
    "option_host_key_fingerprint": "SHA256:" + "A" * 43,
    "option_connect_timeout_s": "10",
    "option_stall_timeout_s": "60",
    "option_max_connections": "4",
}


def add(scheme: str) -> str:
    return f"{page('storage', 'add')}?scheme={scheme}"


@pytest.fixture
def hpc(lab: Lab, people: People) -> Storage:
    """An SFTP storage that was registered in the admin."""
    people.admin.saves(add("sftp"), project=lab.project.pk, secret_password=f"{CANARY}-password", **SFTP)
    return Storage.objects.get(name="hpc")


def test_the_kind_is_chosen_before_the_settings(lab: Lab, people: People) -> None:
    kinds = people.admin.get(page("storage", "add"))
    for scheme in ("memory", "local", "sftp", "s3", "irods", "webdav", "http", "gsiftp", "srm"):
        assert f"?scheme={scheme}" in kinds
        assert 'name="name"' in people.admin.get(add(scheme))
    assert "?scheme=sftp" in people.admin.get(add("gopher"))


def test_a_local_storage_is_added_and_shows_its_own_page(lab: Lab, people: People, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    shown = people.admin.saves(
        add("local"),
        project=lab.project.pk,
        name="new",
        tier="1",
        capacity_bytes="1.5 GiB",
        option_root=str(tmp_path / "new"),
    )
    made = Storage.objects.get(name="new")
    assert (made.tier, made.capacity_bytes, made.options["root"]) == (1, 3 * 2**29, str(tmp_path / "new"))
    assert f"file://{tmp_path}/new/" in shown
    assert LogEntry.objects.filter(object_id=str(made.pk), user=people.admin.user).exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("option_root", "/etc"),
        ("option_root", "relative"),
        ("option_root", ""),
        ("name", "Not A Name"),
        ("name", "disk"),
        ("capacity_bytes", "a lot"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(lab: Lab, people: People, tmp_path: Path, field: str, value: str) -> None:
    form = {"project": lab.project.pk, "name": "new", "tier": "1", "option_root": str(tmp_path / "new"), field: value}
    assert list(errors_in(people.admin.send(add("local"), **form))) == [field]
    assert not Storage.objects.filter(name="new").exists()


def test_an_adapters_own_refusal_is_said_at_its_field(lab: Lab, people: People) -> None:
    form = SFTP | {"option_host_key_fingerprint": "MD5:aa"}
    answer = people.admin.send(add("sftp"), project=lab.project.pk, secret_password=f"{CANARY}-typed", **form)
    assert list(errors_in(answer)) == ["option_host_key_fingerprint"]
    assert CANARY not in answer.content.decode(), "not even with an error elsewhere"


def test_a_setting_with_few_values_is_chosen(lab: Lab, people: People) -> None:
    shown = people.admin.get(add("sftp"))
    assert '<option value="auto" selected>' in shown
    assert '<option value="openssh">' in shown
    answer = people.admin.send(add("sftp"), project=lab.project.pk, **(SFTP | {"option_engine": "telnet"}))
    assert list(errors_in(answer)) == ["option_engine"]


def test_a_missing_secret_is_said_at_its_field(lab: Lab, people: People) -> None:
    form = {"project": lab.project.pk, "name": "s3", "tier": "2", "option_bucket": "b", "option_region": "us-east-1"}
    found = errors_in(people.admin.send(add("s3"), secret_access_key="x", **form))
    assert list(found) == ["secret_secret_key"]


def test_secrets_are_sealed_and_on_no_page(lab: Lab, people: People, hpc: Storage) -> None:
    assert credentials.unseal(hpc.credential) == {"password": f"{CANARY}-password"}
    shown = [
        people.root.get(address)
        for address in (
            "/admin/",
            page("storage", "changelist"),
            page("storage", "change", hpc.pk),
            page("storage", "history", hpc.pk),
            page("credential", "changelist"),
            page("credential", "change", hpc.credential.pk),
            page("event", "changelist"),
        )
    ]
    assert not [text for text in shown if CANARY in text]
    assert "password" in shown[5]


def test_an_empty_secret_keeps_the_one_that_is_set(lab: Lab, people: People, hpc: Storage) -> None:
    form = SFTP | {"option_host": "new.example.org"}
    people.admin.saves(page("storage", "change", hpc.pk), **form)
    hpc.refresh_from_db()
    assert hpc.options["host"] == "new.example.org"
    assert credentials.unseal(hpc.credential) == {"password": f"{CANARY}-password"}
    people.admin.saves(page("storage", "change", hpc.pk), secret_password="next", **form)
    assert credentials.unseal(Credential.objects.get(pk=hpc.credential.pk)) == {"password": "next"}


def test_a_credential_is_rotated_on_its_own_page(lab: Lab, people: People, hpc: Storage) -> None:
    address = page("credential", "change", hpc.credential.pk)
    found = errors_in(people.admin.send(address, secret_private_key="no key"))
    assert list(found) == ["secret_private_key"]
    people.admin.saves(address, secret_password="rotated")
    assert credentials.unseal(Credential.objects.get(pk=hpc.credential.pk)) == {"password": "rotated"}


def test_a_shared_credential_is_chosen_and_not_changed_with_one_storage(lab: Lab, people: People) -> None:
    address = f"{page('credential', 'add')}?scheme=sftp"
    people.admin.saves(address, project=lab.project.pk, name="shared", secret_password="x")
    shared = Credential.objects.get(name="shared")
    for name in ("one", "two"):
        people.admin.saves(add("sftp"), project=lab.project.pk, credential=shared.pk, **(SFTP | {"name": name}))
    one = Storage.objects.get(name="one")
    assert one.credential == shared
    shown = people.admin.get(page("storage", "change", one.pk))
    assert "secret_password" not in shown
    assert page("credential", "change", shared.pk) in shown


def test_a_credential_in_use_is_not_deleted(lab: Lab, people: People, hpc: Storage) -> None:
    answer = people.admin.send(page("credential", "delete", hpc.credential.pk), post="yes")
    assert "is used by the storages hpc" in people.admin.get(answer["Location"])
    assert Credential.objects.filter(pk=hpc.credential.pk).exists()


def test_the_connection_test_shows_each_step(transactional_db: None, lab: Lab, people: People) -> None:
    shown = people.admin.confirms(page("storage", "test_connection", lab.storage.pk))
    assert "passed all" in shown
    assert shown.count("wb-step-ok") >= 5
    assert "wb-step-failed" not in shown


def test_a_failing_connection_test_says_what_to_do(transactional_db: None, lab: Lab, people: People) -> None:
    (lab.root / "in").rmdir()
    lab.root.rmdir()
    shown = people.admin.confirms(page("storage", "test_connection", lab.storage.pk))
    lab.storage.refresh_from_db()
    assert shown.count("wb-step-failed") == 1
    assert lab.storage.test_steps[-1]["detail"] in shown
    people.admin.client.post(
        page("storage", "changelist"), {"action": "test_chosen", "_selected_action": [str(lab.storage.pk)]}
    )
    assert "failed" in people.admin.get(page("storage", "changelist"))


def test_a_storage_that_fails_says_since_when_and_why(lab: Lab, people: People) -> None:
    address = page("storage", "change", lab.storage.pk)
    assert "no failures in a row" in people.viewer.get(address)
    found = {"failing_since": timezone.now(), "failing_code": "offline", "failing_detail": "no route"}
    Storage.objects.filter(pk=lab.storage.pk).update(**found)
    shown = people.viewer.get(address)
    assert "offline no route" in shown
    for overview in (page("storage", "changelist"), "/admin/"):
        assert "fail" in people.viewer.get(overview)


def test_a_cordoned_storage_takes_nothing_until_it_is_uncordoned(lab: Lab, people: People) -> None:
    address = page("storage", "change", lab.storage.pk)
    assert page("storage", "uncordon", lab.storage.pk) not in people.admin.get(address)
    shown = people.admin.confirms(page("storage", "cordon", lab.storage.pk))
    assert Storage.objects.get(pk=lab.storage.pk).state == StorageState.CORDONED
    assert page("storage", "cordon", lab.storage.pk) not in shown
    assert "cannot be cordoned any more" in people.admin.confirms(page("storage", "cordon", lab.storage.pk))
    people.admin.confirms(page("storage", "uncordon", lab.storage.pk))
    assert Storage.objects.get(pk=lab.storage.pk).state == StorageState.ACTIVE


def test_a_storage_in_use_is_not_deleted_and_an_empty_one_is(lab: Lab, people: People) -> None:
    answer = people.admin.send(page("storage", "delete", lab.storage.pk), post="yes")
    assert "Buckets lie on the storage disk" in people.admin.get(answer["Location"])
    empty = storages.create(lab.project, StorageSpec("empty", "memory", {}))
    people.admin.saves(page("storage", "delete", empty.pk), post="yes")
    assert not Storage.objects.filter(name="empty").exists()
    assert not LogEntry.objects.filter(object_id=str(lab.storage.pk), action_flag=3).exists()


def test_a_capacity_below_what_is_used_is_refused(lab: Lab, people: People) -> None:
    Storage.objects.filter(pk=lab.storage.pk).update(used_bytes=2000)
    form = {"tier": "1", "capacity_bytes": "1 kB", "option_root": str(lab.root)}
    address = page("storage", "change", lab.storage.pk)
    assert list(errors_in(people.admin.send(address, **form))) == ["capacity_bytes"]


def test_browsing_shows_folders_and_files_and_leads_to_an_alias(
    transactional_db: None, lab: Lab, people: People
) -> None:
    (lab.root / "in" / "ü b.txt").write_text("x")
    (lab.root / "in" / os.fsdecode(b"broken\xff")).write_text("x")
    address = page("storage", "browse", lab.storage.pk)
    assert "?prefix=in%2F" in people.viewer.get(address)
    listed = people.operator.get(f"{address}?prefix=in/")
    assert "ü b.txt" in listed
    assert "no key can have this name" in listed
    assert "broken\\xff" in listed
    assert "Make an alias" in listed
    assert "Make an alias" not in people.viewer.get(f"{address}?prefix=in/")
    assert "Nothing is here" in people.viewer.get(f"{address}?prefix=nowhere/")
    assert "not valid" in people.viewer.get(f"{address}?prefix=../")


def test_a_storage_whose_adapter_is_not_installed_here_hinders_nothing_else(
    transactional_db: None, lab: Lab, people: People
) -> None:
    gone = Storage.objects.create(project=lab.project, name="gone", scheme="blobs", options={"file": "/x"}, tier=2)
    bucket = Bucket.objects.create(project=lab.project, name="there", storage=gone)
    (lab.root / "in" / "x").write_text("x")
    for address in ("/admin/", page("storage", "changelist"), page("storage", "change", gone.pk)):
        assert "blobs (not installed here)" in people.root.get(address)
    assert lab.admin.get("storages/gone")["scheme"] == "blobs"
    lab.admin.refused("POST", "storages/gone/test", status=503)
    for target in ({"uri": f"file://{lab.root}/in/x"}, {"bucket": "raw", "key": "x"}, {"bucket": "there", "key": "x"}):
        assert lab.admin("POST", "aliases", {**target, "mode": "read"}).status_code == 201, target
    assert lab.admin("POST", "aliases", {"bucket": bucket.name, "key": "y", "mode": "write"}).status_code == 201
    assert {storage.name for storage in orphans.storages()} >= {"gone", "disk"}


def test_a_viewer_sees_the_settings_without_a_form(lab: Lab, people: People, hpc: Storage) -> None:
    shown = people.viewer.get(page("storage", "change", hpc.pk))
    assert "sftp.example.org" in shown
    assert "option_host" not in shown


def test_lists_ask_the_same_number_of_questions_however_many_rows(
    lab: Lab, people: People, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        storages.create(lab.project, StorageSpec(f"more-{number}", "memory", {}))
    lab.note(*(f"key-{number}" for number in range(60)))
    for address in ("/admin/", *(page(model, "changelist") for model in ("storage", "bucket", "object", "event"))):
        with django_assert_max_num_queries(30):
            people.root.get(address)


def test_where_a_storage_stands_and_how_much_it_bears_is_set(lab: Lab, people: People) -> None:
    address = page("storage", "change", lab.storage.pk)
    form = {"tier": "2", "option_root": str(lab.root)}
    shown = people.admin.saves(address, **form, site="machine room 2", max_transfers="9")
    lab.storage.refresh_from_db()
    assert (lab.storage.site, lab.storage.max_transfers) == ("machine room 2", 9)
    assert "9 at once" in shown
    assert list(errors_in(people.admin.send(address, **form, max_transfers="0"))) == ["max_transfers"]
    people.admin.saves(add("memory"), project=lab.project.pk, name="ram", tier="0", site="here", max_transfers="2")
    assert Storage.objects.filter(name="ram", site="here", max_transfers=2).exists()


def test_a_storage_is_drained_and_the_drain_is_cancelled(lab: Lab, people: People) -> None:
    lab.note("results/table.csv")
    to = storages.create(lab.project, StorageSpec("next", "memory", {}))
    storages.create(lab.project, StorageSpec("web", "http", {"url": "http://127.0.0.1:9/"}))
    asked = people.admin.get(page("storage", "drain", lab.storage.pk))
    assert ("next: tier 2" in asked, "web" in asked, "disk: tier" in asked) == (True, False, False)
    shown = people.admin.confirms(page("storage", "drain", lab.storage.pk), to=to.pk)
    assert "is being drained to next" in shown
    assert "1 copy, 1 B left" in shown
    assert "0 %: 0 of 1 copies, 0 B of 1 B gone" in shown
    assert "data/results/table.csv" in shown
    assert "and stay: raw" in shown
    assert page("storage", "drain", lab.storage.pk) not in shown
    assert Transfer.objects.get().target == to
    assert "cannot be drained" in people.admin.confirms(page("storage", "drain", lab.storage.pk), to=to.pk)
    assert page("storage", "cancel_drain", lab.storage.pk) not in people.operator.get(
        page("storage", "change", lab.storage.pk)
    )
    assert "takes new data again" in people.admin.confirms(page("storage", "cancel_drain", lab.storage.pk))
    assert Storage.objects.get(pk=lab.storage.pk).state == StorageState.ACTIVE
    assert "no drain to cancel" in people.admin.confirms(page("storage", "cancel_drain", lab.storage.pk))


def test_a_storage_is_given_up_by_who_says_how_much_is_lost(lab: Lab, people: People) -> None:
    lab.note("results/table.csv", "<b>")
    storages.create(lab.project, StorageSpec("next", "memory", {}))
    address = page("storage", "give_up", lab.storage.pk)
    asked = people.admin.client.get(address).content.decode()
    assert all(words in asked for words in ("2 objects", "data/results/table.csv", "data/&lt;b&gt;", "raw"))
    to = Storage.objects.get(name="next")
    for lose in ("", "1", "3"):
        refused = people.admin.send(address, _form_submitted="on", to=to.pk, lose=lose)
        assert "HX-Redirect" not in refused
    assert "another storage has to take them" in people.admin.confirms(address, lose="2")
    assert Storage.objects.get(pk=lab.storage.pk).state == StorageState.ACTIVE
    shown = people.admin.confirms(address, to=to.pk, lose="2")
    assert all(words in shown for words in ("The storage disk is given up.", "for good; its buckets and policies have"))
    assert address not in shown
    assert Storage.objects.get(pk=lab.storage.pk).is_given_up
    assert not lab.storage.replicas.exists()


def test_a_drain_that_is_late_says_so_and_leads_to_what_is_left(lab: Lab, people: People) -> None:
    lab.note("a", "b")
    to = storages.create(lab.project, StorageSpec("next", "memory", {}))
    address = page("storage", "drain", lab.storage.pk)
    never = people.admin.send(address, _form_submitted="on", to=to.pk, deadline_s="999999999999 d")
    assert "At most 366 d." in never.content.decode()
    shown = people.admin.confirms(address, to=to.pk, deadline_s="1 h")
    assert "To be over" in shown
    assert "2 waiting" in shown
    began = timezone.now() - timedelta(seconds=10)
    moving = Transfer.objects.order_by("label")[:1]
    lease = timezone.now() + timedelta(hours=1)
    Transfer.objects.filter(pk__in=[row.pk for row in moving]).update(
        state="running", size=1000, bytes_done=10, started_at=began, lease_expires_at=lease
    )
    Replica.objects.update(size=50)
    late = timezone.now() - timedelta(minutes=5)
    Storage.objects.filter(pk=lab.storage.pk).update(drain_deadline=late, drain_is_late=True)
    shown = people.viewer.get(page("storage", "change", lab.storage.pk))
    assert "Late: it was to be over" in shown
    assert "1 under way" in shown
    assert re.search(r"1 B/s, \d+ min", shown), "what is left at the rate of what moves"
    found = re.search(r'href="([^"]*)">All 2 that are left', shown)
    assert found
    listed = people.viewer.get(found[1].replace("&amp;", "&"))
    assert "data/a" in listed
    assert "data/b" in listed
    assert f"The drain of the storage {lab.storage} is late." in people.viewer.get("/admin/")


def test_a_storage_is_given_to_a_node_and_tells_what_is_to_go(lab: Lab, people: People) -> None:
    assert 'name="node"' not in people.admin.get(page("storage", "change", lab.storage.pk)), "there is no node"
    now = timezone.now()
    node = Node.objects.create(name="alpha", url="http://10.0.0.7", seen_at=now, started_at=now, changed_at=now)
    kept = {"tier": "2", "capacity_bytes": "", "site": "", "max_transfers": "4", "option_root": str(lab.root)}
    shown = people.admin.saves(page("storage", "change", lab.storage.pk), **kept, node=node.pk)
    assert Storage.objects.get(pk=lab.storage.pk).node == node
    assert "Not safe yet" not in shown
    lab.note("a")
    Replica.objects.update(dirty=True, size=1024)
    target, how = Object.objects.get(), {"storage": lab.storage, "state": "ready", "size": 2048}
    CachedBlock.objects.bulk_create(CachedBlock(object=target, start=at, key=str(at), **how) for at in (0, 2048))
    shown = people.viewer.get(page("storage", "change", lab.storage.pk))
    assert "1 copy, 1.0 KiB; to be flushed" in shown
    assert "2 blocks, 4.0 KiB" in shown
    Node.objects.update(state="lost")
    refused = errors_in(people.admin.send(page("storage", "change", lab.storage.pk), **kept, node=""))
    assert refused == {"node": ["It is lost."]}


def test_a_drain_needs_a_storage_of_the_project_that_takes_data(lab: Lab, other: Lab, people: People) -> None:
    address = page("storage", "drain", lab.storage.pk)
    theirs = people.admin.send(address, _form_submitted="on", to=other.storage.pk)
    none = people.admin.send(address, _form_submitted="on")
    assert (theirs.status_code, none.status_code) == (200, 200)
    assert "There is no other active storage" in none.content.decode()
    assert Storage.objects.get(pk=lab.storage.pk).state == StorageState.ACTIVE


@pytest.mark.parametrize(
    ("tier", "used", "said"),
    [(1, 79, ""), (1, 81, "Above 80 %"), (0, 96, "Above 95 %"), (2, 96, "")],
)
def test_a_fast_storage_that_fills_up_says_so(lab: Lab, people: People, tier: int, used: int, said: str) -> None:
    Storage.objects.filter(pk=lab.storage.pk).update(tier=tier, capacity_bytes=1000, used_bytes=10 * used)
    for address in ("/admin/", page("storage", "changelist"), page("storage", "change", lab.storage.pk)):
        shown = people.viewer.get(address)
        assert shown.count("wb-bar-mark") == (2 if tier < 2 else 0), address
    listed = people.viewer.get("/admin/")
    told = [mark for mark in ("Above 80 %:", "Above 95 %:") if mark in listed]
    assert told == ([f"{said}:"] if said else [])
