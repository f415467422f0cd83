"""Trying, step by step, all that Waybill needs of an SFTP server, with the remedy for each step that fails."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress

from adapters.base import Adapter, CheckStep, WriteMode
from adapters.errors import AdapterError
from adapters.sftp_connection import SftpConnection
from adapters.sftp_endpoint import Endpoint
from adapters.sftp_errors import translated
from adapters.trials import refuse_overwriting, resolve, run, store

#: The steps in their order, each with what to do where it fails.
_REMEDIES = {
    "resolve": "check the host's name, and that this machine's name server knows it",
    "connect": "check the port, that an SSH server runs there, and that no firewall lies in between",
    "host key": "compare the fingerprint with the server's own: ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub",
    "login": "check the username and the credential, and that the server allows this user the sftp subsystem",
    "read": "check that the root exists on the server and that the user may list it",
    "write": "check that the user may write below the root, and that there is space",
    "rename": "use a server that refuses to rename onto an existing name and offers posix-rename@openssh.com",
    "delete": "check that the user may delete below the root",
}


def check_steps(adapter: Adapter, endpoint: Endpoint) -> list[CheckStep]:
    """Stops at the first failure; leaves nothing on the server, unless even deleting fails."""

    def attempt(passed: Callable[[str], None]) -> None:
        with translated(endpoint.storage):
            passed(resolve(endpoint.host, endpoint.port, storage=endpoint.storage))
            SftpConnection(endpoint, tell=passed).close()
            _try_objects(adapter, passed)

    return run(_REMEDIES, attempt)


def _try_objects(adapter: Adapter, passed: Callable[[str], None]) -> None:
    key = f"waybill-check-{secrets.token_hex(8)}"
    next(iter(adapter.scan(recursive=False)), None)
    passed("the root was listed")
    try:
        with adapter.open_write(key, size=3) as session:
            session.write(b"one")
            late = session.suspend()
        passed("a file was written")
        store(adapter, key, b"two", WriteMode.CREATE)
        refuse_overwriting(adapter, late)
        store(adapter, key, b"three", WriteMode.REPLACE)
        with adapter.open_read(key) as stream:
            if stream.read() != b"three":
                raise AdapterError("another content was read than was written", storage=adapter.name, key=key)
        passed("a rename onto an existing name was refused, an atomic replacement was done and read back")
        adapter.delete(key)
        passed("the file was deleted")
    finally:
        with suppress(AdapterError):  # The step that failed is what the operator has to hear of.
            adapter.delete(key)
            for token in adapter.unfinished_writes(key):
                adapter.abort_write(token)
