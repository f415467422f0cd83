"""The one place where what paramiko, ssh, the socket or the server said becomes one of Waybill's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from adapters.errors import AccessDenied, AdapterError, InvalidKey, NotFound, Offline, TimedOut, Unavailable
from adapters.sftp_messages import Code, ProtocolBroken, SftpStatus
from adapters.sftp_paramiko import SendStalled
from adapters.sftp_process import SshEnded

_MEANING: dict[int, type[AdapterError]] = {
    Code.NO_SUCH_FILE: NotFound,
    Code.PERMISSION_DENIED: AccessDenied,
    # OpenSSH says this for a name that is too long or that its file system does not take.
    Code.BAD_MESSAGE: InvalidKey,
    Code.OP_UNSUPPORTED: AdapterError,
}

#: What ssh says as it ends; its exit status is the same for all of it. The last line that says one of these counts.
_SSH_WORDS: tuple[tuple[str, type[AdapterError]], ...] = (
    ("Permission denied (", AccessDenied),
    ("Could not resolve hostname", Offline),
    ("Connection refused", Offline),
    ("No route to host", Offline),
    ("Network is unreachable", Offline),
    ("timed out", TimedOut),
    ("not responding", TimedOut),
    ("Unable to negotiate", AdapterError),
    # It is too old, or was built without what every ssh has.
    ("Bad configuration option", AdapterError),
    ("Bad SSH2 cipher spec", AdapterError),
)


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
    except SshEnded as exc:
        raise _what_ssh_meant(exc, storage, key) from exc
    except (OSError, EOFError, ProtocolBroken, paramiko.SSHException) as exc:
        raise Unavailable(f"the connection broke: {exc or type(exc).__name__}", storage=storage, key=key) from exc


def _what_ssh_meant(ended: SshEnded, storage: str, key: str) -> AdapterError:
    for line in reversed(ended.lines):
        for words, kind in _SSH_WORDS:
            if words in line:
                what = "the private key was refused" if kind is AccessDenied else "the connection ended"
                return kind(f"{what}; ssh said: {line}", storage=storage, key=key)
    return Unavailable(f"the connection broke; ssh said: {ended}", storage=storage, key=key)
