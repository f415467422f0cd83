"""One connection to an iRODS server: made and logged in, asked, told to be unusable, closed."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from irods.account import iRODSAccount
from irods.api_number import api_number
from irods.column import Column
from irods.exception import CAT_NO_ROWS_FOUND, iRODSException
from irods.message import (
    GenQueryRequest,
    GenQueryResponse,
    IntegerIntegerMap,
    IntegerStringMap,
    StringStringMap,
    iRODSMessage,
)
from irods.models import Collection

from adapters.errors import AdapterError
from adapters.irods_errors import translated, understanding
from adapters.irods_settings import REQUIRE_TLS, Endpoint
from adapters.irods_wire import Wire
from adapters.pool import IDLE_S, Pool

#: A server that computes or copies says nothing meanwhile: so many bytes a second are expected of it at least.
SLOWEST_SERVER_BYTES_PER_S = 10 * 1024 * 1024

#: What servers give at most at once.
_ROWS_A_PAGE = 256

# What the driver logs it also raises, and it would log passwords at the level of debugging.
logging.getLogger("irods").setLevel(logging.CRITICAL + 1)


class IrodsConnection:
    """A connection that is ready for requests; making one takes at most ``connect_timeout_s`` and raises AdapterErrors.

    ``usable`` turns false with the first exchange that did not end in an answer. The driver's exceptions pass through
    the other methods and are translated by their callers.
    """

    def __init__(
        self, endpoint: Endpoint, account: iRODSAccount, *, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """``tell`` is told what was found when the server was reached, and then when it let us in."""
        self.storage = endpoint.storage
        self.endpoint = endpoint
        self.root = endpoint.root
        self.idle_since = time.monotonic()
        self.usable = True
        with translated(endpoint.storage), understanding():
            self._wire = Wire(
                account,
                connect_timeout_s=endpoint.connect_timeout_s,
                stall_timeout_s=endpoint.stall_timeout_s,
                tell=tell,
            )
        tell(f"the user {endpoint.username}#{endpoint.zone} was let in")

    @property
    def release(self) -> tuple[int, ...]:
        """The server's release, such as (4, 3, 1)."""
        return cast(tuple[int, ...], self._wire.server_version)

    def path(self, key: str) -> str:
        """The logical path of a key; that of the root for an empty one."""
        return f"{self.root}/{key}" if key else self.root

    def ask(
        self,
        api: str,
        body: object,
        *,
        data: bytes | memoryview = b"",
        into: memoryview | None = None,
        work_bytes: int = 0,
    ) -> Any:
        """The driver's message that answers one request.

        ``into`` takes the byte stream of the answer. ``work_bytes`` is what the server has to read or copy before it
        can answer, for which it is given more time.
        """
        self._wire.wait_longer(work_bytes / SLOWEST_SERVER_BYTES_PER_S)
        request = iRODSMessage("RODS_API_REQ", msg=body, bs=data, int_info=api_number[api])
        try:
            self._wire.send(request)
            return self._wire.recv(into)
        except iRODSException:
            raise  # It is an answer, and the connection goes on.
        except BaseException:
            self.usable = False
            raise

    def answers(self) -> bool:
        """Whether the server still answers; costs one round trip."""
        if self.usable:
            try:
                with translated(self.storage):
                    for _ in self.query([Collection.id], {Collection.name: quoted("=", self.root)}):
                        pass
            except AdapterError:
                self.usable = False
        return self.usable

    def hang_up(self) -> None:
        """Make whoever uses the connection fail at once; from any thread."""
        self.usable = False
        self._wire.hang_up()

    def close(self) -> None:
        """Idempotent; says goodbye where the connection is in order."""
        if self.usable:
            self.usable = False
            self._wire.disconnect()
        self._wire.cut()

    def query(self, columns: Sequence[Column], conditions: Mapping[Column, str]) -> Iterator[list[str]]:
        """The rows that meet all conditions (``= 'x'``), each with its values in the order of the columns.

        The rows are distinct. All of them have to be taken, because the server keeps what is left for this connection.
        """
        page = 0
        while True:
            request = GenQueryRequest(
                maxRows=_ROWS_A_PAGE,
                continueInx=page,
                partialStartIndex=0,
                options=0,
                KeyValPair_PI=StringStringMap(),
                InxIvalPair_PI=IntegerIntegerMap({column.icat_id: 1 for column in columns}),
                InxValPair_PI=IntegerStringMap({column.icat_id: text for column, text in conditions.items()}),
            )
            try:
                message = self.ask("GEN_QUERY_AN", request)
            except CAT_NO_ROWS_FOUND:
                return
            with understanding():
                answer = message.get_main_message(GenQueryResponse)
                values = {column.attriInx: column.value for column in answer.SqlResult_PI[: answer.attriCnt]}
                rows = [[values[column.icat_id][row] or "" for column in columns] for row in range(answer.rowCnt)]
                page = answer.continueInx or 0
            yield from rows
            if page <= 0:
                return


class IrodsPool(Pool[IrodsConnection]):
    """At most ``limit`` connections, which are kept for ``idle_s`` seconds between two uses."""

    def __init__(self, endpoint: Endpoint, *, limit: int, idle_s: float = IDLE_S) -> None:
        account = make_account(endpoint)
        super().__init__(
            lambda: IrodsConnection(endpoint, account),
            storage=endpoint.storage,
            limit=limit,
            wait_s=endpoint.connect_timeout_s,
            idle_s=idle_s,
        )


def quoted(operator: str, value: str) -> str:
    """A condition of a query. There is no escape: the server takes what is between the first and the last quote."""
    return f"{operator} '{value}'"


def make_account(endpoint: Endpoint) -> iRODSAccount:
    """The driver's word for an endpoint; neither files nor variables of the user we run as are looked at."""
    account = iRODSAccount(
        irods_host=endpoint.host,
        irods_port=endpoint.port,
        irods_user_name=endpoint.username,
        irods_zone_name=endpoint.zone,
        irods_authentication_scheme=endpoint.authentication,
        password=endpoint.password,
        irods_client_server_policy=endpoint.policy,
        irods_client_server_negotiation="request_server_negotiation",
    )
    if endpoint.policy == REQUIRE_TLS:
        account.ssl_context = ssl.create_default_context(cadata=endpoint.ca or None)
        # The shared secret is for the servers' own parallel transfers, which are not used; these are iRODS' defaults.
        account.encryption_algorithm = "AES-256-CBC"
        account.encryption_key_size = 32
        account.encryption_num_hash_rounds = 16
        account.encryption_salt_size = 8
    return account
