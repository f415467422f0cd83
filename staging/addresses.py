"""Addresses: on which storage the object of a URI like ``sftp://host/path`` lies."""

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from adapters import registry
from adapters.errors import InvalidKey
from adapters.keys import check_key
from staging.errors import AddressRefused, InvalidRequest
from staging.models import Storage
from staging.storages import root_bucket_name

#: What a storage's URI never holds: urlsplit would drop some of it silently, and a key must not depend on that.
_NOT_IN_URI = re.compile(r"[\x00-\x20\x7f@?#\\]|%2f", re.IGNORECASE)

#: Of storages whose roots are web addresses, as RFC 9110 has it.
_WEB_PORTS = {"http": 80, "https": 443}


def locate(registered: Iterable[Storage], uri: str, *, is_folder: bool = False) -> tuple[Storage, str]:
    """Which of the storages a URI lies on, and its key there; the longest root decides.

    The key of a folder ends in a slash, or is empty where the folder is the storage's root.

    Raises AddressRefused where it lies on none, and InvalidRequest where it is no plain ``scheme://host/path`` of an
    object or lies equally well on several.
    """
    if is_folder and not uri.endswith("/"):
        uri += "/"
    matches: list[tuple[int, Storage, str]] = []
    for storage in registered:
        base = registry.base_uri(storage.scheme, storage.options)
        key = _key_below(base, _default_port(storage.scheme, base), uri)
        if key is not None:
            matches.append((len(base), storage, key))
    if not matches:
        raise AddressRefused("No storage of this project covers the address.")
    longest = max(length for length, _, _ in matches)
    best = [(storage, key) for length, storage, key in matches if length == longest]
    if len(best) > 1:
        names = ", ".join(root_bucket_name(storage.name) for storage, _ in best)
        raise InvalidRequest(f"Several storages cover this address; name one of the buckets {names} instead.")
    storage, key = best[0]
    try:
        if key or not is_folder:
            check_key(key.removesuffix("/") if is_folder else key)
    except InvalidKey as exc:
        raise InvalidRequest(f"The address names no object: {exc.detail}.", fields={"uri": exc.detail}) from exc
    return storage, key


def _key_below(base_uri: str, default_port: int | None, uri: str) -> str | None:
    base = urlsplit(base_uri)
    if _NOT_IN_URI.search(uri):
        problem = "scheme://host/path, without user, query, fragment, white space, control character or encoded slash"
        raise InvalidRequest("This is not the URI of an object on a storage.", fields={"uri": problem})
    try:
        asked = urlsplit(uri)
        port = default_port if asked.port is None else asked.port
        path = unquote(asked.path, errors="strict")
    except ValueError as exc:
        raise InvalidRequest("The URI is not well formed.", fields={"uri": "it cannot be taken apart"}) from exc
    same_host = (asked.scheme.lower(), asked.hostname or "", port) == (base.scheme, base.hostname or "", base.port)
    base_path = unquote(base.path)
    return path.removeprefix(base_path) if same_host and path.startswith(base_path) else None


def _default_port(scheme: str, base_uri: str) -> int | None:
    """The port that a URI means which tells none: that of its own scheme, or the default of the kind of storage."""
    defaults = {field.name: field.default for field in registry.describe_registered(scheme).fields}
    port = _WEB_PORTS.get(urlsplit(base_uri).scheme, defaults.get("port"))
    return port if isinstance(port, int) else None
