"""Sources of bytes for writing: good ones, and those that misbehave; and putting one behind an alias."""

from collections.abc import Callable
from typing import Any

from staging import writing
from staging.states import AliasMode
from staging.writing import Offer, Receipt
from tests.place import Place

KEY = "d/x.bin"


class Body:
    """``data`` in pieces; ``at_end`` is called before the end is told, ``between`` before every piece."""

    def __init__(
        self,
        data: bytes,
        *,
        piece: int = 1024 * 1024,
        between: Callable[[], object] = lambda: None,
        at_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._left, self._piece, self._between, self._at_end = data, piece, between, at_end

    def read(self, max_bytes: int) -> bytes:
        self._between()
        taken, self._left = self._left[: min(self._piece, max_bytes)], self._left[min(self._piece, max_bytes) :]
        if not taken:
            self._at_end()
        return taken


def put(place: Place, body: bytes | Body, *, size: int | None = None, key: str = KEY, **spec: Any) -> Receipt:
    """Store a body behind a new alias; bytes have a declared size."""
    alias = place.alias(key, AliasMode.WRITE, **spec)
    if isinstance(body, bytes):
        return writing.receive(alias, Offer(len(body)), Body(body))
    return writing.receive(alias, Offer(size), body)


def raising(exc: Exception) -> Callable[[], None]:
    """Something to call that raises."""

    def call() -> None:
        raise exc

    return call
