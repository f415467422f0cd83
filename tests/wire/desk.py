"""What a test of the data path works with: aliases in a place, a gateway, and lines to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from staging import aliases, catalog
from staging.models import Bucket, Event, Object, Upload
from staging.states import AliasMode, OnExists
from tests.place import Place
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.wire.line import Answer, Line

KEY = "d/x.bin"
REPLACE = OnExists.REPLACE


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Desk:
    """``write`` and ``read`` make an alias and return its path on the gateway."""

    gateway: Gateway
    place: Place
    #: Whether aliases are of the mounted bucket unless they are asked for otherwise.
    mounted: bool = False

    @property
    def bucket(self) -> Bucket:
        return self.place.mounted if self.mounted else self.place.managed

    @property
    def port(self) -> int:
        return self.gateway.port

    def write(self, key: str = KEY, **spec: Any) -> str:
        return self._path(key, AliasMode.WRITE, spec)

    def read(self, key: str = KEY, **spec: Any) -> str:
        return self._path(key, AliasMode.READ, spec)

    def folder(self, prefix: str, mode: str, **spec: Any) -> str:
        """The path of a new prefix alias, which ends in a slash."""
        return self._path(prefix, AliasMode(mode), spec)

    def url(self, path: str, *, port: int | None = None) -> str:
        """The whole URL, through another port where a proxy stands in front."""
        return f"http://127.0.0.1:{port or self.port}{path}"

    def line(self, **options: Any) -> Line:
        return Line(self.port, **options)

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        chunks: Iterable[bytes] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        with self.line() as line:
            return line.ask(method, path, headers, body=body, chunks=chunks)

    def stored(self, data: bytes, key: str = KEY) -> str:
        """The path of a read alias of an object with this content."""
        answer = self.ask("PUT", self.write(key), body=data)
        assert answer.status == 201, answer
        return self.read(key)

    def content(self, key: str = KEY) -> bytes | None:
        """What is visible at the key; None where nothing is."""
        answer = self.ask("GET", self.read(key))
        assert answer.status in (200, 503, 404), answer
        return answer.body if answer.status == 200 else None

    def wait_until_uploads_run(self, count: int = 1) -> None:
        """Return once so many reservations stand; a gateway cleans up behind clients that went away."""
        wait_until(lambda: Upload.objects.count() == count, what=f"{count} uploads are reserved")

    def versions(self, key: str = KEY) -> int:
        return Object.objects.filter(key=key).count()

    def events(self, *kinds: str) -> int:
        """How many events of the kinds there are; without kinds, those about objects."""
        chosen = Event.objects.filter(kind__in=kinds) if kinds else Event.objects.filter(kind__startswith="object.")
        return chosen.count()

    def assert_nothing_is_left(self) -> None:
        """No reservation, no file and no counted byte besides what the catalog lists."""
        self.place.assert_nothing_is_left()

    def current(self, key: str = KEY, *, mounted: bool = False) -> Object | None:
        return catalog.current(self.place.mounted if mounted else self.place.managed, key)

    def _path(self, key: str, mode: AliasMode, spec: dict[str, Any]) -> str:
        alias = self.place.alias(key, mode, **{"mounted": self.mounted, **spec})
        path = self.gateway.alias_path(aliases.token_of(alias), aliases.file_name(alias))
        return f"{path}/" if mode.is_prefix else path
