"""Reading one object through gfal2: whole ones as a stream, ranges and small ones piece by piece."""

from __future__ import annotations

from contextlib import closing, suppress

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import Truncated, Unavailable, VersionChanged
from adapters.gfal_client import GfalProcess
from adapters.gfal_errors import ProcessEnded, ProcessStalled, translated
from adapters.gfal_frames import PIECE_BYTES
from adapters.gfal_library import GfalError, Look
from adapters.gfal_pool import GfalPool
from adapters.gfal_tree import object_stat

#: Above this a whole object is one transfer: pieces cost a data connection each, and giving up a stream costs more.
STREAM_FROM_BYTES = 16 * 1024 * 1024

#: Said where Globus had ended a transfer that the server refused before gfal2 asked for its bytes: why is not told.
_REASON_LOST = "GLOBUS_FTP_CLIENT_IDLE not allowed here"


class GfalReadStream(ReadStream):
    """Holds a gfal2 process until it is closed; nothing is asked of the server before the first ``read``.

    Pieces are read from the name, and given out only if it is still the version that was opened; of a stream, which
    the server reads from the file that it opened, this holds for the last piece.
    """

    def __init__(self, pool: GfalPool, process: GfalProcess, stat: ObjectStat, *, start: int, stop: int) -> None:
        self.stat = stat
        self.start = self._next = start
        self.stop = stop
        self._pool = pool
        self._process = process
        self._url = process.endpoint.url(stat.key)
        # A stream cannot be cut to a range, and without ranges there is nothing but streams.
        self._streams = not process.endpoint.ranges or (start == 0 and stop == stat.size > STREAM_FROM_BYTES)
        self._opened = False
        self._closed = False
        self._piece: memoryview = memoryview(b"")

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        if self._closed or (not self._piece and self._next == self.stop):
            return b""
        if not self._piece:
            # It was there when it was opened, so that now it has at least been replaced or removed.
            gone = VersionChanged
            with translated(self._process.endpoint.storage, self.stat.key, absent=gone, below=gone):
                self._piece = self._next_piece()
        data, self._piece = self._piece[:max_bytes], self._piece[max_bytes:]
        return bytes(data)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._piece = memoryview(b"")
        try:
            if self._opened and self._process.intact:
                self._finish()
        finally:
            self._pool.give_back(self._process)

    def _finish(self) -> None:
        ended = self._next == self.stop == self.stat.size
        if self._streams and not ended:
            # Breaking off a transfer in good order takes as long as a new session, and may never end.
            self._process.close()
            return
        # All bytes are here; what goes wrong now ends the process, and is nothing to this read.
        with suppress(GfalError, ProcessEnded, ProcessStalled):
            self._process.ask("close", drain=self._streams)
            return
        self._process.close()

    def _next_piece(self) -> memoryview:
        process = self._process
        if not self._opened:
            self._opened = True
            process.ask(
                "open",
                # gfal2 opens a stream with a second session, so that this may include a login.
                limit_s=process.endpoint.connect_timeout_s + process.endpoint.stall_timeout_s,
                url=self._url,
                start=self.start,
                whole=self._streams,
                ranges=process.endpoint.ranges,
            )
        wanted = min(CHUNK_BYTES if self._streams else PIECE_BYTES, self.stop - self._next)
        looks = not self._streams or self._next + wanted == self.stop
        try:
            head, data = process.ask("read", count=wanted, url=self._url if looks else "")
        except GfalError as exc:
            if _REASON_LOST in exc.text:
                with closing(self._pool.start()) as other:
                    self._refuse_changed(other.look(self._url))
            raise
        self._next += len(data)
        if head["look"]:
            self._refuse_changed(Look(*head["look"]))
        if not data:
            # gfal2 tells a connection that was cut by nothing but an early end.
            self._process.close()
            detail = f"it ended at byte {self._next} of {self.stop}"
            raise Truncated(detail, storage=process.endpoint.storage, key=self.stat.key)
        if len(data) > wanted:
            self._process.close()
            detail = f"{len(data)} bytes came for {wanted}"
            raise Unavailable(detail, storage=process.endpoint.storage, key=self.stat.key)
        return data

    def _refuse_changed(self, look: Look) -> None:
        if object_stat(self.stat.key, look).version != self.stat.version:
            self._process.close()
            storage = self._process.endpoint.storage
            raise VersionChanged("it was changed as it was read", storage=storage, key=self.stat.key)
