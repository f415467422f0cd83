"""Objects as files below one folder of a GridFTP or SRM server, through gfal2 in processes of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import ClassVar, Self, TypeVar

from adapters.base import (
    Adapter,
    CheckStep,
    Listed,
    ObjectStat,
    ReadStream,
    Traits,
    Unfinished,
    WriteMode,
    WriteSession,
)
from adapters.errors import (
    AccessDenied,
    AdapterError,
    InvalidKey,
    NotFound,
    Offline,
    RangeInvalid,
    VersionChanged,
    WriteLost,
)
from adapters.gfal_check import check_steps
from adapters.gfal_client import GfalProcess
from adapters.gfal_copy import copy_to_partial
from adapters.gfal_errors import translated
from adapters.gfal_library import GfalError
from adapters.gfal_pool import GfalPool
from adapters.gfal_read import GfalReadStream
from adapters.gfal_settings import (
    CHECKSUMS,
    GRIDFTP_FIELDS,
    SRM_FIELDS,
    Endpoint,
    endpoint_uri,
    make_endpoint,
)
from adapters.gfal_tree import (
    entry_of,
    is_file,
    list_folder,
    list_keys,
    look_if_there,
    make_folder_of,
    object_stat,
    refuse_taken,
    refuse_unlistable,
)
from adapters.gfal_write import GfalWriteSession, publish_partial
from adapters.keys import partial_token
from adapters.tokens import WriteToken
from adapters.walking import walk, walk_unfinished

T = TypeVar("T")


class GfalAdapter(Adapter):
    """A key is the file's path below the root; the bytes of an unfinished write lie beside it under a partial's name.

    Each stream and session holds one of at most ``max_processes`` gfal2 processes until it is closed; one that stalls
    or dies fails the call it was in, and is replaced. Symbolic links are followed as the server follows them.
    """

    plugin: ClassVar[str]

    def __init__(self, endpoint: Endpoint) -> None:
        self.name = endpoint.storage
        self.endpoint = endpoint
        # A rename overwrites or refuses: the one replaces atomically, the other creates so, and no server does both.
        self.traits = Traits(
            atomic_create=not endpoint.rename_overwrites,
            atomic_replace=endpoint.rename_overwrites,
            resumes=False,
            strong_versions=False,
            checksums=(CHECKSUMS[endpoint.checksum],) if endpoint.checksum else (),
        )
        self._pool = GfalPool(endpoint)

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        return cls(make_endpoint(cls.scheme, cls.plugin, name, options, credential))

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return endpoint_uri(cls.scheme, options)

    def stat(self, key: str) -> ObjectStat:
        with self._connected(key) as process:
            return self._object(process, key)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        with self._connected(key, kept=True) as process:
            found = self._object(process, key)
            if version is not None and version != found.version:
                raise VersionChanged(storage=self.name, key=key)
            stop = found.size if stop is None else stop
            if not 0 <= start <= stop <= found.size:
                raise RangeInvalid(f"[{start}, {stop}) of {found.size} bytes", storage=self.name, key=key)
        return GfalReadStream(self._pool, process, found, start=start, stop=stop)

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        token = WriteToken.new(key, size=size, mode=mode)
        self._refuse_replacing(mode, key)
        with self._connected(key, below=InvalidKey, kept=True) as process:
            self._prepare(process, token)
            process.ask("create", url=self.endpoint.url(token.partial))
        return GfalWriteSession(self._pool, process, token, remove=self.abort_write)

    def resume_write(self, token: str) -> WriteSession:
        key = WriteToken.parse(token, storage=self.name).key
        raise WriteLost("gfal2 cannot go on with a file", storage=self.name, key=key)

    def unfinished_writes(self, key: str) -> list[str]:
        folder, _, name = key.rpartition("/")
        entries = self._listed(list_folder, f"{folder}/" if folder else "")
        found = [partial_token(entry, target=name) for entry, _ in entries]
        return [str(WriteToken(key, digits)) for digits in found if digits is not None]

    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]:
        return walk_unfinished(lambda below: map(entry_of, self._listed(list_folder, below)), folder)

    def abort_write(self, token: str) -> None:
        self._remove(WriteToken.parse(token, storage=self.name).partial)

    def delete(self, key: str) -> None:
        self._remove(key)

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        """Keeps the names of one folder, for each folder on the way down, and no process between two of them."""
        return walk(
            lambda folder: self._listed(list_keys, folder), object_stat, prefix=prefix, after=after, recursive=recursive
        )

    def check(self) -> list[CheckStep]:
        return check_steps(self, self.endpoint)

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def _connected(
        self,
        key: str = "",
        *,
        absent: type[AdapterError] = NotFound,
        below: type[AdapterError] = NotFound,
        kept: bool = False,
    ) -> Iterator[GfalProcess]:
        """A process for the block, given back after it; with ``kept``, only where the block fails."""
        try:
            with translated(self.name, key, absent=absent, below=below):
                process = self._pool.take()
                try:
                    yield process
                except BaseException as exc:
                    try:
                        if isinstance(exc, GfalError) and process.intact:
                            self._refuse_lost_root(process, key)
                    finally:
                        self._pool.give_back(process)
                    raise
                if not kept:
                    self._pool.give_back(process)
        except AccessDenied as exc:
            if self.endpoint.credential.has_expired:
                raise AccessDenied(self.endpoint.credential.told(), storage=self.name, key=key) from exc
            raise

    def _refuse_lost_root(self, process: GfalProcess, key: str) -> None:
        """Where the root itself has gone, as when its file system was unmounted, no object is known to be missing."""
        try:
            process.look(self.endpoint.url())
        except GfalError as exc:
            raise Offline("its root folder is not there", storage=self.name, key=key) from exc

    def _object(self, process: GfalProcess, key: str) -> ObjectStat:
        look = process.look(self.endpoint.url(key))
        if not is_file(look):
            raise NotFound("it is a folder, or no regular file", storage=self.name, key=key)
        return object_stat(key, look)

    def _refuse_replacing(self, mode: WriteMode, key: str) -> None:
        if mode is WriteMode.REPLACE and not self.endpoint.rename_overwrites:
            detail = "its server does not rename onto an existing name (rename_overwrites), so nothing can be replaced"
            raise AdapterError(detail, storage=self.name, key=key)

    def _prepare(self, process: GfalProcess, token: WriteToken) -> None:
        """Refuse, before any byte is taken, what publish would surely refuse, and make the folders."""
        refuse_unlistable(process, token.partial)
        refuse_unlistable(process, token.key)
        refuse_taken(process, token.key, create=token.mode is WriteMode.CREATE)
        make_folder_of(process, token.key)

    def _remove(self, key: str) -> None:
        with suppress(NotFound), self._connected(key) as process:
            look = look_if_there(process, key)
            if look is None:
                self._refuse_lost_root(process, key)
            elif is_file(look):  # A folder is no object, so there is none to remove.
                process.ask("unlink", url=self.endpoint.url(key))

    def _listed(self, listing: Callable[[GfalProcess, str], list[T]], folder: str) -> list[T]:
        """What ``listing`` tells of a folder; nothing where it is missing, or is a file."""
        try:
            with self._connected(folder) as process:
                look = look_if_there(process, folder.rstrip("/")) if folder else None
                if look is not None and is_file(look):
                    return []
                return listing(process, folder)
        except NotFound:
            return []


class GridFtpAdapter(GfalAdapter):
    """GridFTP with X.509 (``gsiftp://``); the server copies within itself."""

    scheme = "gsiftp"
    title = "GridFTP"
    plugin = "gridftp"
    fields = GRIDFTP_FIELDS

    def copy_within(self, source: str, token: WriteToken) -> ObjectStat:
        """Copy to a partial beside the target, compare size and checksum, and rename. Raises as a write does."""
        target = token.key
        self._refuse_replacing(token.mode, target)
        before = self.stat(source)
        token.expect(before.size, source=source, storage=self.name)
        try:
            with self._connected(target, below=InvalidKey) as process:
                self._prepare(process, token)
                copy_to_partial(process, source, before, token.partial, grown=lambda: self._size(token.partial))
                publish_partial(process, token.partial, target, create=token.mode is WriteMode.CREATE)
        except BaseException as exc:
            self._clean_up(token, exc)
            raise
        return self.stat(target)

    def _size(self, partial: str) -> int:
        """How much of a copy is there; nothing where that cannot be told."""
        try:
            # Not one of the pool's: all may be taken, and a copy that cannot be watched would seem to stall.
            with translated(self.name, partial), closing(self._pool.start()) as process:
                return process.look(self.endpoint.url(partial)).size
        except AdapterError:
            return 0

    def _clean_up(self, token: WriteToken, error: BaseException) -> None:
        try:
            self.abort_write(str(token))
        except AdapterError as exc:
            error.add_note(f"cleaning up failed too: {exc}")


class SrmAdapter(GfalAdapter):
    """SRM version 2.2 (``srm://``); gfal2 asks the service where to read and write, and goes there."""

    scheme = "srm"
    title = "SRM"
    plugin = "srm"
    fields = SRM_FIELDS
