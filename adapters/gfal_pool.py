"""A bounded number of gfal2 processes for one storage, kept for a while between two uses."""

from __future__ import annotations

from adapters.gfal_client import GfalProcess
from adapters.gfal_credential import CredentialFile
from adapters.gfal_settings import Endpoint
from adapters.pool import IDLE_S, Pool


class GfalPool(Pool[GfalProcess]):
    """At most ``max_processes``; the file of the credential goes with the last of them."""

    def __init__(self, endpoint: Endpoint, *, idle_s: float = IDLE_S) -> None:
        super().__init__(
            self.start,
            storage=endpoint.storage,
            limit=endpoint.max_processes,
            wait_s=endpoint.connect_timeout_s,
            idle_s=idle_s,
            what="gfal2 processes (max_processes)",
        )
        self._endpoint = endpoint
        self._credential = CredentialFile(endpoint.credential)
        self._users = 0

    def take(self) -> GfalProcess:
        with self._lock:
            self._users += 1
        try:
            return super().take()
        except BaseException:
            self._leave()
            raise

    def give_back(self, connection: GfalProcess) -> None:
        try:
            super().give_back(connection)
        finally:
            self._leave()

    def close(self) -> None:
        """End the idle processes, and from now on every other one when it is given back; then the credential goes."""
        super().close()
        self._forget_credential()

    def start(self) -> GfalProcess:
        """A process with a session that is none of the pool's; the caller closes it."""
        process = GfalProcess(self._endpoint, self._credential)
        try:
            process.enter_root()
        except BaseException:
            process.close()
            raise
        return process

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
        self._forget_credential()

    def _forget_credential(self) -> None:
        with self._lock:
            if self._closed and not self._users:
                self._credential.remove()
