"""Where an SFTP server is and what is asked of a session with it, whichever engine speaks SSH."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import paramiko

from adapters.errors import AccessDenied, AdapterError, TimedOut
from adapters.sftp_wire import SftpWire


class Engine(StrEnum):
    """Who speaks SSH. AUTO is OPENSSH where that is possible, else PARAMIKO."""

    AUTO = "auto"
    PARAMIKO = "paramiko"
    OPENSSH = "openssh"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is, how it proves who it is, and how we do. Exactly one of each pair is set."""

    storage: str
    host: str
    port: int
    username: str
    root: str
    host_key: paramiko.PKey | None
    fingerprint: str | None
    password: str | None = field(repr=False)
    private_key: paramiko.PKey | None = field(repr=False)
    connect_timeout_s: float
    stall_timeout_s: float
    engine: Engine = Engine.AUTO


#: Is told what was found when the server was reached, then proved itself, then let us in.
Tell = Callable[[str], None]


class Session(Protocol):
    """One SSH session with one SFTP channel. Making one may raise Offline and TimedOut."""

    def log_in(self, tell: Tell | None) -> SftpWire:
        """Compare the host key, prove who we are and open the channel. Raises AccessDenied for either."""

    @property
    def is_active(self) -> bool:
        """Whether the session has not ended, as far as this side knows."""

    def shut_down(self) -> None:
        """End it from any thread; whoever waits for it wakes up."""

    def close(self) -> None:
        """Idempotent; threads, descriptors and processes of the session are gone when it returns."""


@contextmanager
def in_time(endpoint: Endpoint, shut_down: Callable[[], None]) -> Iterator[None]:
    """One time limit over all steps of connecting, some of which have none of their own. Raises TimedOut."""
    limit_s = endpoint.connect_timeout_s
    late = threading.Event()

    def give_up() -> None:
        late.set()
        shut_down()

    timer = threading.Timer(limit_s, give_up)
    timer.start()
    try:
        yield
    except AdapterError:
        raise
    except Exception as exc:
        if late.is_set():
            raise TimedOut(f"no session within {limit_s:g} s", storage=endpoint.storage) from exc
        raise
    finally:
        timer.cancel()


def refuse_unknown(endpoint: Endpoint, presented: paramiko.PKey) -> None:
    """Raises AccessDenied, which shows the fingerprint, for a host key that is not the known one."""
    if endpoint.host_key is not None:
        known = presented == endpoint.host_key
    else:
        known = endpoint.fingerprint is not None and presented.fingerprint == endpoint.fingerprint
    if known:
        return
    shown = f"{endpoint.host}:{endpoint.port} presented the host key {presented.fingerprint} ({presented.get_name()})"
    if endpoint.host_key is None and endpoint.fingerprint is None:
        detail = f"{shown} and none is known; if its operator confirms it, set it as host_key_fingerprint"
    else:
        expected = endpoint.fingerprint or getattr(endpoint.host_key, "fingerprint", "")
        detail = f"{shown}, not {expected}; if its operator confirms the change, set it as host_key_fingerprint"
    raise AccessDenied(detail, storage=endpoint.storage)


def host_key_algorithms(key: paramiko.PKey) -> tuple[str, ...]:
    """Those by which a server proves that it has ``key``."""
    name = key.get_name()
    return ("rsa-sha2-512", "rsa-sha2-256") if name == "ssh-rsa" else (name,)
