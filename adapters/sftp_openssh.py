"""The openssh engine: the ssh program carries the channel, which costs this process less than half as much."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import paramiko

from adapters.errors import AccessDenied
from adapters.sftp_agent import Agent
from adapters.sftp_endpoint import Endpoint, Tell
from adapters.sftp_paramiko import meet
from adapters.sftp_process import SshEnded, SshProcess
from adapters.sftp_program import HOST_ALIAS, command, program
from adapters.sftp_wire import SftpWire

#: Enough for many replies to writes, for which nothing large is to be allocated again and again.
_RECV_BYTES = 4 * 1024
#: How ssh says that the server did not prove to be the known one.
_HOST_KEY_WORDS = ("Host key verification failed", "no matching host key type found")

#: Host keys that were met, by their fingerprints; a fingerprint is that of one key for ever, whoever shows it.
_met: dict[str, paramiko.PKey] = {}


class OpensshSession:
    """A Session with a private key, and its Channel. The server is reached in ``log_in`` only."""

    #: Twice as much as ssh's window: it and the sockets keep what is under way, this process does not.
    in_flight_bytes = 4 * 1024 * 1024

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._process: SshProcess | None = None
        self._over = False

    @property
    def is_active(self) -> bool:
        return self._process is not None and self._process.is_running

    def log_in(self, tell: Tell | None) -> SftpWire:
        endpoint = self._endpoint
        host_key = self._known_host_key(tell)
        assert endpoint.private_key is not None, "a password is for the paramiko engine"
        # Only its owner may enter the folder. What outlives a killed process there is no secret and serves no one.
        with tempfile.TemporaryDirectory(prefix="waybill-ssh-") as name:
            known_hosts, agent = Path(name, "known_hosts"), Path(name, "agent")
            known_hosts.write_text(f"{HOST_ALIAS} {host_key.get_name()} {host_key.get_base64()}\n")
            with Agent(agent, endpoint.private_key):
                self._start(known_hosts, agent, host_key)
                try:
                    wire = SftpWire(self)
                except SshEnded as exc:
                    self._refuse_host_key(exc)
                    raise
        self._running().near.settimeout(endpoint.stall_timeout_s)
        if tell is not None:
            tell(f"the user {endpoint.username!r} was let in, by the openssh engine")
        return wire

    def send(self, parts: Sequence[memoryview]) -> int:
        process = self._running()
        try:
            return process.near.sendmsg(parts)
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise process.ended() from exc

    def recv(self, wanted: int) -> bytes:
        process = self._running()
        try:
            data = process.near.recv(max(wanted, _RECV_BYTES))
        except ConnectionResetError as exc:
            raise process.ended() from exc
        if not data:
            raise process.ended()
        return data

    def shut_down(self) -> None:
        with self._lock:
            self._over = True
        if self._process is not None:
            self._process.shut_down()

    def close(self) -> None:
        self.shut_down()
        if self._process is not None:
            self._process.close()

    def _known_host_key(self, tell: Tell | None) -> paramiko.PKey:
        """ssh compares keys and no fingerprints, and does not tell what a check has to show: paramiko does."""
        endpoint = self._endpoint
        known = endpoint.host_key or _met.get(endpoint.fingerprint or "")
        if known is None or tell is not None:
            known = meet(endpoint, tell)
            _met[known.fingerprint] = known
        return known

    def _start(self, known_hosts: Path, agent: Path, host_key: paramiko.PKey) -> None:
        endpoint = self._endpoint
        ssh = program()
        with self._lock:
            if self._over or ssh is None:
                raise SshEnded(["ssh was not started"])
            words = command(endpoint, ssh, host_key=host_key, known_hosts=known_hosts, agent=agent)
            self._process = SshProcess(words)

    def _refuse_host_key(self, ended: SshEnded) -> None:
        """Raises AccessDenied where ssh did not accept the host key; the fingerprint is what paramiko is shown."""
        for said in filter(None, map(ended.line_with, _HOST_KEY_WORDS)):
            meet(self._endpoint)
            raise AccessDenied(f"ssh said: {said}", storage=self._endpoint.storage) from ended

    def _running(self) -> SshProcess:
        assert self._process is not None, "nothing is sent before the login"
        return self._process
