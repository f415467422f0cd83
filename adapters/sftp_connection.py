"""One SSH connection with one SFTP channel: reached, its host key compared, logged in, its root found."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import paramiko

from adapters.errors import AccessDenied, AdapterError, Offline, TimedOut
from adapters.sftp_messages import Kind, ProtocolBroken, SftpStatus
from adapters.sftp_wire import IN_FLIGHT_BYTES, SftpWire

#: The quickest of those that paramiko knows and OpenSSH offers; paramiko itself would take it last.
_FIRST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
#: Room for all replies under way, and for the packets around them.
_WINDOW_BYTES = 2 * IN_FLIGHT_BYTES

# What paramiko logs it also raises, and then it is told once, by us.
_DRIVER_LOG = "adapters.sftp.paramiko"
logging.getLogger(_DRIVER_LOG).setLevel(logging.CRITICAL)


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


class SftpConnection:
    """A connection that is ready for requests at ``wire``; ``root`` is the root's real path and ends in ``/``.

    Making one takes at most ``connect_timeout_s`` and raises AdapterErrors: Offline, TimedOut, AccessDenied for a
    host key that is not the known one (``detail`` shows the one presented) and for a login that was refused.
    """

    def __init__(self, endpoint: Endpoint, *, tell: Callable[[str], None] = lambda _: None) -> None:
        """``tell`` is told what was found when the server was reached, then proved itself, then let us in."""
        self.storage = endpoint.storage
        self._endpoint = endpoint
        self._tell = tell
        self._socket = _Socket.reach(endpoint)
        self._transport = paramiko.Transport(self._socket)
        self.idle_since = time.monotonic()
        try:
            with self._in_time():
                self._negotiate()
                self._log_in()
                self.wire = self._open_channel()
                self.root = self._find_root()
        except BaseException:
            self.close()
            raise

    @property
    def usable(self) -> bool:
        return self.wire.usable and self._transport.is_active()

    def answers(self) -> bool:
        """Whether the server still answers; costs one round trip."""
        if self.usable:
            try:
                self.wire.reply(self.wire.ask(Kind.REALPATH, b"."))
            except (OSError, EOFError, ProtocolBroken, paramiko.SSHException):
                return False
        return self.usable

    def close(self) -> None:
        """Idempotent; the driver's thread and its socket are gone when it returns."""
        # Shutting down wakes the thread that reads; closing under it might hand its descriptor to another connection.
        self._socket.shut_down()
        if self._transport.is_alive():
            self._transport.join(self._endpoint.connect_timeout_s)
        self._transport.close()
        self._socket.close()

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """One time limit over everything that paramiko waits for, some of it without a limit of its own."""
        limit_s = self._endpoint.connect_timeout_s
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._socket.shut_down()

        timer = threading.Timer(limit_s, give_up)
        timer.start()
        try:
            yield
        except AdapterError:
            raise
        except Exception as exc:
            if late.is_set():
                detail = f"no session within {limit_s:g} s"
                raise TimedOut(detail, storage=self._endpoint.storage) from exc
            raise
        finally:
            timer.cancel()

    def _negotiate(self) -> None:
        transport, endpoint = self._transport, self._endpoint
        transport.set_log_channel(_DRIVER_LOG)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = endpoint.connect_timeout_s
        options = transport.get_security_options()
        options.ciphers = _first(_FIRST_CIPHERS, options.ciphers)
        if endpoint.host_key is not None:
            options.key_types = _first(_algorithms(endpoint.host_key), options.key_types)
        transport.start_client()
        self._tell(f"{endpoint.host}:{endpoint.port} is {transport.remote_version}")
        presented = transport.get_remote_server_key()
        if endpoint.host_key is not None:
            known = presented == endpoint.host_key
        else:
            known = endpoint.fingerprint is not None and presented.fingerprint == endpoint.fingerprint
        if not known:
            raise AccessDenied(self._unknown_host(presented), storage=endpoint.storage)
        self._tell(f"{presented.fingerprint} ({presented.get_name()}) is the known one")

    def _unknown_host(self, presented: paramiko.PKey) -> str:
        endpoint = self._endpoint
        shown = (
            f"{endpoint.host}:{endpoint.port} presented the host key {presented.fingerprint} ({presented.get_name()})"
        )
        if endpoint.host_key is None and endpoint.fingerprint is None:
            return f"{shown} and none is known; if its operator confirms it, set it as host_key_fingerprint"
        expected = endpoint.fingerprint or getattr(endpoint.host_key, "fingerprint", "")
        return f"{shown}, not {expected}; if its operator confirms the change, set it as host_key_fingerprint"

    def _log_in(self) -> None:
        transport, endpoint = self._transport, self._endpoint
        try:
            if endpoint.private_key is not None:
                further = transport.auth_publickey(endpoint.username, endpoint.private_key)
            else:
                further = transport.auth_password(endpoint.username, endpoint.password or "")
        except paramiko.BadAuthenticationType as exc:
            detail = f"the server accepts only {', '.join(exc.allowed_types)} for the user {endpoint.username!r}"
            raise AccessDenied(detail, storage=endpoint.storage) from exc
        except paramiko.AuthenticationException as exc:
            if not transport.is_active():
                raise  # The connection went while it was being asked: that says nothing about the credential.
            what = "password" if endpoint.private_key is None else "private key"
            detail = f"the {what} of the user {endpoint.username!r} was refused"
            raise AccessDenied(detail, storage=endpoint.storage) from exc
        if further:
            detail = f"after the first proof the server also asks for {', '.join(further)}"
            raise AccessDenied(detail, storage=endpoint.storage)
        self._tell(f"the user {endpoint.username!r} was let in")

    def _open_channel(self) -> SftpWire:
        channel = self._transport.open_session(window_size=_WINDOW_BYTES)
        channel.settimeout(self._endpoint.stall_timeout_s)
        channel.invoke_subsystem("sftp")
        return SftpWire(channel)

    def _find_root(self) -> bytes:
        path = self._endpoint.root.encode() or b"."
        real, found = self.wire.gather(self.wire.ask(Kind.REALPATH, path), self.wire.ask(Kind.STAT, path))
        try:
            if found.attributes().is_folder:
                return real.path().rstrip(b"/") + b"/"
            detail = f"the root {self._endpoint.root!r} is not a folder on the server"
            raise Offline(detail, storage=self._endpoint.storage)
        except SftpStatus as exc:
            # As when its file system is not mounted: the objects may all be there, so this must never be NotFound.
            detail = f"the root {self._endpoint.root!r} cannot be read on the server: {exc}"
            raise Offline(detail, storage=self._endpoint.storage) from exc


