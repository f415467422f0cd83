"""The one place where what an HTTP server, the socket or TLS said becomes one of Waybill's errors."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.errors import (
    AccessDenied,
    AdapterError,
    InvalidKey,
    NotFound,
    Offline,
    OutOfSpace,
    RangeInvalid,
    TimedOut,
    Truncated,
    Unavailable,
    VersionChanged,
)


class HttpRefusal(Exception):
    """An answer with a status that was not asked for; ``words`` is a sentence about it without any secret.

    ``location`` is where a redirect leads to, as the server wrote it; empty for all else.
    """

    def __init__(self, status: int, words: str, *, location: str = "") -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.location = location


class HttpBroken(Exception):
    """An answer that is not what HTTP or WebDAV says it must be."""


class BodyCut(Exception):
    """An answer that ended before its length."""


_MEANING: dict[int, type[AdapterError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    407: AccessDenied,
    408: TimedOut,
    409: Unavailable,
    410: NotFound,
    412: VersionChanged,
    413: OutOfSpace,
    414: InvalidKey,
    416: RangeInvalid,
    423: Unavailable,
    425: Unavailable,
    429: Unavailable,
    501: AdapterError,  # It will not learn the method, or to take chunks, by being asked again.
    504: TimedOut,
    507: OutOfSpace,
}


@contextmanager
def translated(storage: str, key: str = "") -> Iterator[None]:
    """A block that raises AdapterErrors only."""
    try:
        yield
    except HttpRefusal as exc:
        raise _from_status(exc.status)(exc.words, storage=storage, key=key) from exc
    except HttpBroken as exc:
        raise Unavailable(str(exc), storage=storage, key=key) from exc
    except BodyCut as exc:
        raise Truncated(str(exc), storage=storage, key=key) from exc
    except (http.client.HTTPException, OSError) as exc:
        kind, detail = _from_connection(exc)
        raise kind(detail, storage=storage, key=key) from exc


def _from_status(status: int) -> type[AdapterError]:
    return _MEANING.get(status, Unavailable if status >= 500 else AdapterError)


def _from_connection(error: Exception) -> tuple[type[AdapterError], str]:
    match error:
        case ssl.SSLCertVerificationError():
            why = error.verify_message or "it was not verified"
            return AccessDenied, f"the server's certificate is not trusted: {why}; set `ca` if its authority is private"
        case TimeoutError():
            return TimedOut, "the server moved no byte"
        case ConnectionRefusedError():
            return Offline, "the connection was refused"
        case ssl.SSLError():
            return Unavailable, f"TLS failed: {error.reason or 'no reason was given'}"
        case ConnectionError() | http.client.HTTPException():
            return Unavailable, f"the connection broke: {type(error).__name__}"
    return Offline, getattr(error, "strerror", None) or type(error).__name__  # no address, no route
