"""The API describes itself: a valid OpenAPI document, and a page that needs no foreign host."""

import re
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client

from gateway.api.urls import urlpatterns

pytestmark = pytest.mark.django_db


@pytest.fixture
def document() -> dict[str, Any]:
    """The OpenAPI document as anybody gets it."""
    answer = Client().get("/api/v1/schema", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_the_document_is_valid_and_without_warnings(tmp_path: Any) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


def test_every_route_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.")
    described = {re.sub(r"\{\w+\}", "*", path.removeprefix("/api/v1/")) for path in document["paths"]}
    routes = {re.sub(r"<\w+:\w+>", "*", str(pattern.pattern)) for pattern in urlpatterns}
    assert described == routes - {"schema", "docs", "(?s:.*)"}


def test_secrets_are_write_only_and_in_no_answer(document: dict[str, Any]) -> None:
    shapes = document["components"]["schemas"]
    for shape, field in (("StorageBody", "credential"), ("StorageChange", "credential"), ("CredentialBody", "secrets")):
        assert shapes[shape]["properties"][field]["writeOnly"] is True
    for name, shape in shapes.items():
        if name.endswith("Answer"):
            assert not {"credential", "secrets", "password"} & set(shape.get("properties", {}))


def test_problems_and_idempotency_keys_are_described(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert "application/problem+json" in operation["responses"]["default"]["content"], path
            names = {parameter["name"] for parameter in operation.get("parameters", [])}
            creates = method == "post" and "201" in operation["responses"]
            assert ("Idempotency-Key" in names) == creates, path


def test_each_operation_has_a_name_of_its_own_and_a_text(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] for operation in operations)


def test_the_browsable_page_comes_from_this_gateway_alone() -> None:
    page = Client().get("/api/v1/docs").content.decode()
    fetched = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page)
    assert fetched
    for address in fetched:
        assert address.startswith(("/static/", "/api/v1/schema")), address
        if address.startswith("/static/"):
            assert finders.find(address.removeprefix("/static/")), address
    assert "//cdn" not in page
