"""Trying, step by step, all that Waybill needs of an iRODS server, with the remedy for each step that fails."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress

from adapters.base import Adapter, CheckStep, WriteMode
from adapters.errors import AdapterError
from adapters.irods_connection import IrodsConnection, make_account
from adapters.irods_errors import translated
from adapters.irods_settings import Endpoint
from adapters.trials import refuse_overwriting, resolve, run, store

#: The steps in their order, each with what to do where it fails.
_REMEDIES = {
    "resolve": "check the host's name, and that this machine's name server knows it",
    "connect": "check the port, that an iRODS server runs there, that no firewall lies in between, and that its policy"
    " and certificate go with client_server_policy and ca",
    "login": "check zone, username, password and authentication",
    "read": "check that the root exists in the zone and that the user may read it (ils -A)",
    "write": "check that the user may write below the root (ichmod), that the resource exists and is up, and that there"
    " is space",
    "rename": "use a server that refuses to rename onto an existing name",
    "delete": "check that the user may delete below the root (ichmod own)",
}
_CONTENT = b"Waybill was here"


def check_steps(adapter: Adapter, endpoint: Endpoint) -> list[CheckStep]:
    """Stops at the first failure; leaves nothing on the server, unless even deleting fails."""

    def attempt(passed: Callable[[str], None]) -> None:
        passed(resolve(endpoint.host, endpoint.port, storage=endpoint.storage))
        IrodsConnection(endpoint, make_account(endpoint), tell=passed).close()
        with translated(endpoint.storage):
            _try_objects(adapter, endpoint, passed)

    return run(_REMEDIES, attempt)


def _try_objects(adapter: Adapter, endpoint: Endpoint, passed: Callable[[str], None]) -> None:
    key = f"waybill-check-{secrets.token_hex(8)}"
    next(iter(adapter.scan(recursive=False)), None)
    passed(f"the collection {endpoint.root} was listed")
    try:
        with adapter.open_write(key, size=3) as session:
            session.write(b"one")
            late = session.suspend()
        store(adapter, key, b"two", WriteMode.CREATE)
        passed(_written(adapter, key, endpoint))
        refuse_overwriting(adapter, late)
        store(adapter, key, _CONTENT, WriteMode.REPLACE)
        with adapter.open_read(key) as stream:
            if stream.read() != _CONTENT:
                raise AdapterError("another content was read than was written", storage=adapter.name, key=key)
        passed("a rename onto an existing name was refused, a replacement was done and read back")
        adapter.delete(key)
        passed("the object was deleted")
    finally:
        with suppress(AdapterError):  # The step that failed is what the operator has to hear of.
            adapter.delete(key)
            for token in adapter.unfinished_writes(key):
                adapter.abort_write(token)


def _written(adapter: Adapter, key: str, endpoint: Endpoint) -> str:
    if not endpoint.verify_checksums:
        return "an object was written; its checksum was not asked for (verify_checksums)"
    if adapter.stat(key).checksum is None:
        return "an object was written; the server's checksums are not SHA-256 and are not compared"
    return "an object was written, and the server's SHA-256 is ours"
