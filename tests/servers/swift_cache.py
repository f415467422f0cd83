"""What memcached is to a Swift proxy, in the proxy's own process: without one, every request asks for its bucket anew.

Swift's Python runs it. It is as much of ``swift.common.memcached.MemcacheRing`` as the proxy calls.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Cache:
    """Entries, as JSON like memcached's, that end after ``time`` seconds."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, float]] = {}

    def get(self, key: str, *_: object, **__: object) -> Any:
        text, ends = self._entries.get(key, ("null", 0.0))
        return json.loads(text) if monotonic() < ends else None

    def set(self, key: str, value: object, *_: object, time: float = 0, **__: object) -> None:
        self._entries[key] = (json.dumps(value), monotonic() + time)

    def delete(self, key: str, *_: object, **__: object) -> None:
        self._entries.pop(key, None)


def filter_factory(_: dict[str, str], **__: str) -> Callable[[Application], Application]:
    """For ``paste.filter_factory``."""
    cache = Cache()

    def around(application: Application) -> Application:
        def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            environ["swift.cache"] = cache
            return application(environ, start_response)

        return answer

    return around
