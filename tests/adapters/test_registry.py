"""The kinds of storage, and the settings they are built from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import ClassVar

import pytest

from adapters import registry
from adapters.base import Field
from adapters.guard import Guarded
from adapters.memory import MemoryAdapter
from adapters.registry import InvalidSettings


class Demanding(MemoryAdapter):
    """A kind of storage with a field of every type, and a secret one."""

    scheme = "demanding"
    fields = (
        Field("host", "string", "where", required=True),
        Field("port", "integer", "which port", default=22),
        Field("fast", "boolean", "whether to hurry", default=True),
        Field("note", "text", "any number of lines"),
        Field("password", "string", "the secret", required=True, secret=True),
        Field("key", "text", "another secret", secret=True),
    )
    built: ClassVar[list[tuple[object, object]]] = []

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Demanding:
        cls.built.append((options, credential))
        return cls(name)


@pytest.fixture
def demanding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._OWN, "demanding", f"{__name__}:Demanding")
    monkeypatch.setattr(Demanding, "built", [])


def test_every_kind_is_described() -> None:
    own = ("local", "sftp", "s3", "irods", "webdav", "http", "gsiftp", "srm", "memory")
    assert registry.schemes()[: len(own)] == own
    for scheme in own:
        described = registry.describe(scheme)
        assert described.scheme == scheme
        assert described.title
        assert all(field.help for field in described.fields)


def test_unknown_kind_is_refused() -> None:
    for call in (lambda: registry.describe("ftp"), lambda: registry.build("ftp", "x", {}, {})):
        with pytest.raises(InvalidSettings) as refused:
            call()
        assert set(refused.value.problems) == {"scheme"}


@pytest.mark.usefixtures("demanding")
def test_defaults_are_filled_and_empty_optional_fields_left_out() -> None:
    options, credential = registry.validate("demanding", {"host": "h", "note": ""}, {"password": "p", "key": None})
    assert options == {"host": "h", "port": 22, "fast": True}
    assert credential == {"password": "p"}


@pytest.mark.usefixtures("demanding")
def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidSettings) as refused:
        registry.validate("demanding", {"port": "22", "fast": 1, "colour": "red", "password": "p"}, {"key": 7})
    assert refused.value.problems == {
        "host": "it is required",
        "port": "a whole number was expected",
        "fast": "true or false was expected",
        "key": "text was expected",
        "password": "it belongs to the credential",
        "colour": "there is no such setting",
    }
    for field, problem in refused.value.problems.items():
        assert f"{field}: {problem}" in str(refused.value)


@pytest.mark.usefixtures("demanding")
@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"host": "h", "port": True}, "port"),
        ({"host": 5}, "host"),
        ({"host": "two\nlines"}, "host"),
        ({"host": ""}, "host"),
        ({"host": None}, "host"),
        ({"host": "h", "note": 1.5}, "note"),
    ],
)
def test_value_of_the_wrong_type_is_refused(options: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        registry.validate("demanding", options, {"password": "p"})
    assert set(refused.value.problems) == {field}


@pytest.mark.usefixtures("demanding")
def test_adapter_is_built_guarded_from_checked_settings() -> None:
    adapter = registry.build("demanding", "store", {"host": "h"}, {"password": "p"})
    assert isinstance(adapter, Guarded)
    assert isinstance(adapter.inner, Demanding)
    assert adapter.name == "store"
    assert Demanding.built == [({"host": "h", "port": 22, "fast": True}, {"password": "p"})]


def test_calls_are_told_to_the_observer_that_was_given() -> None:
    told: list[tuple[str, str, str]] = []
    adapter = registry.build(
        "memory",
        "ram",
        {},
        {},
        observe=lambda storage, operation, _, outcome: told.append((storage, operation, outcome)),
    )
    adapter.delete("key")
    assert told == [("ram", "delete", "ok")]


def test_base_uri_is_the_adapters() -> None:
    assert registry.base_uri("local", {"root": "/srv/my data"}) == "file:///srv/my%20data/"


def test_drivers_are_imported_only_when_asked_for() -> None:
    script = (
        "import sys, adapters.registry as r; r.build('memory', 'm', {}, {});"
        " print({'boto3', 'irods', 'paramiko'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
