"""A creating call that is repeated under the same Idempotency-Key makes nothing new."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from staging import janitor
from staging.models import Alias, ApiKey, Bucket, Credential, IdempotencyKey, Membership, Storage
from staging.states import Role
from tests.gateway.conftest import Caller, Lab

pytestmark = pytest.mark.django_db

ALIAS = {"bucket": "data", "key": "a", "mode": "read"}
CREATING: list[tuple[str, Any, Any, str]] = [
    ("aliases", ALIAS, {**ALIAS, "key": "b"}, "operator"),
    ("aliases", [ALIAS, {**ALIAS, "mode": "write"}], [ALIAS], "operator"),
    ("storages", {"name": "m", "scheme": "memory"}, {"name": "n", "scheme": "memory"}, "admin"),
    ("buckets", {"name": "m", "storage": "disk"}, {"name": "n", "storage": "disk"}, "admin"),
    ("credentials", {"name": "m", "secrets": {"a": "1"}}, {"name": "m", "secrets": {"a": "2"}}, "admin"),
    ("keys", {"label": "m", "role": "viewer"}, {"label": "m", "role": "admin"}, "admin"),
]


def rows() -> list[int]:
    """How many there are of each thing that can be made."""
    return [model.objects.count() for model in (Alias, ApiKey, Bucket, Credential, Storage)]


@pytest.mark.parametrize(("path", "body", "another", "role"), CREATING)
def test_a_repetition_gets_the_same_answer_and_makes_nothing(
    lab: Lab, path: str, body: Any, another: Any, role: str
) -> None:
    caller: Caller = getattr(lab, role)
    first = caller("POST", path, body, Idempotency_Key="k1")
    made = rows()
    again = caller("POST", path, body, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert ("Waybill-Replayed" in first, again["Waybill-Replayed"]) == (False, "true")
    shown = {**first.json(), "key": None} if path == "keys" else first.json()
    assert again.json() == shown
    problem = caller.refused("POST", path, another, status=422, Idempotency_Key="k1")
    assert problem["code"] == "idempotency_key_reused"
    assert rows() == made
    caller.make(path, another if path != "credentials" else {**another, "name": "n"}, Idempotency_Key="k2")
    assert rows() != made


def test_the_order_of_names_and_white_space_do_not_make_another_request(lab: Lab) -> None:
    lab.operator.make("aliases", ALIAS, Idempotency_Key="k")
    raw = b'{ "mode": "read",\n "key": "a", "bucket": "data" }'
    assert lab.operator("POST", "aliases", raw=raw, Idempotency_Key="k")["Waybill-Replayed"] == "true"


def test_a_key_is_the_api_keys_own_and_holds_for_one_route(lab: Lab) -> None:
    lab.admin.make("buckets", {"name": "m", "storage": "disk"}, Idempotency_Key="k")
    lab.admin.refused("POST", "aliases", ALIAS, status=422, Idempotency_Key="k")
    assert "Waybill-Replayed" not in lab.operator("POST", "aliases", ALIAS, Idempotency_Key="k")


def test_a_refused_request_leaves_its_key_free(lab: Lab) -> None:
    lab.operator.refused("POST", "aliases", {**ALIAS, "bucket": "none"}, status=404, Idempotency_Key="k")
    lab.admin.refused("POST", "storages", {"name": "disk", "scheme": "memory"}, status=409, Idempotency_Key="k")
    lab.operator.make("aliases", ALIAS, Idempotency_Key="k")
    lab.admin.make("storages", {"name": "m", "scheme": "memory"}, Idempotency_Key="k")


def test_what_was_made_and_removed_is_not_made_again(lab: Lab) -> None:
    body = {"name": "m", "storage": "disk"}
    lab.admin.make("buckets", body, Idempotency_Key="k")
    lab.admin("DELETE", "buckets/m")
    lab.admin.refused("POST", "buckets", body, status=404, Idempotency_Key="k")
    assert not Bucket.objects.filter(name="m").exists()


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é"])
def test_a_key_that_cannot_be_one_is_refused(lab: Lab, key: str) -> None:
    lab.operator.refused("POST", "aliases", ALIAS, status=400, Idempotency_Key=key)
    assert not Alias.objects.exists()


def test_a_session_has_no_idempotency(lab: Lab) -> None:
    user = User.objects.create_user("kim")
    Membership.objects.create(project=lab.project, user=user, role=Role.ADMIN)
    client = Client()
    client.force_login(user)
    answer = client.post("/api/v1/aliases", ALIAS, content_type="application/json", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_the_rings_next_key_still_knows_the_request(lab: Lab, settings: Any) -> None:
    lab.operator.make("aliases", ALIAS, Idempotency_Key="k")
    settings.SECRET_KEYS = ["a newer key", *settings.SECRET_KEYS]
    assert lab.operator("POST", "aliases", ALIAS, Idempotency_Key="k")["Waybill-Replayed"] == "true"


@pytest.mark.django_db(transaction=True)
def test_keys_are_forgotten_after_two_days(lab: Lab) -> None:
    lab.operator.make("aliases", ALIAS, Idempotency_Key="k")
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=2, seconds=1))
    janitor.sweep()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_repetitions_at_the_same_moment_make_one(lab: Lab) -> None:
    together = Barrier(6, timeout=20)

    def create(_: int) -> tuple[int, str, str]:
        together.wait()
        try:
            caller = Caller(lab.operator.key, lab.operator.text, Client())
            answer = caller("POST", "aliases", ALIAS, Idempotency_Key="same")
            return answer.status_code, answer.json().get("id", ""), answer.get("Waybill-Replayed", "")
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(create, range(6)))
    assert {(status, made) for status, made, _ in answers} == {(201, str(Alias.objects.get().pk))}
    assert sorted(replayed for _, _, replayed in answers) == ["", *["true"] * 5]
