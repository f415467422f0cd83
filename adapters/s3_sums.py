"""The sum of a whole object that a server tells with its bytes, held against them as they come."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from http.client import HTTPMessage
from typing import Protocol, Self

from isal import isal_zlib


class _Running(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._sum = 0

    def update(self, data: bytes, /) -> None:
        self._sum = isal_zlib.crc32(data, self._sum)

    def digest(self) -> bytes:
        return self._sum.to_bytes(4, "big")


#: Those that the standard library computes, the quickest first.
_KINDS: Mapping[str, Callable[[], _Running]] = {"crc32": _Crc32, "sha1": hashlib.sha1, "sha256": hashlib.sha256}


class Sum:
    def __init__(self, running: _Running, told: str) -> None:
        """``told`` is in base64."""
        self._running = running
        self._told = told

    @classmethod
    def told(cls, headers: HTTPMessage) -> Self | None:
        """That in the headers of an answer; None for none, or only one of another kind or of the sums of parts."""
        if headers.get("x-amz-checksum-type", "").upper() == "COMPOSITE":
            return None
        for kind, begin in _KINDS.items():
            told = headers.get(f"x-amz-checksum-{kind}")
            if told and "-" not in told:
                return cls(begin(), told)
        return None

    def update(self, data: bytes) -> None:
        self._running.update(data)

    @property
    def is_right(self) -> bool:
        return base64.b64encode(self._running.digest()).decode() == self._told
