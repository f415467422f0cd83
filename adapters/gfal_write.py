"""Writing one object through gfal2: streamed to a partial, compared with what the server has of it, and renamed."""

from __future__ import annotations

import errno
import hashlib
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from adapters.base import CHUNK_BYTES, ObjectStat, WriteMode, WriteSession
from adapters.errors import AdapterError, ChecksumMismatch, SizeMismatch, WriteLost
from adapters.gfal_client import GfalProcess
from adapters.gfal_errors import ProcessEnded, ProcessStalled, error_code, is_unsupported, translated
from adapters.gfal_library import GfalError, Look
from adapters.gfal_pool import GfalPool
from adapters.gfal_tree import look_if_there, object_stat, refuse_taken
from adapters.tokens import WriteToken

#: A server that computes a checksum is given a second for so many bytes, besides ``stall_timeout_s``.
CHECKSUM_BYTES_PER_S = 10_000_000


class _Digest(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Adler32:
    def __init__(self) -> None:
        self._value = 1

    def update(self, data: memoryview, /) -> None:
        self._value = zlib.adler32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


class GfalWriteSession(WriteSession):
    """Holds a gfal2 process until the write is over. gfal2 cannot go on with a file, so that no write is resumed."""

    def __init__(self, pool: GfalPool, process: GfalProcess, token: WriteToken, *, remove: Callable[[str], None]):
        """Owns the process, which has the partial open; ``remove`` is called with the token on an abort."""
        self.key = token.key
        self.token = str(token)
        self.offset = 0
        self._token = token
        self._pool = pool
        self._process = process
        self._endpoint = process.endpoint
        self._remove = remove
        self._open = True
        self._finished = False
        self._digest = _new_digest(self._endpoint.checksum)

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        declared = self._token.size
        if declared is not None and self.offset + len(view) > declared:
            raise SizeMismatch(f"more than {declared} bytes", storage=self._endpoint.storage, key=self.key)
        with self._translated():
            for at in range(0, len(view), CHUNK_BYTES):
                piece = view[at : at + CHUNK_BYTES]
                self._send(piece)
                self.offset += len(piece)
                if self._digest is not None:
                    self._digest.update(piece)

    def publish(self) -> ObjectStat:
        create = self._token.mode is WriteMode.CREATE
        with self._translated():
            if self._finished:
                raise WriteLost("an earlier attempt to finish it failed", storage=self._endpoint.storage, key=self.key)
            self._finish()
            found = self._look_at_partial()
            self._compare_checksum(found.size)
            publish_partial(self._process, self._token.partial, self.key, create=create)
        self._leave()
        return object_stat(self.key, found)

    def suspend(self) -> str:
        raise WriteLost("gfal2 cannot go on with a file", storage=self._endpoint.storage, key=self.key)

    def abort(self) -> None:
        if not self._open:
            return
        # The transfer has to be over before its file is removed, lest the server makes the file after that.
        with suppress(GfalError, ProcessEnded, ProcessStalled):
            if not self._finished and self._process.intact:
                self._finish()
        self._leave()
        self._remove(self.token)

    def _finish(self) -> None:
        self._finished = True
        self._process.ask("close", drain=False)

    def _send(self, piece: memoryview) -> None:
        try:
            self._process.ask("write", body=piece)
        except GfalError:
            # The end of the transfer often tells why it broke, where the write only says that it is over.
            with suppress(ProcessEnded, ProcessStalled):
                self._finish()
            raise

    def _look_at_partial(self) -> Look:
        found = look_if_there(self._process, self._token.partial)
        if found is None:
            raise WriteLost(storage=self._endpoint.storage, key=self.key)
        declared = self.offset if self._token.size is None else self._token.size
        if not self.offset == found.size == declared:
            detail = f"{self.offset} bytes were written, {found.size} are there, {declared} were declared"
            raise SizeMismatch(detail, storage=self._endpoint.storage, key=self.key)
        return found

    def _compare_checksum(self, size: int) -> None:
        if self._digest is None:
            return
        told = server_checksum(self._process, self._token.partial, size)
        if told != self._digest.hexdigest():
            detail = f"{self._endpoint.checksum}: {self._digest.hexdigest()} was written, {told} is there"
            raise ChecksumMismatch(detail, storage=self._endpoint.storage, key=self.key)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._endpoint.storage, self.key, absent=WriteLost)

    def _leave(self) -> None:
        self._open = False
        self._pool.give_back(self._process)


def server_checksum(process: GfalProcess, key: str, size: int) -> str:
    """What the server computes of a file, in the storage's algorithm. Raises AdapterError where it cannot."""
    endpoint = process.endpoint
    limit_s = endpoint.stall_timeout_s + size / CHECKSUM_BYTES_PER_S
    try:
        head, _ = process.ask("checksum", url=endpoint.url(key), algorithm=endpoint.checksum, limit_s=limit_s)
    except GfalError as exc:
        if is_unsupported(exc):
            detail = f"the server computes no {endpoint.checksum}: {exc.text.strip()[:200]}"
            raise AdapterError(detail, storage=endpoint.storage, key=key) from exc
        raise
    return str(head["checksum"])


def publish_partial(process: GfalProcess, partial: str, key: str, *, create: bool) -> None:
    """Rename the partial to its key. On ``create`` what is there is refused, a moment before the rename."""
    endpoint = process.endpoint
    refuse_taken(process, key, create=create)
    try:
        process.ask("rename", source=endpoint.url(partial), target=endpoint.url(key))
    except GfalError as exc:
        if not create and error_code(exc) == errno.EEXIST:
            detail = "the server refuses to rename onto an existing name; rename_overwrites is not true of it"
            raise AdapterError(detail, storage=endpoint.storage, key=key) from exc
        raise


def _new_digest(algorithm: str) -> _Digest | None:
    if not algorithm:
        return None
    return _Adler32() if algorithm == "adler32" else hashlib.new(algorithm, usedforsecurity=False)
