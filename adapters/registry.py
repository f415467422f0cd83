"""Which kinds of storage there are, what settings each takes, and building one from checked settings."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from adapters.base import Adapter, CopiesWithin, Field, ListsUnfinished, ReadsUnfinished, ReportsSpace, SignsUrls
from adapters.guard import Guarded, guard
from adapters.watch import Observe

#: Where the adapter of each kind is. Imported when asked for: some drivers take long to load.
_OWN = {
    "local": "adapters.local:LocalAdapter",
    "sftp": "adapters.sftp:SftpAdapter",
    "s3": "adapters.s3:S3Adapter",
    "irods": "adapters.irods:IrodsAdapter",
    "webdav": "adapters.webdav:WebDavAdapter",
    "http": "adapters.http:HttpAdapter",
    "gsiftp": "adapters.gfal:GridFtpAdapter",
    "srm": "adapters.gfal:SrmAdapter",
    "memory": "adapters.memory:MemoryAdapter",
    "peer": "adapters.peer:PeerAdapter",
}
#: What Waybill makes for itself; not asked of the classes, so that listing kinds loads no driver.
_INTERNAL = ("peer",)
#: The entry points by which other packages bring kinds of their own, ``scheme = package.module:Class``.
ENTRY_POINTS = "waybill.adapters"
log = logging.getLogger(__name__)

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
    """One kind of storage, as a form or an API shows it; ``capabilities`` are what it can do beyond the contract."""

    scheme: str
    title: str
    read_only: bool
    capabilities: tuple[str, ...]
    fields: tuple[Field, ...]


_CAPABILITIES: Mapping[str, type] = {
    "copies_within": CopiesWithin,
    "lists_unfinished": ListsUnfinished,
    "reads_unfinished": ReadsUnfinished,
    "reports_space": ReportsSpace,
    "signs_urls": SignsUrls,
}


def schemes() -> tuple[str, ...]:
    """All kinds that a person may register."""
    return tuple(kind for kind in _kinds() if kind not in _INTERNAL)


def is_shared(scheme: str) -> bool:
    """Whether every process reaches the same bytes there; taken for granted of a kind that is not installed here."""
    found = _installed(scheme)
    return found is None or found.shared


def is_read_only(scheme: str) -> bool:
    """Whether nothing can be written to storages of this kind; not of one that is not installed here."""
    found = _installed(scheme)
    return found is not None and found.read_only


def describe(scheme: str) -> Description:
    """Raises InvalidSettings for a scheme that is not known."""
    found = _adapter_class(scheme)
    capabilities = tuple(name for name, promise in _CAPABILITIES.items() if issubclass(found, promise))
    return Description(scheme, found.title, found.read_only, capabilities, found.fields)


def describe_registered(scheme: str) -> Description:
    """The same of a storage's kind, which may not be installed here any more: then nothing but that is known of it."""
    if _installed(scheme) is None:
        return Description(scheme, f"{scheme} (not installed here)", False, (), ())
    return describe(scheme)


def validate(
    scheme: str, options: Mapping[str, object], credential: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, str]]:
    """The options and the credential with types checked, defaults filled in and empty optional ones left out.

    Raises InvalidSettings that names every field that is unknown, missing, of the wrong type, or on the wrong side.
    Whether the values make sense together is for ``Adapter.build`` to say.
    """
    fields = _adapter_class(scheme).fields
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
) -> Guarded:
    """A guarded adapter; opens no connection. Raises InvalidSettings, or the adapter's ValueError."""
    checked = validate(scheme, options, credential)
    try:
        adapter = _adapter_class(scheme).build(name, *checked)
    except ValueError:
        raise
    except Exception as exc:  # another package's code; its words may hold secrets
        raise ValueError(f"scheme: its adapter failed with {type(exc).__name__}") from exc
    return guard(adapter, observe=observe)


def base_uri(scheme: str, options: Mapping[str, object]) -> str:
    """The URI of the root of a storage with these options, ending in ``/``.

    One without a host, at which no storage is, where its kind is not installed here or does not take these options.
    """
    found = _installed(scheme)
    try:
        return f"{scheme}:///" if found is None else found.base_uri(options)
    except ValueError:
        return f"{scheme}:///"


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
    if field.choices and value not in field.choices:
        return f"one of {', '.join(field.choices)} was expected"
    return ""


def _kinds() -> Mapping[str, str]:
    return {**_OWN, **_of_others()}


@cache
def _of_others() -> Mapping[str, str]:
    """The kinds of other packages. One that cannot be loaded is left out, and everything else goes on."""
    found: dict[str, str] = {}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            _require_adapter(point.name, point.load())
            if point.name in found or point.name in _OWN:
                raise TypeError("there is another adapter of this kind")
            found[point.name] = point.value
        except Exception:
            package = point.dist.name if point.dist else "?"
            log.exception("The adapter %s of the package %s cannot be used.", point.name, package)
    return found


def _require_adapter(scheme: str, found: object) -> None:
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise TypeError(f"{found!r} is no Adapter")
    if found.scheme != scheme:
        raise TypeError(f"its scheme is {found.scheme!r}")


def _installed(scheme: str) -> type[Adapter] | None:
    return _adapter_class(scheme) if scheme in _kinds() else None


def _adapter_class(scheme: str) -> type[Adapter]:
    try:
        module, _, name = _kinds()[scheme].partition(":")
    except KeyError as exc:
        raise InvalidSettings({"scheme": f"one of {', '.join(_kinds())} was expected"}) from exc
    found: type[Adapter] = getattr(import_module(module), name)
    return found
