"""The connections to one SFTP server, and how a stream leaves one behind."""

from __future__ import annotations

from contextlib import suppress

import paramiko

from adapters.pool import IDLE_S, Pool
from adapters.sftp_connection import SftpConnection
from adapters.sftp_endpoint import Endpoint
from adapters.sftp_messages import Kind


class SftpPool(Pool[SftpConnection]):
    """At most ``limit`` connections, which are kept for ``idle_s`` seconds between two uses."""

    def __init__(self, endpoint: Endpoint, *, limit: int, idle_s: float = IDLE_S) -> None:
        super().__init__(
            lambda: SftpConnection(endpoint),
            storage=endpoint.storage,
            limit=limit,
            wait_s=endpoint.connect_timeout_s,
            idle_s=idle_s,
        )


def let_go(pool: SftpPool, connection: SftpConnection, handle: bytes | None, tickets: list[int]) -> None:
    """Give the connection back without waiting for the handle's closing or for the replies still to come."""
    try:
        if handle is not None and connection.usable:
            connection.wire.forget(*tickets, connection.wire.ask(Kind.CLOSE, handle))
            # A connection that breaks here is no longer usable, and the pool will see to it.
            with suppress(OSError, EOFError, paramiko.SSHException):
                connection.wire.send()
    finally:
        pool.give_back(connection)
