"""Reading over HTTP: one request, whose answer tells the version, the whole size and the bytes."""

from __future__ import annotations

from collections.abc import Callable
from http.client import GONE, INTERNAL_SERVER_ERROR, NOT_FOUND, NOT_IMPLEMENTED

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import AdapterError, RangeInvalid, Truncated, Unavailable, VersionChanged
from adapters.web_client import Exchange, WebClient
from adapters.web_errors import HttpBroken, HttpRefusal, translated
from adapters.web_versions import Told, checksum, sent_range

OK, PARTIAL, UNSATISFIABLE = 200, 206, 416

#: What tells of an object without opening it: a HEAD, or WebDAV's PROPFIND. Raises AdapterErrors.
Look = Callable[[], Told]


def open_read(
    client: WebClient, path: str, key: str, start: int, stop: int | None, version: str | None, *, look: Look
) -> ReadStream:
    """As ``Adapter.open_read``, from an encoded path. Raises HttpRefusal where the answer is none of a read.

    The version is compared with that of this very answer, so that no condition has to be sent: If-Match refuses a
    weak tag although it is the same. ``look`` answers what HTTP's ranges cannot say, an empty one.
    """
    storage = client.origin.storage
    if start != stop:
        headers = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if start or stop is not None else {}
        exchange = client.begin("GET", path, headers)
        try:
            exchange.finish(OK, PARTIAL, UNSATISFIABLE)
            if exchange.status != UNSATISFIABLE:
                return _opened(client, exchange, path, key, start, stop, version, ranged=bool(headers))
        except BaseException:
            exchange.drop()
            raise
        exchange.close()  # ``start`` is at the end or behind it; at the end, nothing is what was asked for.
    told = look()
    if version is not None and not told.is_of(version):
        raise VersionChanged(storage=storage, key=key)
    _require_within(told.size, start, stop, storage=storage, key=key)
    if start != (told.size if stop is None else stop):
        raise Unavailable("the server refused a range that the object has", storage=storage, key=key)
    return WebRead(storage, told.stat(key, asked_for=version), start, start, None, skip=0)


def told_by_headers(exchange: Exchange, size: int) -> Told:
    """What the head of an answer to GET or HEAD tells of the object."""
    return Told(
        size=size,
        etag=exchange.header("ETag"),
        modified=exchange.time("Last-Modified"),
        asked_at=exchange.time("Date"),
        checksum=checksum(exchange.header("Repr-Digest"), exchange.header("Digest"), exchange.header("OC-Checksum")),
    )


def refuse_encoded(exchange: Exchange) -> None:
    """Raises HttpBroken where the bytes are not those of the object, but compressed although nobody asked for that."""
    if exchange.header("Content-Encoding").lower() not in ("", "identity"):
        raise HttpBroken(f"the server sends it with Content-Encoding: {exchange.header('Content-Encoding')[:40]}")


def _opened(
    client: WebClient,
    exchange: Exchange,
    path: str,
    key: str,
    start: int,
    stop: int | None,
    version: str | None,
    *,
    ranged: bool,
) -> ReadStream:
    storage = client.origin.storage
    refuse_encoded(exchange)
    if exchange.status == PARTIAL:
        told = told_by_headers(exchange, _whole_size(exchange, start, stop, ranged=ranged))
        skip = 0
    else:
        size = exchange.length()
        if size is None:
            raise AdapterError("the server does not tell the size", storage=storage, key=key)
        # A server may ignore a range (RFC 9110, section 14.2): what lies before it is read and thrown away.
        told, skip = told_by_headers(exchange, size), start
    if version is not None and not told.is_of(version):
        raise VersionChanged(storage=storage, key=key)
    _require_within(told.size, start, stop, storage=storage, key=key)
    stat = told.stat(key, asked_for=version)
    end = told.size if stop is None else stop
    return WebRead(storage, stat, start, end, exchange, skip=skip, confirm=lambda: _confirm(client, path, key, told))


def _confirm(client: WebClient, path: str, key: str, told: Told) -> None:
    """Raises VersionChanged where another version is there now than was told before the bytes came.

    Some servers (Apache) tell of a file, then open it, and send the bytes of another that has taken its place in
    between. A server that will not say is believed.
    """
    storage = client.origin.storage
    try:
        with client.asking("HEAD", path, OK) as exchange:
            now = told_by_headers(exchange, told.size if (size := exchange.length()) is None else size)
    except HttpRefusal as exc:
        if exc.status in (NOT_FOUND, GONE):
            raise VersionChanged("it vanished", storage=storage, key=key) from exc
        if exc.status >= INTERNAL_SERVER_ERROR and exc.status != NOT_IMPLEMENTED:
            raise Unavailable(exc.words, storage=storage, key=key) from exc
        return
    if not now.is_same(told):
        raise VersionChanged(storage=storage, key=key)


def _whole_size(exchange: Exchange, start: int, stop: int | None, *, ranged: bool) -> int:
    """The object's size, from an answer that holds exactly the range asked for, or as much of it as there is."""
    found = sent_range(exchange.header("Content-Range"))
    if found is None or not ranged:
        raise HttpBroken("the server answered 206 without one range")
    first, end, size = found
    if (
        first != start
        or end != (size if stop is None else min(stop, size))
        or exchange.length()
        not in (
            None,
            end - first,
        )
    ):
        raise HttpBroken(f"the server sent [{first}, {end}) where [{start}, {'' if stop is None else stop}) was asked")
    return size


def _require_within(size: int, start: int, stop: int | None, *, storage: str, key: str) -> None:
    if not 0 <= start <= (size if stop is None else stop) <= size:
        raise RangeInvalid(f"[{start}, {stop}) of {size} bytes", storage=storage, key=key)


class WebRead(ReadStream):
    """Holds its connection until the last byte was read or it is closed."""

    def __init__(
        self,
        storage: str,
        stat: ObjectStat,
        start: int,
        stop: int,
        exchange: Exchange | None,
        *,
        skip: int,
        confirm: Callable[[], None] = lambda: None,
    ) -> None:
        """``exchange`` is its own from here on, None for an empty range; ``skip`` bytes of it come before ``start``.

        ``confirm`` is called before the last bytes are given out, and raises what keeps them from being that.
        """
        self.stat = stat
        self.start = start
        self.stop = stop
        self._storage = storage
        self._exchange = exchange
        self._skip = skip
        self._confirm = confirm
        self._left = stop - start
        if not self._left:
            self.close()

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if self._exchange is None:
            return b""
        with translated(self._storage, self.stat.key):
            while self._skip:
                self._skip -= len(self._some(min(CHUNK_BYTES, self._skip)))
            data = self._some(min(max_bytes, self._left))
            self._left -= len(data)
            if not self._left:
                self.close()
                self._confirm()
        return data

    def close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    def _some(self, max_bytes: int) -> bytes:
        assert self._exchange is not None, "nothing is read after close"
        data = self._exchange.read(max_bytes)
        if not data:
            raise Truncated(f"{self._left} bytes are missing", storage=self._storage, key=self.stat.key)
        return data
