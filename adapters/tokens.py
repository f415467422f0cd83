"""What the token of an unfinished write says, for storages that keep a partial under a name."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Self

from adapters.base import WriteMode
from adapters.errors import InvalidKey, VersionChanged, WriteLost
from adapters.keys import check_key, partial_key

_TOKEN = re.compile(r"(?P<hex>[0-9a-f]{32}):(?P<key>.+)", re.DOTALL)
_SIZE_DIGITS = 15
_UNDECLARED = 16**_SIZE_DIGITS - 1


@dataclass(frozen=True, slots=True)
class WriteToken:
    """``<32 hexadecimal digits>:<key>``: enough, by itself, to go on with a write or to remove it.

    The digits are those in the partial's name. They hold the mode (one digit), the declared size (fifteen, all ``f``
    for none) and a random number (sixteen), so that whoever finds nothing but the partial keeps the promises that
    its writer made: a resumed CREATE still refuses an existing object, and a resumed write is still held to its size.
    """

    key: str
    hex: str

    @classmethod
    def new(cls, key: str, *, size: int | None, mode: WriteMode) -> Self:
        declared = _UNDECLARED if size is None else size
        return cls(key, f"{int(mode is WriteMode.REPLACE)}{declared:0{_SIZE_DIGITS}x}{secrets.token_hex(8)}")

    @classmethod
    def parse(cls, token: str, *, storage: str) -> Self:
        """The token that ``str`` gave; raises WriteLost for anything else, above all for a key that is not legal."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise WriteLost("it is not a token of this storage", storage=storage)
        try:
            return cls(check_key(match["key"], storage=storage), match["hex"])
        except InvalidKey as exc:
            raise WriteLost("its token names no legal key", storage=storage) from exc

    def __str__(self) -> str:
        return f"{self.hex}:{self.key}"

    @property
    def mode(self) -> WriteMode:
        return WriteMode.REPLACE if self.hex[0] == "1" else WriteMode.CREATE

    @property
    def size(self) -> int | None:
        """The declared size in bytes; None where none was declared."""
        size = int(self.hex[1 : 1 + _SIZE_DIGITS], 16)
        return None if size == _UNDECLARED else size

    def expect(self, size: int, *, source: str, storage: str) -> None:
        """Raises VersionChanged where what is to be copied from ``source`` has another size than was declared."""
        if self.size not in (None, size):
            raise VersionChanged(f"it has {size} bytes instead of {self.size}", storage=storage, key=source)

    @property
    def partial(self) -> str:
        """The key at which the bytes lie until they are published."""
        return partial_key(self.key, self.hex)
