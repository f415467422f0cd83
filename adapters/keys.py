"""Keys: which names are legal on every storage, and how an unfinished write is named."""

from __future__ import annotations

import re

from adapters.errors import InvalidKey

MAX_KEY_BYTES = 1024
#: A file name is at most 255 bytes on common file systems, and a partial's name adds 42 to it.
MAX_COMPONENT_BYTES = 212

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_PARTIAL = re.compile(r"^\.(?P<name>.+)\.(?P<token>[0-9a-f]{32})\.partial$", re.DOTALL)


def check_key(key: str, *, storage: str = "") -> str:
    """Return ``key`` unchanged, or raise InvalidKey saying what is wrong with it.

    A key is a relative path of components joined by ``/``: none empty, ``.`` or ``..``, no control characters, valid
    UTF-8, and none that looks like an unfinished write.
    """

    def refuse(why: str) -> InvalidKey:
        return InvalidKey(why, storage=storage, key=key)

    try:
        size = len(key.encode())
    except UnicodeEncodeError as exc:
        raise refuse("it is not valid UTF-8") from exc
    if not key:
        raise refuse("it is empty")
    if size > MAX_KEY_BYTES:
        raise refuse(f"it has {size} bytes, {MAX_KEY_BYTES} are allowed")
    if _CONTROL.search(key):
        raise refuse("it holds a control character")
    for component in key.split("/"):
        if component in ("", ".", ".."):
            raise refuse("a component is empty, '.' or '..'")
        if len(component.encode()) > MAX_COMPONENT_BYTES:
            raise refuse(f"a component has more than {MAX_COMPONENT_BYTES} bytes")
        if is_partial(component):
            raise refuse("it is the name of an unfinished write")
    return key


def check_prefix(prefix: str, *, storage: str = "") -> str:
    """Like ``check_key`` for the start of keys: empty, or with a last component that may be cut anywhere."""
    folder, slash, cut = prefix.rpartition("/")
    if cut in (".", "..") or is_partial(cut):
        cut = "x"  # A longer name that begins like this is legal.
    if prefix:
        check_key(f"{folder}{slash}{cut}" if cut else folder or "/", storage=storage)
    return prefix


def shown(name: str) -> str:
    """A name for people: what is not UTF-8 (``surrogateescape``) and control characters as ``\\xff``."""
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def partial_key(key: str, token: str) -> str:
    """Where the bytes of an unfinished write of ``key`` lie: beside it, as ``.<name>.<token>.partial``."""
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}.{name}.{token}.partial"


def is_partial(name: str) -> bool:
    """Whether a file name (not a path) is that of an unfinished write."""
    return _PARTIAL.match(name) is not None


def partial_token(name: str, *, target: str) -> str | None:
    """The token in a partial's file name, if it is one of exactly the file name ``target``."""
    match = _PARTIAL.match(name)
    return match["token"] if match and match["name"] == target else None


def partial_of(name: str) -> tuple[str, str] | None:
    """Of which file name a partial's is, and the token in it; None where it is not the name of one."""
    match = _PARTIAL.match(name)
    return (match["name"], match["token"]) if match else None
