"""The one place where what paramiko, the socket or the server said becomes one of Waybill's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from adapters.errors import AccessDenied, AdapterError, InvalidKey, NotFound, TimedOut, Unavailable
from adapters.sftp_connection import SendStalled
from adapters.sftp_messages import Code, ProtocolBroken, SftpStatus

_MEANING: dict[int, type[AdapterError]] = {
    Code.NO_SUCH_FILE: NotFound,
    Code.PERMISSION_DENIED: AccessDenied,
    # OpenSSH says this for a name that is too long or that its file system does not take.
    Code.BAD_MESSAGE: InvalidKey,
    Code.OP_UNSUPPORTED: AdapterError,
}


@contextmanager
def translated(storage: str, key: str = "", *, absent: type[AdapterError] = NotFound) -> Iterator[None]:
    """A block that raises AdapterErrors only; a missing file is ``absent``."""
    try:
        yield
    except SftpStatus as exc:
        kind = absent if exc.code == Code.NO_SUCH_FILE else _MEANING.get(exc.code, Unavailable)
        raise kind(f"the server said: {exc}", storage=storage, key=key) from exc
    except (TimeoutError, SendStalled) as exc:
        raise TimedOut("the server moved no byte", storage=storage, key=key) from exc
    except IncompatiblePeer as exc:
        raise AdapterError(f"no common algorithm: {exc}", storage=storage, key=key) from exc
    except (OSError, EOFError, ProtocolBroken, paramiko.SSHException) as exc:
        raise Unavailable(f"the connection broke: {exc or type(exc).__name__}", storage=storage, key=key) from exc
