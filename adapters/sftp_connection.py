"""One connection that is ready for SFTP requests: logged in by whichever engine, its root found."""

from __future__ import annotations

import time

import paramiko

from adapters.errors import Offline
from adapters.sftp_endpoint import Endpoint, Session, Tell, in_time
from adapters.sftp_engines import start_session
from adapters.sftp_messages import Kind, ProtocolBroken, SftpStatus


class SftpConnection:
    """A connection that is ready for requests at ``wire``; ``root`` is the root's real path and ends in ``/``.

    Making one takes at most ``connect_timeout_s`` and raises AdapterErrors: Offline, TimedOut, AccessDenied for a
    host key that is not the known one (``detail`` shows the one presented) and for a login that was refused.
    """

    def __init__(self, endpoint: Endpoint, *, tell: Tell | None = None) -> None:
        self.storage = endpoint.storage
        self._endpoint = endpoint
        self._session: Session = start_session(endpoint)
        self.idle_since = time.monotonic()
        try:
            with in_time(endpoint, self._session.shut_down):
                self.wire = self._session.log_in(tell)
                self.root = self._find_root()
        except BaseException:
            self.close()
            raise

    @property
    def usable(self) -> bool:
        return self.wire.usable and self._session.is_active

    def answers(self) -> bool:
        """Whether the server still answers; costs one round trip."""
        if self.usable:
            try:
                self.wire.reply(self.wire.ask(Kind.REALPATH, b"."))
            except (OSError, EOFError, ProtocolBroken, paramiko.SSHException):
                return False
        return self.usable

    def close(self) -> None:
        """Idempotent; threads, sockets and processes of the connection are gone when it returns."""
        self._session.close()

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