class SendStalled(paramiko.ProxyCommandFailure):
    """No byte could be sent within the time limit. This base is the one that paramiko passes on to the sender."""


class _Socket(socket.socket):
    """paramiko repeats for ever a send that the peer takes nothing of; this one gives up after ``stall_timeout_s``."""

    stall_timeout_s: float
    _stalled_since: float | None = None

    @classmethod
    def reach(cls, endpoint: Endpoint) -> _Socket:
        """Raises Offline and TimedOut."""
        where = f"{endpoint.host}:{endpoint.port}"
        try:
            plain = socket.create_connection((endpoint.host, endpoint.port), endpoint.connect_timeout_s)
        except TimeoutError as exc:
            detail = f"no connection to {where} within {endpoint.connect_timeout_s:g} s"
            raise TimedOut(detail, storage=endpoint.storage) from exc
        except (OSError, UnicodeError) as exc:
            raise Offline(f"{where}: {exc}", storage=endpoint.storage) from exc
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        reached = cls(fileno=plain.detach())
        reached.stall_timeout_s = endpoint.stall_timeout_s
        return reached

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        try:
            sent = super().send(data, flags)
        except TimeoutError as exc:
            now = time.monotonic()
            self._stalled_since = self._stalled_since or now
            if now - self._stalled_since > self.stall_timeout_s:
                raise SendStalled("send", "the server takes no more bytes") from exc
            raise
        self._stalled_since = None
        return sent

    def shut_down(self) -> None:
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # It was closed or never connected any more, which is what was wanted.


def _first(wanted: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """``known``, with those of it that are wanted in front."""
    return tuple(sorted(known, key=lambda name: name not in wanted))


def _algorithms(key: paramiko.PKey) -> tuple[str, ...]:
    """The host key algorithms by which a server proves that it has ``key``."""
    name = key.get_name()
    return ("rsa-sha2-512", "rsa-sha2-256") if name == "ssh-rsa" else (name,)
