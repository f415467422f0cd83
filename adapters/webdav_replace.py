"""Whether a WebDAV server replaces an object in one step when it is put over: tried once, by a PUT that breaks off."""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass

from adapters.errors import AdapterError, VersionChanged
from adapters.keys import partial_key
from adapters.web_client import WebClient
from adapters.web_errors import translated
from adapters.web_read import open_read
from adapters.webdav_change import WebDavChange
from adapters.webdav_look import WebDavLook

_OLD, _NEW = b"the old one", b"the new one that never comes whole"


@dataclass(frozen=True, slots=True)
class Putting:
    """What a server does with a PUT.

    ``is_atomic``: it shows the old object until the new one has come whole, and keeps it where it never does.
    ``takes_streams``: it also stores a body of unknown length; some take that for an empty one.
    """

    is_atomic: bool
    takes_streams: bool

    def replaces(self, size: int | None) -> bool:
        """Whether an object may be put over with so many bytes, None for an unknown number."""
        return self.is_atomic and (size is not None or self.takes_streams)


class PuttingTrial:
    """What is known of one server, which is tried at the first question. Thread-safe.

    A MOVE with ``Overwrite: T`` is no help: RFC 4918 (section 9.9.3) has servers delete the old object first, and
    Apache does, so that a reader may find nothing and a crash may leave nothing. Many servers write the body of a PUT
    aside and rename it when it has come whole, but some write over what is there.
    """

    def __init__(self, client: WebClient, look: WebDavLook, change: WebDavChange) -> None:
        self._client = client
        self._look = look
        self._change = change
        self._lock = threading.Lock()
        self._found: Putting | None = None

    def outcome(self, beside: str) -> Putting:
        """Tried where ``beside`` is a key, because we may not write everywhere; its folders are made."""
        with self._lock:
            if self._found is None:
                self._found = self._try(beside[: beside.rfind("/") + 1])
            return self._found

    def forget(self) -> None:
        """Try again at the next question."""
        self._found = None

    def _try(self, folder: str) -> Putting:
        key = partial_key(f"{folder}waybill-check", secrets.token_hex(16))  # No scan lists it, should it be left.
        try:
            self._change.put(key, b"")
            takes_streams = self._takes_a_stream(key)
            self._change.put(key, _OLD)
            return Putting(self._keeps_the_old(key), takes_streams)
        finally:
            with suppress(AdapterError):  # What was found, or went wrong before, counts.
                self._change.remove(key)

    def _takes_a_stream(self, key: str) -> bool:
        exchange = self._change.begin_put(key, None)
        try:
            with translated(self._client.origin.storage, key):
                exchange.send_chunk(_OLD)
                exchange.send_chunk(b"")
            self._change.end_put(key, exchange)
        except AdapterError as exc:
            if exc.transient:
                raise
            return False
        finally:
            exchange.drop()
        return self._is_old(key)

    def _keeps_the_old(self, key: str) -> bool:
        with translated(self._client.origin.storage, key):
            headers = {"Content-Length": str(len(_NEW)), "Expect": "100-continue"}
            exchange = self._client.begin("PUT", self._client.origin.path(key), headers)
            try:
                if not exchange.connection.may_go_on():
                    return False
                exchange.send(_NEW[:-1])
                stays = self._is_old(key)
            finally:
                exchange.break_off()
        return stays and self._is_old(key)

    def _is_old(self, key: str) -> bool:
        path = self._client.origin.path(key)
        try:
            with open_read(self._client, path, key, 0, None, None, look=lambda: self._look.look(key)) as stream:
                return stream.read() == _OLD
        except VersionChanged:
            return False
