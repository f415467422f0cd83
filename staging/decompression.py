"""Decompression: gzip and zstd as sources, whose output is bounded in memory and in ratio, and whole or an error."""

import zlib
from abc import ABC, abstractmethod

import zstandard

from staging.archive_limits import Limits
from staging.errors import ArchiveInvalid
from staging.pump import Source

#: Packed bytes are read in pieces of this size.
_PIECE_BYTES = 64 * 1024
#: A zstd block of 128 KiB may take four bytes, and the decoder hands out all that its input gives at once: a piece of
#: this size becomes 32 MiB at most.
_ZSTD_PIECE_BYTES = 1024
#: What the decoder may keep in memory: all that zstd's ordinary levels (1 to 19) ask for, four times over.
_ZSTD_WINDOW_BYTES = 32 * 1024 * 1024


class _Decompressed(ABC):
    """A source of unpacked bytes, over any number of compressed streams one behind the other.

    Raises ArchiveInvalid where a stream is cut, damaged, or followed by anything else, and ArchiveTooLarge.
    """

    _piece_bytes = _PIECE_BYTES

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source, self._limits = source, limits
        self._packed = self._unpacked = 0
        self._input = b""
        self._ready = memoryview(b"")
        self._within = False

    def read(self, max_bytes: int, /) -> bytes:
        while not self._ready:
            if not self._fill():
                return b""
        chunk, self._ready = bytes(self._ready[:max_bytes]), self._ready[max_bytes:]
        return chunk

    def _fill(self) -> bool:
        """Unpack a piece; False at the true end."""
        if not self._input and not self._has_output():
            self._input = self._source.read(self._piece_bytes)
            self._packed += len(self._input)
            if not self._input:
                if self._within or not self._packed:
                    raise ArchiveInvalid("The archive is incomplete: the compressed stream is cut.")
                return False
        if not self._within:
            self._begin()
            self._within = True
        try:
            data, self._input, ended = self._step(self._input)
        except (zlib.error, zstandard.ZstdError) as exc:
            raise ArchiveInvalid(f"The compressed stream is damaged: {exc}.") from exc
        self._within = not ended
        self._unpacked += len(data)
        self._limits.check_ratio(self._packed, self._unpacked)
        self._ready = memoryview(data)
        return True

    def _has_output(self) -> bool:
        return False

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """The output of some input, the input that is left, and whether the stream has ended."""


class GzipSource(_Decompressed):
    """RFC 1952: each member's CRC and length are checked."""

    def _begin(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    def _step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        output = self._stream.decompress(data, 4 * _PIECE_BYTES)
        self._full = len(output) == 4 * _PIECE_BYTES and not self._stream.eof
        return output, self._stream.unconsumed_tail or self._stream.unused_data, self._stream.eof

    def _has_output(self) -> bool:
        return self._within and self._full


class ZstdSource(_Decompressed):
    """RFC 8878: frames, of which those that carry a checksum are checked by it; skippable ones are skipped."""

    _piece_bytes = _ZSTD_PIECE_BYTES

    def _begin(self) -> None:
        self._stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()

    def _step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        output = self._stream.decompress(data)
        return output, self._stream.unused_data if self._stream.eof else b"", self._stream.eof
