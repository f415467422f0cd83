"""The answer that carries an object's bytes: exactly as many as announced, or a broken connection."""

import errno
import os
import time
from collections.abc import Callable, Iterator

import structlog
from django.db import DatabaseError
from django.http import StreamingHttpResponse

from adapters.base import CHUNK_BYTES, FileBacked, ReadStream
from adapters.errors import AdapterError
from gateway import metrics
from staging.errors import StagingError

log = structlog.get_logger(__name__)


class Cut(ConnectionAbortedError):
    """Bytes are missing after the header was sent: the server closes the connection, so that the client knows."""

    def __init__(self, sent: int, expected: int) -> None:
        super().__init__(errno.EPIPE, f"{sent} of {expected} bytes sent")


class ObjectResponse(StreamingHttpResponse):
    """Streams ``stream`` and calls ``on_end(sent)`` once, when the last byte is out or the connection broke.

    With ``by_descriptor`` a stream that is ``FileBacked`` goes out by sendfile(2), where the server can. The first
    piece of any other stream is read before the response exists, so that a storage that fails at once still gets a
    status of its own.
    """

    block_size = CHUNK_BYTES

    def __init__(
        self, stream: ReadStream, on_end: Callable[[int], None], *, by_descriptor: bool, **kwargs: object
    ) -> None:
        self._stream, self._on_end, self._began = stream, on_end, time.monotonic()
        self._expected, self._sent, self._ended = stream.stop - stream.start, 0, False
        if by_descriptor:
            super().__init__(self._pieces(b""), **kwargs)
            self.file_to_stream = _File(stream, self)
        else:
            super().__init__(self._pieces(stream.read(CHUNK_BYTES)), **kwargs)
        self["Content-Length"] = str(self._expected)

    def count(self, sent: int) -> None:
        """Note that ``sent`` bytes of the body are out."""
        self._sent = sent

    def close(self) -> None:
        """End the delivery. Raises Cut where fewer bytes went out than were announced."""
        if self._ended:
            return
        self._ended = True
        whole = self._sent == self._expected
        try:
            self._finish(whole)
        finally:
            # Django lets go of the database here, so nothing may ask it anything afterwards.
            super().close()
        if not whole:
            raise Cut(self._sent, self._expected)

    def _finish(self, whole: bool) -> None:
        try:
            self._stream.close()
        except AdapterError as exc:
            log.warning("object.source_not_closed", storage=exc.storage, error=exc.code)
        metrics.BYTES.labels("out").inc(self._sent)
        log.info(
            "object.delivered" if whole else "object.cut",
            status=self.status_code,
            bytes=self._sent,
            expected=self._expected,
            seconds=round(time.monotonic() - self._began, 3),
        )
        self._on_end(self._sent)

    def _pieces(self, first: bytes) -> Iterator[bytes]:
        chunk = first or self._read()
        while chunk:
            yield chunk
            self._sent += len(chunk)
            chunk = self._read()

    def _read(self) -> bytes:
        try:
            return self._stream.read(CHUNK_BYTES)
        except AdapterError as exc:
            log.error("object.source_failed", storage=exc.storage, error=exc.code, sent=self._sent)
            raise Cut(self._sent, self._expected) from exc


class PiecesResponse(StreamingHttpResponse):
    """A document in pieces whose length nobody knows before its end; one that fails breaks the connection.

    The first piece is made before the response exists, so that what fails at once still gets a status of its own.
    """

    def __init__(self, pieces: Iterator[bytes], **kwargs: object) -> None:
        first = next(pieces, b"")
        super().__init__(self._whole(first, pieces), **kwargs)

    @staticmethod
    def _whole(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield first
        try:
            yield from pieces
        except (AdapterError, StagingError, DatabaseError) as exc:
            log.error("document.cut", error=type(exc).__name__)
            raise Cut(0, 0) from exc


class _File:
    """What the server's file wrapper needs of a regular file; sendfile's last ``seek`` tells how far it came."""

    close: Callable[[], None]

    def __init__(self, stream: ReadStream, response: ObjectResponse) -> None:
        assert isinstance(stream, FileBacked)
        self._stream, self._response, self._start, self._read_bytes = stream, response, stream.start, 0
        self._descriptor = stream.fileno()
        os.lseek(self._descriptor, stream.start, os.SEEK_SET)

    def fileno(self) -> int:
        return self._descriptor

    def seek(self, position: int) -> None:
        self._response.count(position - self._start)

    def read(self, size: int) -> bytes:
        chunk = os.read(self._descriptor, min(size, self._stream.stop - self._start - self._read_bytes))
        self._read_bytes += len(chunk)
        self._response.count(self._read_bytes)
        return chunk
