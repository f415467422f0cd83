"""Changing what lies on a WebDAV server: putting, moving, copying and removing objects, and making their folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from adapters.base import WriteMode
from adapters.errors import AccessDenied, AlreadyExists, InvalidKey, NotFound
from adapters.web_client import Exchange, WebClient
from adapters.web_errors import HttpRefusal, translated
from adapters.webdav_look import REDIRECTS, WebDavLook

_DONE = (200, 201, 204)
#: What servers say where a folder of the path is missing; RFC 4918 has them say 409.
_NO_PARENT = (403, 404, 405, 409, 500)
#: What they say where something else is at the target of a MOVE or COPY; RFC 4918 has them say 412.
_TAKEN = (*REDIRECTS, 400, 403, 405, 409, 412)
#: A server says nothing while it copies; for every so many bytes it is given a second more.
COPIED_BYTES_A_SECOND = 8 * 1024 * 1024


class WebDavChange:
    """Thread-safe. Calls raise AdapterErrors only, and take keys that were checked."""

    def __init__(self, client: WebClient, look: WebDavLook) -> None:
        self.client = client
        self.storage = client.origin.storage
        self._look = look

    def put(self, key: str, data: bytes | bytearray) -> None:
        """Store a few bytes, over what may lie there. Missing folders are made."""

        def attempt() -> None:
            self.client.tell("PUT", self.client.origin.path(key), *_DONE, body=data)

        try:
            self._with_folders(key, attempt)
        except AccessDenied as exc:
            if key.rpartition("/")[2].startswith(".ht"):
                exc.detail += "; Apache as Debian has it refuses names that begin with .ht, and so that of this partial"
            raise

    def begin_put(self, key: str, size: int | None) -> Exchange:
        """Begin to send a body of a known or unknown size to a key in a folder that exists."""
        length = {"Transfer-Encoding": "chunked"} if size is None else {"Content-Length": str(size)}
        with translated(self.storage, key):
            return self.client.begin("PUT", self.client.origin.path(key), length)

    def end_put(self, key: str, exchange: Exchange) -> None:
        """Wait until the server has taken a body that was sent whole."""
        with translated(self.storage, key), exchange:
            exchange.finish(*_DONE)

    def move(self, source: str, target: str, *, mode: WriteMode) -> None:
        """Rename an object. Raises NotFound without one, InvalidKey onto a folder, and for CREATE AlreadyExists."""
        if mode is WriteMode.REPLACE:
            self.refuse_taken(target, mode=mode)  # A folder would be overwritten, with all that lies in it.
        with translated(self.storage, target):
            try:
                self._to("MOVE", source, target, mode=mode)
            except HttpRefusal as exc:
                if exc.status in _TAKEN:
                    self.refuse_taken(target, mode=mode)
                raise

    def copy(self, source: str, target: str, size: int) -> None:
        """Copy an object of so many bytes to a key where nothing is. Missing folders are made."""

        def attempt() -> None:
            patience_s = size / COPIED_BYTES_A_SECOND
            self._to("COPY", source, target, mode=WriteMode.CREATE, headers={"Depth": "0"}, patience_s=patience_s)

        self._with_folders(target, attempt)

    def remove(self, key: str) -> None:
        """Remove an object; a missing one is success. What lies there must be known to be no folder.

        Servers remove a folder with all its content. ``Depth: 0`` keeps at least those from it that look at it.
        """
        with suppress(NotFound), translated(self.storage, key):
            self.client.tell("DELETE", self.client.origin.path(key), *_DONE, headers={"Depth": "0"})

    def refuse_taken(self, key: str, *, mode: WriteMode) -> None:
        """Raises InvalidKey where there is a folder, and for CREATE AlreadyExists where there is an object."""
        found = self._look.find(key)
        if found is not None and found.told is None:
            raise InvalidKey("it is a folder", storage=self.storage, key=key)
        if found is not None and mode is WriteMode.CREATE:
            raise AlreadyExists(storage=self.storage, key=key)

    def _to(
        self,
        method: str,
        source: str,
        target: str,
        *,
        mode: WriteMode,
        headers: Mapping[str, str] | None = None,
        patience_s: float = 0,
    ) -> None:
        origin = self.client.origin
        wanted = {
            "Destination": origin.server + origin.path(target),
            "Overwrite": "T" if mode is WriteMode.REPLACE else "F",
            **(headers or {}),
        }
        self.client.tell(method, origin.path(source), *_DONE, headers=wanted, patience_s=patience_s)

    def _with_folders(self, key: str, attempt: Callable[[], None]) -> None:
        """Make an attempt, and where it failed for a missing folder, another one after making all of them."""
        with translated(self.storage, key):
            try:
                return attempt()
            except HttpRefusal as exc:
                if exc.status not in (*_TAKEN, *_NO_PARENT):
                    raise
                refusal = exc
            try:
                if "/" in key and refusal.status in _NO_PARENT:
                    self._make_folders(key)
                    return attempt()
            except HttpRefusal as exc:
                refusal = exc
            self.refuse_taken(key, mode=WriteMode.REPLACE)
            if self._look.is_below_an_object(key):
                raise InvalidKey("a component of it is an object", storage=self.storage, key=key) from refusal
            self._look.refuse_lost_root(key)
            raise refusal

    def _make_folders(self, key: str) -> None:
        names = key.split("/")[:-1]
        for count in range(1, len(names) + 1):
            folder = "/".join(names[:count])
            try:
                # 405, and a redirect from some, say that there is something already.
                self.client.tell("MKCOL", f"{self.client.origin.path(folder)}/", 201, 405, *REDIRECTS)
            except HttpRefusal as exc:
                if exc.status in (401, 507) or self._look.find(folder) is None:
                    raise
