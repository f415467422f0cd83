"""Packed files: what a reader of one archive format finds, before anybody has judged the names."""

from dataclasses import dataclass

from staging.errors import ArchiveInvalid
from staging.pump import Source

#: Content in pieces of this size is passed over.
_SKIP_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A plain file or a folder, by the very name that the archive has."""

    name: str
    size: int
    content: Source
    is_folder: bool = False


class Bounded:
    """The next ``size`` bytes of a source. Raises ArchiveInvalid where it ends before them."""

    def __init__(self, source: Source, size: int, name: str) -> None:
        self._source, self._left, self._name = source, size, name

    def read(self, max_bytes: int, /) -> bytes:
        if not self._left:
            return b""
        chunk = self._source.read(min(max_bytes, self._left))
        if not chunk:
            raise ArchiveInvalid(f"The archive is incomplete: it ends within {self._name!r}.")
        self._left -= len(chunk)
        return chunk

    def skip(self) -> None:
        """Read what is left."""
        while self.read(_SKIP_BYTES):
            pass
