"""The one place where what the driver, the socket or an iRODS server said becomes one of Waybill's errors."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree.ElementTree import ParseError

from irods import exception as driver
from irods.auth import REQUEST_IS_MISSING_KEY, ClientAuthError
from irods.connection import PlainTextPAMPasswordError
from irods.message import iRODSMessage

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

#: What servers of different releases say of a path at which no data object lies.
MISSING = (
    driver.CAT_NO_ROWS_FOUND,
    driver.CAT_UNKNOWN_COLLECTION,
    driver.CAT_UNKNOWN_FILE,
    driver.CAT_NOT_A_DATAOBJ_AND_NOT_A_COLLECTION,
    driver.OBJ_PATH_DOES_NOT_EXIST,
    driver.USER_FILE_DOES_NOT_EXIST,
    driver.SYS_REPLICA_DOES_NOT_EXIST,
)
#: What they say of a rename or a creation at a path that is taken.
TAKEN = (
    driver.CAT_NAME_EXISTS_AS_DATAOBJ,
    driver.CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
    driver.OVERWRITE_WITHOUT_FORCE_FLAG,
)
#: What they say of an object while somebody writes to it, also for a moment after a writer has gone.
LOCKED = (driver.LOCKED_DATA_OBJECT_ACCESS, driver.HIERARCHY_ERROR)

_MEANING: tuple[tuple[type[AdapterError], tuple[type[driver.iRODSException], ...]], ...] = (
    (AlreadyExists, TAKEN),
    (
        InvalidKey,
        (
            driver.CAT_NAME_EXISTS_AS_COLLECTION,
            driver.USER_INPUT_PATH_ERR,
            driver.USER_PATH_EXCEEDS_MAX,
            driver.USER_STRLEN_TOOLONG,
        ),
    ),
    (
        AccessDenied,
        (
            driver.CAT_INVALID_AUTHENTICATION,
            driver.CAT_INVALID_USER,
            driver.CAT_INVALID_ZONE,
            driver.CAT_INVALID_CLIENT_USER,
            driver.CAT_PASSWORD_EXPIRED,
            driver.CAT_NO_ACCESS_PERMISSION,
            driver.CAT_INSUFFICIENT_PRIVILEGE_LEVEL,
            driver.SYS_NO_API_PRIV,
            driver.SYS_NO_PATH_PERMISSION,
            driver.SYS_NO_DATA_OBJ_PERMISSION,
            driver.SYS_PROXYUSER_NO_PRIV,
            driver.SYS_USER_NOT_ALLOWED_TO_CONN,
            driver.USER_ACCESS_DENIED,
            driver.PAMException,
        ),
    ),
    (OutOfSpace, (driver.SYS_RESC_QUOTA_EXCEEDED, driver.USER_FILE_TOO_LARGE)),
    (Offline, (driver.SYS_INVALID_ZONE_NAME,)),
    # An operator has to set another resource, or another server.
    (AdapterError, (driver.SYS_RESC_DOES_NOT_EXIST, driver.CAT_INVALID_RESOURCE, driver.SYS_UNMATCHED_API_NUM)),
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ProtocolBroken(Exception):
    """What came is no message of the iRODS protocol, or larger than any that was asked for."""


class NotEncrypted(Exception):
    """TLS is required and the server did not begin it."""


@contextmanager
def understanding() -> Iterator[None]:
    """A block that takes apart what a server said: whatever the driver stumbles over in it is ProtocolBroken."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, RuntimeError) as exc:
        raise ProtocolBroken(f"{type(exc).__name__} in what the server said") from exc


@contextmanager
def translated(storage: str, key: str = "", *, absent: type[AdapterError] = NotFound) -> Iterator[None]:
    """A block that raises AdapterErrors only; a missing object is ``absent``."""
    try:
        yield
    except driver.iRODSException as exc:
        raise _meaning(exc, absent)(f"the server said {name_of(exc)}", storage=storage, key=key) from exc
    except driver.NetworkException as exc:
        kind, detail = _from_connecting(exc)
        raise kind(detail, storage=storage, key=key) from exc
    except TimeoutError as exc:
        raise TimedOut("the server moved no byte", storage=storage, key=key) from exc
    except ssl.SSLCertVerificationError as exc:
        detail = f"the server's certificate is not trusted: {exc.verify_message}; set ca if its authority is private"
        raise AccessDenied(detail, storage=storage, key=key) from exc
    except (NotEncrypted, PlainTextPAMPasswordError) as exc:
        detail = "the server does not begin TLS, which client_server_policy requires"
        raise AdapterError(detail, storage=storage, key=key) from exc
    except (ClientAuthError, REQUEST_IS_MISSING_KEY) as exc:
        raise AccessDenied("the server ended the login without letting us in", storage=storage, key=key) from exc
    except (ProtocolBroken, ParseError, iRODSMessage.ResponseNotParseable, ValueError) as exc:
        detail = f"its answer is not that of an iRODS server ({type(exc).__name__})"
        raise Unavailable(detail, storage=storage, key=key) from exc
    except (OSError, EOFError) as exc:
        raise Unavailable(f"the connection broke: {exc or type(exc).__name__}", storage=storage, key=key) from exc


def name_of(exc: driver.iRODSException) -> str:
    """The error's name and number as iRODS' own manuals have them."""
    return f"{type(exc).__name__} ({getattr(exc, 'code', 'no code')})"


def _meaning(exc: driver.iRODSException, absent: type[AdapterError]) -> type[AdapterError]:
    if isinstance(exc, MISSING):
        return absent
    # The last three digits of a code are the errno that the resource met.
    if isinstance(exc, driver.FileDriverException) and abs(getattr(exc, "code", 0)) % 1000 in _FULL:
        return OutOfSpace
    return next((kind for kind, codes in _MEANING if isinstance(exc, codes)), Unavailable)


def _from_connecting(exc: driver.NetworkException) -> tuple[type[AdapterError], str]:
    """The driver raises this where no connection came about; why is only in the exception that it met."""
    met = exc.__context__
    if isinstance(met, TimeoutError):
        return TimedOut, "no connection came about in time"
    if isinstance(met, OSError):
        return Offline, f"{exc}: {met}"
    if "negotiation failure" in str(exc):
        return AdapterError, "the server's policy on TLS excludes ours (client_server_policy)"
    return Unavailable, str(exc)
