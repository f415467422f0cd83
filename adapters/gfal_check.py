"""Trying, step by step, all that Waybill needs of a GridFTP or SRM server, with the remedy for each step that fails."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from adapters.base import Adapter, CheckStep
from adapters.errors import AccessDenied, AdapterError, Offline, TimedOut
from adapters.gfal_client import GfalProcess
from adapters.gfal_credential import CredentialFile
from adapters.gfal_errors import translated
from adapters.gfal_library import GfalError
from adapters.gfal_settings import Endpoint
from adapters.trials import resolve, run, store

#: The steps in their order, each with what to do where it fails.
_REMEDIES = {
    "gfal2": "nothing of Waybill needs a restart after that",
    "credential": "make a new proxy (voms-proxy-init, grid-proxy-init) or get a new certificate, and send it as the"
    " storage's secret",
    "authorities": "install the authorities' certificates with their signing policies (such as Debian's"
    " igtf-policy-bundle or EGI's ca-policy-egi-core) and name their folder as ca_folder",
    "resolve": "check the host's name, and that this machine's name server knows it",
    "connect": "check the port, that the server runs there, and that no firewall lies in between",
    "login": "check that the server maps the certificate's subject to a user, that ca_folder has the authority of the"
    " server's certificate, and that the host is named as that certificate names it",
    "read": "check that the root exists on the server, that the user may list it, and that no firewall keeps the"
    " server's data ports from this machine",
    "write": "check that the user may write below the root, that there is space, and that the server computes what"
    " checksum asks for",
    "rename": "set rename_overwrites as the server does it",
    "delete": "check that the user may delete below the root",
}
# The authorities' files are named after the hash of their name, as OpenSSL and Globus look them up.
_AUTHORITY = re.compile(r"[0-9a-f]{8}\.\d+")


def check_steps(adapter: Adapter, endpoint: Endpoint) -> list[CheckStep]:
    """Stops at the first failure; leaves nothing on the server, unless even deleting fails."""
    credential = CredentialFile(endpoint.credential)

    def attempt(passed: Callable[[str], None]) -> None:
        with translated(endpoint.storage), closing(GfalProcess(endpoint, credential)) as process:
            passed(f"gfal2 has the plugins {', '.join(process.plugins)}")
            passed(_current(endpoint))
            passed(_authorities(endpoint))
            passed(resolve(endpoint.host, endpoint.port, storage=endpoint.storage))
            passed(_connect(endpoint))
            _log_in(process, passed)
            _try_objects(adapter, process, passed)

    try:
        return run(_REMEDIES, attempt)
    finally:
        credential.remove()


def _current(endpoint: Endpoint) -> str:
    if endpoint.credential.has_expired:
        raise AccessDenied(endpoint.credential.told(), storage=endpoint.storage)
    return endpoint.credential.told()


def _authorities(endpoint: Endpoint) -> str:
    folder = Path(endpoint.ca_folder)
    try:
        found = [path.name for path in folder.iterdir() if _AUTHORITY.fullmatch(path.name)]
    except OSError as exc:
        raise AdapterError(f"{folder} cannot be read: {exc.strerror}", storage=endpoint.storage) from exc
    if not found:
        raise AdapterError(f"{folder} holds no authority's certificate", storage=endpoint.storage)
    return f"{folder} holds the certificates of {len(found)} authorities"


def _connect(endpoint: Endpoint) -> str:
    where = f"{endpoint.host}:{endpoint.port}"
    try:
        socket.create_connection((endpoint.host, endpoint.port), endpoint.connect_timeout_s).close()
    except TimeoutError as exc:
        raise TimedOut(f"no connection to {where}", storage=endpoint.storage) from exc
    except OSError as exc:
        raise Offline(f"{where}: {exc}", storage=endpoint.storage) from exc
    return f"{where} accepts connections"


def _log_in(process: GfalProcess, passed: Callable[[str], None]) -> None:
    subject = process.endpoint.credential.subject
    try:
        process.enter_root()
    except Offline:
        passed(f"{subject} was let in")  # The server was asked for the root, and answered.
        raise
    passed(f"{subject} was let in")


def _try_objects(adapter: Adapter, process: GfalProcess, passed: Callable[[str], None]) -> None:
    endpoint = process.endpoint
    key = f"waybill-check-{secrets.token_hex(8)}"
    next(iter(adapter.scan(recursive=False)), None)
    passed("the root was listed")
    try:
        store(adapter, key, b"one")
        with adapter.open_read(key) as stream:
            if stream.read() != b"one":
                raise AdapterError("another content was read than was written", storage=adapter.name, key=key)
        compared = f", its {endpoint.checksum} compared" if endpoint.checksum else ""
        passed(f"a file was written{compared}, and read back")
        passed(_try_rename(process, key))
        adapter.delete(key)
        passed("the file was deleted")
    finally:
        with suppress(AdapterError):  # The step that failed is what the operator has to hear of.
            adapter.delete(key)
            adapter.delete(f"{key}-other")


def _try_rename(process: GfalProcess, key: str) -> str:
    """Rename onto what is there, past Waybill's own look before it: the server itself has to do as it is said to."""
    endpoint = process.endpoint
    other = endpoint.url(f"{key}-other")
    process.ask("create", url=other)
    process.ask("write", body=b"other")
    process.ask("close", drain=False)
    refusal = ""
    try:
        process.ask("rename", source=other, target=endpoint.url(key))
    except GfalError as exc:
        refusal = exc.text.strip()[:200]
    if endpoint.rename_overwrites and refusal:
        raise AdapterError(f"the server refuses to rename onto an existing name: {refusal}", storage=endpoint.storage)
    if not endpoint.rename_overwrites and not refusal:
        raise AdapterError("the server renames onto an existing name and overwrites it", storage=endpoint.storage)
    return "the server refuses to rename onto an existing name" if refusal else "a rename replaced the file"
