"""The answer that carries an object's bytes: exactly as many as announced, or a broken connection."""

import errno
import time
from collections.abc import Callable, Iterator

import structlog
from django.db import DatabaseError
from django.http import StreamingHttpResponse

from adapters.base import CHUNK_BYTES, ReadStream
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

    ``on_head`` is called once the header is out, and ``sent`` are the bytes of whole pieces.

    The first piece is read before the response exists, so that a storage that fails at once still gets a status of its
    own.
    """

    def __init__(
        self,
        stream: ReadStream,
        on_end: Callable[[int], None],
        *,
        on_head: Callable[[], None] | None = None,
        **kwargs: object,
    ) -> None:
        self._stream, self._on_end, self._on_head, self._began = stream, on_end, on_head, time.monotonic()
        self._expected, self._sent, self._ended = stream.stop - stream.start, 0, False
        super().__init__(self._pieces(stream.read(CHUNK_BYTES)), **kwargs)
        self["Content-Length"] = str(self._expected)

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
        if self._on_head is not None:
            yield b""  # The server sends the header before it.
            self._on_head()
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
