"""Which kinds of storage there are, what settings each takes, and building one from checked settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module

from adapters.base import Adapter, Field
from adapters.guard import Observe, guard

#: The title of each kind and where its adapter is. Imported when asked for: some drivers take long to load.
_KINDS = {
    "local": ("Local folder", "adapters.local:LocalAdapter"),
    "sftp": ("SFTP", "adapters.sftp:SftpAdapter"),
    "s3": ("S3", "adapters.s3:S3Adapter"),
    "gsiftp": ("GridFTP", "adapters.gfal:GridFtpAdapter"),
    "srm": ("SRM", "adapters.gfal:SrmAdapter"),
    "memory": ("Memory of one process", "adapters.memory:MemoryAdapter"),
}
_TYPES: dict[str, tuple[type, str]] = {
    "string": (str, "one line of text"),
    "text": (str, "text"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
}


class InvalidSettings(ValueError):
    """Settings that cannot make a storage; ``problems`` holds a sentence for each field that is wrong."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {problem}" for field, problem in problems.items()))
        self.problems = dict(problems)


@dataclass(frozen=True, slots=True)
class Description:
    """One kind of storage, as a form or an API shows it."""

    scheme: str
    title: str
    fields: tuple[Field, ...]


def schemes() -> tuple[str, ...]:
    """All kinds."""
    return tuple(_KINDS)


def is_shared(scheme: str) -> bool:
    """Whether every process reaches the same bytes there."""
    return _adapter_class(scheme).shared


def describe(scheme: str) -> Description:
    """Raises InvalidSettings for a scheme that is not known."""
    return Description(scheme, _kind(scheme)[0], _adapter_class(scheme).fields)


def validate(
    scheme: str, options: Mapping[str, object], credential: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, str]]:
    """The options and the credential with types checked, defaults filled in and empty optional ones left out.

    Raises InvalidSettings that names every field that is unknown, missing, of the wrong type, or on the wrong side.
    Whether the values make sense together is for ``Adapter.build`` to say.
    """
    fields = describe(scheme).fields
    problems: dict[str, str] = {}
    public = _checked((field for field in fields if not field.secret), options, problems)
    secret = _checked((field for field in fields if field.secret), credential, problems)
    sides = {field.name: "credential" if field.secret else "options" for field in fields}
    for given, side in ((options, "options"), (credential, "credential")):
        for name in given:
            if sides.get(name) != side:
                problems[name] = f"it belongs to the {sides[name]}" if name in sides else "there is no such setting"
    if problems:
        raise InvalidSettings(problems)
    return public, {name: str(value) for name, value in secret.items()}


def build(
    scheme: str,
    name: str,
    options: Mapping[str, object],
    credential: Mapping[str, object],
    *,
    observe: Observe | None = None,
) -> Adapter:
    """A guarded adapter; opens no connection. Raises InvalidSettings, or the adapter's ValueError."""
    checked = validate(scheme, options, credential)
    return guard(_adapter_class(scheme).build(name, *checked), observe=observe)


def base_uri(scheme: str, options: Mapping[str, object]) -> str:
    """The URI of the root of a storage with these options, ending in ``/``."""
    return _adapter_class(scheme).base_uri(options)


def _checked(fields: Iterable[Field], given: Mapping[str, object], problems: dict[str, str]) -> dict[str, object]:
    checked: dict[str, object] = {}
    for field in fields:
        value = given.get(field.name)
        value = field.default if value in (None, "") else value
        if value is None:
            if field.required:
                problems[field.name] = "it is required"
        elif problem := _type_problem(field, value):
            problems[field.name] = problem
        else:
            checked[field.name] = value
    return checked


def _type_problem(field: Field, value: object) -> str:
    expected, words = _TYPES[field.type]
    wrong = not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)
    if wrong or (field.type == "string" and len(str(value).splitlines()) > 1):
        return f"{words} was expected"
    return ""


def _kind(scheme: str) -> tuple[str, str]:
    try:
        return _KINDS[scheme]
    except KeyError as exc:
        raise InvalidSettings({"scheme": f"one of {', '.join(_KINDS)} was expected"}) from exc


def _adapter_class(scheme: str) -> type[Adapter]:
    module, _, name = _kind(scheme)[1].partition(":")
    found: type[Adapter] = getattr(import_module(module), name)
    return found
