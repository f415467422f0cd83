"""What the tests of the admin share: people in each role, and what they see and send."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from staging.models import Membership
from staging.states import Role
from tests.gateway.conftest import Lab

#: What the secrets of these tests contain, so that pages can be searched for them.
CANARY = "canary-93c1f0"


@dataclass
class Person:
    """A signed-in member of the staff."""

    user: User
    client: Client

    def get(self, address: str, status: int = 200) -> str:
        """The text of a page that must answer with this status."""
        answer = self.client.get(address)
        assert answer.status_code == status, (address, answer.status_code, answer.get("Location"))
        return html.unescape(answer.content.decode())

    def send(self, address: str, **fields: Any) -> Any:
        """The answer to a form."""
        return self.client.post(address, fields)

    def saves(self, address: str, **fields: Any) -> str:
        """Sends a form that must be accepted; returns the page that follows."""
        answer = self.send(address, **fields)
        assert answer.status_code == 302, errors_in(answer)
        return self.get(answer["Location"])

    def confirms(self, address: str, **fields: Any) -> str:
        """Confirms an action's dialog; returns the page that follows."""
        answer = self.send(address, _form_submitted="on", **fields)
        assert answer.status_code == 200, answer.content
        return self.get(answer["HX-Redirect"])

    def chooses(self, model: str, deed: str, *rows: Any) -> str:
        """Confirms an action on rows of a list, as its question's form does; returns the page that follows."""
        address, form = page(model, "changelist"), {"action": deed, "_selected_action": [str(row.pk) for row in rows]}
        asked = self.client.post(address, form)
        assert asked.status_code == 200, asked.get("Location")
        hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.content.decode())
        sent = {name: [value for other, value in hidden if other == name] for name, _ in hidden}
        return self.get(self.client.post(address, sent)["Location"])


@dataclass
class People:
    """One member for each role of the lab, one who belongs to no project, and a superuser."""

    viewer: Person
    operator: Person
    admin: Person
    stranger: Person
    root: Person


def make_person(name: str, *, superuser: bool = False) -> Person:
    """A member of the staff who is signed in."""
    user = User.objects.create_user(name, password=f"{name}-password", is_staff=True, is_superuser=superuser)
    client = Client()
    client.force_login(user)
    return Person(user, client)


@pytest.fixture
def people(lab: Lab) -> Iterator[People]:
    """Everybody."""
    found = People(
        **{name: make_person(name) for name in ("viewer", "operator", "admin", "stranger")},
        root=make_person("root", superuser=True),
    )
    for role in Role:
        Membership.objects.create(project=lab.project, user=getattr(found, role.value).user, role=role)
    return found


def page(model: str, deed: str, *arguments: Any, app: str = "staging") -> str:
    """The address of an admin page."""
    return reverse(f"admin:{app}_{model}_{deed}", args=arguments)


def errors_in(answer: Any) -> dict[str, list[str]]:
    """The errors that a refused form shows, by field."""
    assert answer.status_code == 200, (answer.status_code, answer.get("Location"))
    return dict(answer.context["adminform"].form.errors)


def code_in(text: str, identity: str) -> str:
    """What the element with this id offers for copying."""
    found = re.search(rf'id="{identity}">([^<]*)<', text)
    assert found, f"there is no {identity}"
    return found[1]
