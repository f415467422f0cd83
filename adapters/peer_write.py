"""Writing to a storage of another node: the bytes go to its gateway in one body as long as they come."""

from __future__ import annotations

from adapters.base import ObjectStat, WriteSession
from adapters.errors import AdapterError, SizeMismatch, Unavailable, WriteLost
from adapters.peer_calls import PeerCalls
from adapters.peer_protocol import STATUSES, error_of, stat_of
from adapters.web_client import Exchange
from adapters.web_errors import HttpRefusal, translated

_CHUNKED = "Transfer-Encoding: chunked"


class PeerWrite(WriteSession):
    """The other gateway appends to an unfinished write of its own adapter; what it took is compared before publish.

    A body that broke off is not gone on with by this session: the other side may still be writing what it had received.
    """

    def __init__(self, calls: PeerCalls, key: str, token: str, offset: int, size: int | None) -> None:
        self.key = key
        self.token = token
        self.offset = offset
        self._calls = calls
        self._size = size
        self._body: Exchange | None = None
        self._is_broken = False
        self._is_over = False

    def write(self, data: bytes | memoryview) -> None:
        if self._size is not None and self.offset + len(data) > self._size:
            raise SizeMismatch(f"more than {self._size} bytes", storage=self._calls.storage, key=self.key)
        if self._is_broken:
            raise self._broken()
        if not len(data):  # An empty chunk would be the end.
            return
        try:
            with translated(self._calls.storage, self.key):
                if self._body is None:
                    question = {"token": self.token, "offset": self.offset}
                    self._body = self._calls.begin("append", question, body=_CHUNKED)
                self._body.send_chunk(data)
        except AdapterError as exc:
            self._drop()
            raise self._heard(exc) from exc
        self.offset += len(data)

    def publish(self) -> ObjectStat:
        if self._size not in (None, self.offset):
            detail = f"{self.offset} bytes were written, {self._size} were declared"
            raise SizeMismatch(detail, storage=self._calls.storage, key=self.key)
        self._end()
        told = self._calls.ask("publish", {"token": self.token, "offset": self.offset}, key=self.key)
        self._is_over = True
        try:
            return stat_of(told)
        except (KeyError, TypeError, ValueError) as exc:
            raise Unavailable("the answer tells nothing", storage=self._calls.storage, key=self.key) from exc

    def suspend(self) -> str:
        self._end()
        self._is_over = True
        return self.token

    def abort(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._drop()
        self._calls.ask("abort_write", {"token": self.token}, key=self.key)

    def _end(self) -> None:
        """Have the other side take the body for whole, and say how much it has."""
        if self._is_broken:
            raise self._broken()
        body, self._body = self._body, None
        if body is None:
            return
        try:
            with translated(self._calls.storage, self.key):
                body.send_chunk(b"")
                told = self._calls.document(body, self.key)
            if told.get("offset") != self.offset:
                raise self._broken()
        except AdapterError as exc:
            self._is_broken = True
            body.drop()
            raise self._heard(exc) from exc
        body.close()

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            self._is_broken = True
            body.drop()

    def _broken(self) -> WriteLost:
        return WriteLost("its body to the node broke off", storage=self._calls.storage, key=self.key)

    def _heard(self, error: AdapterError) -> AdapterError:
        """What the other side said before it closed the connection in the middle of the body."""
        refusal = error.__cause__
        if isinstance(refusal, HttpRefusal) and refusal.status in STATUSES.values():
            return error_of(refusal.status, '"it was told in the middle"', storage=self._calls.storage, key=self.key)
        return error
