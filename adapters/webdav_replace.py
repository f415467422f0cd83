"""Whether a WebDAV server replaces an object in one step when it is put over: tried once, by a PUT that breaks off."""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress

from adapters.errors import AdapterError
from adapters.keys import partial_key
from adapters.web_client import WebClient
from adapters.web_errors import translated
from adapters.web_read import open_read
from adapters.webdav_change import WebDavChange
from adapters.webdav_look import WebDavLook

_OLD, _NEW = b"the old one", b"the new one that never comes whole"


class InPlace:
    """What is known of one server; nothing before the first call of ``is_atomic``. Thread-safe.

    A MOVE with ``Overwrite: T`` is no help: RFC 4918 (section 9.9.3) has servers delete the old object first, and
    Apache does, so that a reader may find nothing and a crash may leave nothing. Many servers write the body of a PUT
    aside and rename it when it has come whole, but some write over what is there.
    """

    def __init__(self, client: WebClient, look: WebDavLook, change: WebDavChange) -> None:
        self._client = client
        self._look = look
        self._change = change
        self._lock = threading.Lock()
        self._found: bool | None = None

    @property
    def known(self) -> bool | None:
        """What was found, without trying; None before that."""
        return self._found

    def is_atomic(self) -> bool:
        """Whether a PUT shows the old object until the new one has come whole, and keeps it where it never does."""
        with self._lock:
            if self._found is None:
                self._found = self._try()
            return self._found

    def forget(self) -> None:
        """Try again at the next call."""
        self._found = None

    def _try(self) -> bool:
        key = partial_key("waybill-check", secrets.token_hex(16))  # No scan lists it, should it be left.
        try:
            self._change.put(key, _OLD)
            with translated(self._client.origin.storage, key):
                headers = {"Content-Length": str(len(_NEW)), "Expect": "100-continue"}
                exchange = self._client.begin("PUT", self._client.origin.path(key), headers)
                try:
                    if not exchange.connection.may_go_on():
                        return False
                    exchange.send(_NEW[:-1])
                    stays = self._content(key) == _OLD
                finally:
                    exchange.break_off()
            return stays and self._content(key) == _OLD
        finally:
            with suppress(AdapterError):  # What was found, or went wrong before, counts.
                self._change.remove(key)

    def _content(self, key: str) -> bytes:
        path = self._client.origin.path(key)
        with open_read(self._client, path, key, 0, None, None, look=lambda: self._look.look(key)) as stream:
            return stream.read()
