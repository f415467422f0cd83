"""The one place where what gfal2, its server or the end of its process said becomes one of Waybill's errors."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.errors import (
    AccessDenied,
    AdapterError,
    AlreadyExists,
    InvalidKey,
    NotFound,
    Offline,
    OutOfSpace,
    TimedOut,
    Unavailable,
)
from adapters.gfal_library import GfalError

_MEANING: dict[int, type[AdapterError]] = {
    errno.ENOENT: NotFound,
    errno.EEXIST: AlreadyExists,
    errno.EISDIR: InvalidKey,
    errno.ENAMETOOLONG: InvalidKey,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ENOSPC: OutOfSpace,
    errno.EDQUOT: OutOfSpace,
    errno.EFBIG: OutOfSpace,
    errno.ETIMEDOUT: TimedOut,
    errno.ECANCELED: TimedOut,  # gfal2 itself gave up.
    errno.ECONNREFUSED: Offline,
    errno.EHOSTDOWN: Offline,
    errno.EHOSTUNREACH: Offline,
    errno.ENETUNREACH: Offline,
    errno.ENOTSUP: AdapterError,
    errno.ENOSYS: AdapterError,
    errno.EPROTONOSUPPORT: AdapterError,
}
#: After these the session is as good as before: the server said no, and nothing was under way.
_HARMLESS = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG}
#: Said when there is no session; gfal2 makes a code of single words in it ("not found"), which mean no file then.
_NO_SESSION: tuple[tuple[str, type[AdapterError]], ...] = (
    ("unable to connect", Offline),
    ("getaddrinfo failed", Offline),
    ("gss major status", AccessDenied),
    ("could not load the user credentials", AccessDenied),
    ("could not open the user certificate", AccessDenied),
    ("could not open the user private key", AccessDenied),
    ("login incorrect", AccessDenied),
)
#: gfal2 has one code (ECOMM) for most of what Globus tells it, so that the words have to say what it was.
_WORDS: tuple[tuple[str, type[AdapterError]], ...] = (
    *_NO_SESSION,
    ("connection refused", Offline),
    ("path not allowed", AccessDenied),
    ("no space left", OutOfSpace),
    ("quota exceeded", OutOfSpace),
    ("timed out", TimedOut),
)
# The Grid Community Toolkit's server says both, where it knows them, whatever it was asked.
_SERVERS_CODE = re.compile(r"GridFTP-Errno: (\d+)")
_SERVERS_WORDS = re.compile(r"GridFTP-Error-String: (.+?)\s+\d{3}[ -]")
_CODE_BEFORE_LINE = re.compile(r"\s\d{3}[- ](?=\S)|\s+")
# FTP's replies for a command or a parameter that is not known (RFC 959, section 4.2.1).
_NOT_KNOWN = re.compile(r"responded with an error 50[0-4]\b")
_DETAIL_CHARACTERS = 300


class ProcessEnded(Exception):
    """A gfal2 process is gone; the text says how it ended."""


class ProcessStalled(Exception):
    """A gfal2 process gave no answer within its time limit and was killed; the text says which limit."""


class GfalMissing(Exception):
    """gfal2 or one of its plugins is not installed; the text says what to install."""


def error_code(error: GfalError) -> int:
    """The server's own errno where it tells one, else gfal2's; ECOMM where there is no session."""
    if told := _SERVERS_CODE.search(error.text):
        return int(told[1])
    text = error.text.lower()
    return errno.ECOMM if any(words in text for words, _ in _NO_SESSION) else error.code


def is_harmless(error: GfalError) -> bool:
    """Whether the process that raised it can be used again."""
    return error_code(error) in _HARMLESS


def is_unsupported(error: GfalError) -> bool:
    """Whether the server does not know what it was asked to do, at least not with these words."""
    code = error_code(error)
    return code in (errno.ENOTSUP, errno.ENOSYS) or (code == errno.ECOMM and bool(_NOT_KNOWN.search(error.text)))


@contextmanager
def translated(
    storage: str, key: str = "", *, absent: type[AdapterError] = NotFound, below: type[AdapterError] = NotFound
) -> Iterator[None]:
    """A block that raises AdapterErrors only.

    A missing file is ``absent``, and ``below`` what it means that a component of the key is no folder.
    """
    try:
        yield
    except GfalError as exc:
        raise _kind(exc, absent, below)(_detail(exc), storage=storage, key=key) from exc
    except ProcessStalled as exc:
        raise TimedOut(str(exc), storage=storage, key=key) from exc
    except GfalMissing as exc:
        raise AdapterError(str(exc), storage=storage, key=key) from exc
    except ProcessEnded as exc:
        raise Unavailable(str(exc), storage=storage, key=key) from exc


def _kind(error: GfalError, absent: type[AdapterError], below: type[AdapterError]) -> type[AdapterError]:
    code = error_code(error)
    if code == errno.ENOENT:
        return absent
    if code == errno.ENOTDIR:
        return below
    text = error.text.lower()
    said = next((kind for words, kind in _WORDS if words in text), None)
    return said or _MEANING.get(code, Unavailable)


def _detail(error: GfalError) -> str:
    """One short sentence: the server's own words where they can be told apart from the frame around them."""
    told = _SERVERS_WORDS.search(error.text)
    text = told[1] if told else _CODE_BEFORE_LINE.sub(" ", error.text)
    text = text.strip().strip(".")
    if len(text) > _DETAIL_CHARACTERS:
        text = f"…{text[-_DETAIL_CHARACTERS:]}"  # Globus begins with what gave up and ends with why.
    return text or f"gfal2 gave the code {error.code}"
