"""Files of a plain HTTP server, below one address of it: read, and never listed or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Never, Self, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

from adapters import http_check
from adapters.base import Adapter, CheckStep, Field, Listed, ObjectStat, ReadStream, Traits, WriteMode, WriteSession
from adapters.errors import AdapterError, NotFound, Unsupported
from adapters.keys import check_key
from adapters.web_client import WebClient
from adapters.web_errors import HttpRefusal, translated
from adapters.web_read import OK, PARTIAL, UNSATISFIABLE, open_read, refuse_encoded, told_by_headers
from adapters.web_settings import FIELDS, Origin, root_uri
from adapters.web_versions import Told, sent_range, unsatisfied_size

#: How many redirects in a row are followed; all of them stay below the storage's url.
MOST_REDIRECTS = 5

_NO_HEAD = (405, 501)
_REDIRECTS = (301, 302, 303, 307, 308)
_PROBE = Field("probe", "string", "Path below the url of a file that the test of the storage may read")

_T = TypeVar("_T")


class HttpAdapter(Adapter):
    """A key is a path below the url. Whatever writes or lists raises Unsupported.

    A version is the entity tag, or the time and the size where the server tells none; it is strong where the tag is and
    the last change is a minute old. A redirect is followed where it stays below the url, and refused where it leads to
    another host, scheme or folder.
    """

    scheme = "http"
    title = "HTTP source, read only"
    fields = (*FIELDS[:1], _PROBE, *FIELDS[1:])
    read_only = True

    def __init__(self, origin: Origin, *, probe: str = "") -> None:
        self.name = origin.storage
        self.traits = Traits(atomic_create=False, atomic_replace=False, resumes=False, strong_versions=False)
        self._origin = origin
        self._client = WebClient(origin)
        self._probe = probe

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        return cls(Origin.read(name, options, credential), probe=_probe(options))

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return root_uri(options)

    def stat(self, key: str) -> ObjectStat:
        return self._look(key).stat(key)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        def attempt(path: str) -> ReadStream:
            return open_read(self._client, path, key, start, stop, version, look=lambda: self._look(key))

        return self._followed(key, attempt)

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:  # noqa: ARG002
        self._refuse_writing(key)

    def resume_write(self, token: str) -> WriteSession:  # noqa: ARG002
        self._refuse_writing()

    def unfinished_writes(self, key: str) -> list[str]:  # noqa: ARG002
        return []

    def abort_write(self, token: str) -> None:
        """There is none."""

    def delete(self, key: str) -> None:
        self._refuse_writing(key)

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:  # noqa: ARG002
        raise Unsupported("a plain HTTP server has no listings; its files are named one by one", storage=self.name)

    def check(self) -> list[CheckStep]:
        return http_check.check(self, self._client, self._probe)

    def close(self) -> None:
        self._client.close()

    def _refuse_writing(self, key: str = "") -> Never:
        raise Unsupported("a plain HTTP server is only read", storage=self.name, key=key)

    def _look(self, key: str) -> Told:
        return self._followed(key, lambda path: self._head(path, key))

    def _head(self, path: str, key: str) -> Told:
        try:
            with self._client.asking("HEAD", path, OK) as exchange:
                refuse_encoded(exchange)
                size = exchange.length()
                if size is not None:
                    return told_by_headers(exchange, size)
        except HttpRefusal as exc:
            if exc.status not in _NO_HEAD:
                raise
        return self._first_byte(path, key)

    def _first_byte(self, path: str, key: str) -> Told:
        """The same from the head of a GET, for servers that have no HEAD or say little in it."""
        exchange = self._client.begin("GET", path, {"Range": "bytes=0-0"})
        try:
            exchange.finish(OK, PARTIAL, UNSATISFIABLE)
            refuse_encoded(exchange)
            ranged = exchange.header("Content-Range")
            if exchange.status == PARTIAL:
                found = sent_range(ranged)
                size = found[2] if found else None
            else:
                size = exchange.length() if exchange.status == OK else unsatisfied_size(ranged)
            if size is None:
                raise AdapterError("the server does not tell the size", storage=self.name, key=key)
            return told_by_headers(exchange, size)
        finally:
            exchange.close()

    def _followed(self, key: str, attempt: Callable[[str], _T]) -> _T:
        """``attempt`` with the key's path, and again with each path that the server sends us to."""
        path = self._origin.path(key)
        with translated(self.name, key):
            for _ in range(MOST_REDIRECTS):
                try:
                    return attempt(path)
                except HttpRefusal as exc:
                    if not exc.location or exc.status not in _REDIRECTS:
                        raise
                    path = self._next(path, exc, key)
            raise AdapterError(f"more than {MOST_REDIRECTS} redirects", storage=self.name, key=key)

    def _next(self, path: str, refusal: HttpRefusal, key: str) -> str:
        here, root = self._origin.server, self._origin.root
        try:
            target = urlsplit(urljoin(here + path, refusal.location))
            is_here = root_uri({"url": f"{target.scheme}://{target.netloc}/"}) == root_uri({"url": f"{here}/"})
            names = unquote(target.path).split("/")
        except ValueError:
            raise refusal from None
        if not is_here or not target.path.startswith(root) or ".." in names:
            raise refusal
        if target.path == f"{path}/":
            raise NotFound("it is a folder", storage=self.name, key=key)
        return f"{target.path}?{target.query}" if target.query else target.path


def _probe(options: Mapping[str, object]) -> str:
    probe = options.get("probe") or ""
    try:
        return check_key(str(probe)) if probe else ""
    except AdapterError as exc:
        raise ValueError(f"probe: {exc.detail}") from exc
