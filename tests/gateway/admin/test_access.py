"""Who sees which page and may do what: roles, other people's projects, and nobody's shortcuts."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.utils import timezone

from staging import aliases, api_keys, checkpoints, credentials, storages
from staging.alias_terms import AliasSpec
from staging.checkpoints import CheckpointSpec
from staging.models import (
    Alias,
    ApiKey,
    Bucket,
    CopyJob,
    Credential,
    Event,
    Membership,
    Node,
    Object,
    Project,
    Storage,
    Transfer,
)
from staging.states import AliasMode, Role
from tests.gateway.admin.conftest import People, page
from tests.gateway.conftest import Lab

pytestmark = pytest.mark.django_db

MODELS = [
    "alias",
    "apikey",
    "bucket",
    "checkpoint",
    "copyjob",
    "credential",
    "event",
    "object",
    "project",
    "storage",
    "transfer",
    "upload",
]
#: Actions behind dialogs, and the role they need.
DEEDS = [
    ("storage", "test_connection", "admin"),
    ("storage", "cordon", "admin"),
    ("storage", "drain", "admin"),
    ("storage", "cancel_drain", "admin"),
    ("storage", "give_up", "admin"),
    ("object", "verify", "operator"),
    ("object", "demote", "operator"),
    ("object", "copy", "operator"),
    ("copyjob", "cancel", "operator"),
    ("copyjob", "retry", "operator"),
    ("checkpoint", "restore", "operator"),
    ("checkpoint", "release", "operator"),
    ("transfer", "cancel", "operator"),
    ("transfer", "retry", "operator"),
    ("alias", "extend", "operator"),
    ("alias", "revoke", "operator"),
    ("apikey", "revoke", "admin"),
]


def rows_of(lab: Lab) -> dict[str, Any]:
    """One row of each model in the project."""
    target = Object.objects.filter(bucket=lab.data).first()
    if target is None:
        lab.note("results/table.csv")
        target = Object.objects.get(bucket=lab.data)
    return {
        "alias": Alias.objects.filter(project=lab.project).first()
        or aliases.create(lab.data, [AliasSpec(AliasMode.READ, "results/table.csv")])[0],
        "apikey": lab.viewer.key,
        "bucket": lab.data,
        "checkpoint": checkpoints.create(lab.project, CheckpointSpec("kept", lab.data))[0],
        "credential": Credential.objects.filter(project=lab.project).first()
        or credentials.create(lab.project, "shared", {"password": "x"}),
        "copyjob": CopyJob.objects.filter(project=lab.project).first() or CopyJob.objects.create(**_copied(lab)),
        "event": Event.objects.filter(project=lab.project).first(),
        "object": target,
        "project": lab.project,
        "storage": lab.storage,
        "transfer": Transfer.objects.filter(project=lab.project).first()
        or Transfer.objects.create(
            project=lab.project, kind="replicate", object=target, target=lab.storage, not_before=timezone.now()
        ),
    }


def _copied(lab: Lab) -> dict[str, Any]:
    times = {"not_before": timezone.now(), "started_at": timezone.now()}
    return {"project": lab.project, "source_bucket": lab.raw, "target_bucket": lab.data, "source_key": "d/", **times}


def test_without_signing_in_every_page_leads_to_the_login(lab: Lab) -> None:
    for model, row in rows_of(lab).items():
        for address in (page(model, "changelist"), page(model, "change", row.pk)):
            answer = Client().get(address)
            assert answer.status_code == 302
            assert answer["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("role", ["viewer", "operator", "admin", "root"])
def test_members_and_superusers_see_every_list_and_row(lab: Lab, people: People, role: str) -> None:
    person = getattr(people, role)
    person.get("/admin/")
    for model in MODELS:
        person.get(page(model, "changelist"))
    for model, row in rows_of(lab).items():
        person.get(page(model, "change", row.pk))


def test_rows_of_other_projects_are_not_there(lab: Lab, other: Lab, people: People) -> None:
    for model, row in rows_of(other).items():
        people.admin.get(page(model, "change", row.pk), 404)
        people.admin.get(page(model, "history", row.pk), 404)
        listed = people.admin.get(page(model, "changelist"))
        assert page(model, "change", row.pk) not in listed
    for model in ("bucket", "credential", "object", "storage"):
        people.admin.get(page(model, "delete", rows_of(other)[model].pk), 404)
    for model, deed, _ in DEEDS:
        people.admin.get(page(model, deed, rows_of(other)[model].pk), 404)
    assert "There is no such page" in people.admin.get(page("storage", "browse", other.storage.pk), 404)


def test_a_superuser_sees_all_projects_and_which_is_which(lab: Lab, other: Lab, people: People) -> None:
    listed = people.root.get(page("storage", "changelist"))
    assert "lab" in listed
    assert "other" in listed
    for model, row in rows_of(other).items():
        people.root.get(page(model, "change", row.pk))


def test_other_projects_are_named_in_no_filter_form_or_dashboard(lab: Lab, people: People) -> None:
    secret = Project.objects.create(name="hidden-project")
    storages.create(secret, storages.StorageSpec("hidden-storage", "memory", {}))
    Bucket.objects.create(project=secret, name="hidden-bucket", storage=secret.storages.get())
    seen = [people.admin.get("/admin/")]
    seen += [people.admin.get(page(model, "changelist")) for model in MODELS]
    seen += [people.admin.get(page(model, "add")) for model in ("alias", "bucket", "apikey")]
    seen.append(people.admin.get(f"{page('storage', 'add')}?scheme=local"))
    assert not [text for text in seen if "hidden-" in text]


def test_staff_without_a_project_see_an_empty_dashboard_and_no_lists(lab: Lab, people: People) -> None:
    assert "lab" not in people.stranger.get("/admin/")
    for model in MODELS:
        people.stranger.get(page(model, "changelist"), 403)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_below_admin_nothing_of_the_project_can_be_added_or_changed(lab: Lab, people: People, role: str) -> None:
    person, rows = getattr(people, role), rows_of(lab)
    for model in ("bucket", "apikey", "project"):
        person.get(page(model, "add"), 403)
    for model in ("storage", "credential"):
        person.get(f"{page(model, 'add')}?scheme=sftp", 403)
    for model in ("storage", "credential", "bucket"):
        assert person.send(page(model, "change", rows[model].pk), tier=0).status_code == 403
        person.get(page(model, "delete", rows[model].pk), 403)
    assert Storage.objects.get(pk=lab.storage.pk).tier == 2


def test_a_viewer_makes_and_deletes_nothing_and_sees_no_alias_url(lab: Lab, people: People) -> None:
    rows = rows_of(lab)
    token = aliases.token_of(rows["alias"])
    people.viewer.get(page("alias", "add"), 403)
    people.viewer.get(page("object", "delete", rows["object"].pk), 403)
    assert token not in people.viewer.get(page("alias", "change", rows["alias"].pk))
    assert token in people.operator.get(page("alias", "change", rows["alias"].pk))


@pytest.mark.parametrize(("model", "deed", "needed"), DEEDS)
def test_an_action_needs_its_role_and_is_no_link(lab: Lab, people: People, model: str, deed: str, needed: str) -> None:
    row = rows_of(lab)[model]
    address, before = page(model, deed, row.pk), getattr(row, "state", None)
    for role in ("viewer", "operator", "admin"):
        allowed = Role(role).allows(Role(needed))
        getattr(people, role).get(address, 200 if allowed else 403)
        if not allowed:
            assert getattr(people, role).send(address, _form_submitted="on").status_code == 403
    row.refresh_from_db()
    assert getattr(row, "revoked_at", None) is None
    assert getattr(row, "state", None) == before


def test_list_actions_pass_over_what_the_role_does_not_allow(lab: Lab, other: Lab, people: People) -> None:
    Membership.objects.create(project=other.project, user=people.operator.user, role=Role.VIEWER)
    mine, theirs = (rows_of(place)["alias"] for place in (lab, other))
    assert "does not allow this for 1 of them" in people.operator.chooses("alias", "revoke_chosen", mine, theirs)
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert mine.revoked_at is not None
    assert theirs.revoked_at is None


def test_nothing_is_deleted_in_bulk(lab: Lab, people: People) -> None:
    rows = rows_of(lab)
    for model, row in rows.items():
        chosen = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
        people.root.client.post(page(model, "changelist"), chosen)
        assert type(row).objects.filter(pk=row.pk).exists()


def test_a_new_user_may_sign_in_unless_that_is_switched_off(people: People) -> None:
    form = people.root.get(page("user", "add", app="auth"))
    assert re.search(r'name="is_staff"[^>]* checked', form)
    assert "usable_password" not in form
    password = "quite a long one"
    people.root.saves(
        page("user", "add", app="auth"), username="eve", password1=password, password2=password, is_staff="on"
    )
    assert Client().login(username="eve", password=password)


def test_only_superusers_see_users(people: People) -> None:
    people.admin.get(page("user", "changelist", app="auth"), 403)
    people.root.get(page("user", "changelist", app="auth"))
    people.root.get(page("user", "change", people.viewer.user.pk, app="auth"))
    people.root.get(page("user", "delete", people.viewer.user.pk, app="auth"), 403)


def test_a_projects_admin_chooses_its_members_and_no_other_projects(lab: Lab, other: Lab, people: People) -> None:
    form = {
        "title": "The lab",
        "memberships-TOTAL_FORMS": "4",
        "memberships-INITIAL_FORMS": "3",
        "memberships-3-user": str(people.stranger.user.pk),
        "memberships-3-role": "viewer",
        "memberships-3-project": str(lab.project.pk),
    }
    for place, row in enumerate(Membership.objects.filter(project=lab.project).order_by("pk")):
        form |= {
            f"memberships-{place}-id": str(row.pk),
            f"memberships-{place}-project": str(lab.project.pk),
            f"memberships-{place}-user": str(row.user_id),
            f"memberships-{place}-role": row.role,
        }
    people.admin.saves(page("project", "change", lab.project.pk), **form)
    assert Membership.objects.get(user=people.stranger.user).project == lab.project
    assert people.operator.send(page("project", "change", lab.project.pk), **form).status_code == 403
    assert people.admin.send(page("project", "change", other.project.pk), **form).status_code == 404


def test_a_key_outlives_the_person_who_issued_it(lab: Lab, people: People) -> None:
    key, _ = api_keys.issue_key(lab.project, Role.VIEWER, label="left", created_by=people.admin.user)
    people.admin.user.delete()
    assert ApiKey.objects.get(pk=key.pk).created_by is None


def test_every_page_of_the_domain_belongs_to_a_project() -> None:
    registered = {model: entry for model, entry in admin.site._registry.items() if model._meta.app_label == "staging"}
    del registered[Node]  # The installation's, and its superusers' to see.
    domain = list(registered.values())
    assert len(domain) == len(MODELS)
    assert not [entry for entry in domain if not hasattr(entry, "project_path")]


def test_nodes_are_shown_to_superusers_and_removed_once_they_are_lost(lab: Lab, people: People) -> None:
    now = timezone.now()
    node = Node.objects.create(name="alpha", url="http://10.0.0.7", seen_at=now, started_at=now, changed_at=now)
    lab.storage.node = node
    lab.storage.save()
    shown, one = page("node", "changelist"), page("node", "change", node.pk)
    people.admin.get(shown, 403)
    people.admin.get(one, 403)
    for address in (shown, one):
        text = people.root.get(address)
        assert all(word in text for word in ("alpha", "http://10.0.0.7", "active", "disk"))
    told = page("storage", "change", lab.storage.pk)
    assert one in people.root.get(told)
    assert one not in people.admin.get(told)
    assert "<dd>alpha</dd>" in people.admin.get(told)
    people.root.get(page("node", "delete", node.pk), 403)
    lab.storage.node = None
    lab.storage.save()
    Node.objects.update(state="lost")
    people.root.send(page("node", "delete", node.pk), post="yes")
    assert not Node.objects.filter(pk=node.pk).exists()


def test_a_superuser_drains_a_node_and_sees_what_is_left(lab: Lab, people: People) -> None:
    now = timezone.now()
    node = Node.objects.create(name="alpha", url="http://10.0.0.7", seen_at=now, started_at=now, changed_at=now)
    to = Storage.objects.create(project=lab.project, name="next", scheme="memory", capacity_bytes=10**9)
    lab.note("results/table.csv")
    Storage.objects.filter(pk=lab.storage.pk).update(node=node)
    one, start, cancel = (page("node", deed, node.pk) for deed in ("change", "drain", "cancel_drain"))
    assert people.admin.client.get(start).status_code in (302, 403)
    assert people.admin.send(start, _form_submitted="on").status_code in (302, 403)
    assert Node.objects.get().draining_since is None
    shown = people.root.get(one)
    assert (start in shown, cancel in shown) == (True, False)
    shown = people.root.confirms(start, deadline_s="2 h")
    assert "The node alpha is being drained." in shown
    assert all(words in shown for words in ("1 copy, 1 B left", "draining"))
    assert (start in shown, cancel in shown) == (False, True)
    storage = Storage.objects.get(pk=lab.storage.pk)
    assert (storage.state, storage.drain_to) == ("draining", to)
    assert storage.drain_deadline is not None
    assert "takes new data again" in people.root.confirms(cancel)
    assert Storage.objects.get(pk=lab.storage.pk).state == "active"
    assert "there is no drain to cancel" in people.root.confirms(cancel)
    Storage.objects.filter(pk=to.pk).update(state="cordoned")
    assert "no active storage is off the node" in people.root.confirms(start)
