"""The paramiko engine: SSH in this process, which every machine and every credential allows."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence

import paramiko

from adapters.errors import AccessDenied, Offline, TimedOut
from adapters.sftp_endpoint import Endpoint, Tell, host_key_algorithms, in_time, refuse_unknown
from adapters.sftp_wire import SftpWire

#: The quickest of those that paramiko knows and OpenSSH offers; paramiko itself would take it last.
_FIRST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
#: A read takes up to five times that for a moment, because paramiko's buffer copies what it gives.
IN_FLIGHT_BYTES = 2 * 1024 * 1024
#: Room for all replies under way, and for the packets around them.
_WINDOW_BYTES = 2 * IN_FLIGHT_BYTES
#: What one packet of SSH takes.
_SEND_BYTES = 32 * 1024

# What paramiko logs it also raises, and then it is told once, by us.
_DRIVER_LOG = "adapters.sftp.paramiko"
logging.getLogger(_DRIVER_LOG).setLevel(logging.CRITICAL)


class ParamikoSession:
    """A Session and its Channel. Making one reaches the server: raises Offline and TimedOut."""

    in_flight_bytes = IN_FLIGHT_BYTES

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._socket = _Socket.reach(endpoint)
        self._transport = paramiko.Transport(self._socket)

    @property
    def is_active(self) -> bool:
        return self._transport.is_active()

    def log_in(self, tell: Tell | None) -> SftpWire:
        self.meet(tell)
        self._authenticate()
        if tell is not None:
            tell(f"the user {self._endpoint.username!r} was let in, by the paramiko engine")
        self._channel = self._transport.open_session(window_size=_WINDOW_BYTES)
        self._channel.settimeout(self._endpoint.stall_timeout_s)
        self._channel.invoke_subsystem("sftp")
        return SftpWire(self)

    def meet(self, tell: Tell | None) -> paramiko.PKey:
        """Agree on algorithms; returns the host key. Raises AccessDenied where it is not the known one."""
        transport, endpoint = self._transport, self._endpoint
        transport.set_log_channel(_DRIVER_LOG)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = endpoint.connect_timeout_s
        options = transport.get_security_options()
        options.ciphers = _first(_FIRST_CIPHERS, options.ciphers)
        if endpoint.host_key is not None:
            options.key_types = _first(host_key_algorithms(endpoint.host_key), options.key_types)
        transport.start_client()
        if tell is not None:
            tell(f"{endpoint.host}:{endpoint.port} is {transport.remote_version}")
        presented = transport.get_remote_server_key()
        refuse_unknown(endpoint, presented)
        if tell is not None:
            tell(f"{presented.fingerprint} ({presented.get_name()}) is the known one")
        return presented

    def send(self, parts: Sequence[memoryview]) -> int:
        data = b""
        for part in parts:
            data += part[: _SEND_BYTES - len(data)]
        return self._channel.send(data)

    def recv(self, wanted: int) -> bytes:  # noqa: ARG002  it takes all that is there
        # Its buffer gives out all that it has without moving the rest of it.
        return self._channel.recv(IN_FLIGHT_BYTES)

    def shut_down(self) -> None:
        self._socket.shut_down()

    def close(self) -> None:
        # Shutting down wakes the thread that reads; closing under it might hand its descriptor to another connection.
        self._socket.shut_down()
        if self._transport.is_alive():
            self._transport.join(self._endpoint.connect_timeout_s)
        self._transport.close()
        self._socket.close()

    def _authenticate(self) -> None:
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


def meet(endpoint: Endpoint, tell: Tell | None = None) -> paramiko.PKey:
    """The host key that the server presents, if it is the known one; nobody logs in.

    Raises AccessDenied, which shows the fingerprint, and what connecting raises.
    """
    session = ParamikoSession(endpoint)
    try:
        with in_time(endpoint, session.shut_down):
            return session.meet(tell)
    finally:
        session.close()


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
