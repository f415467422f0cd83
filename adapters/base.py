"""The adapter interface: what every storage promises, and the few words it is told in.

Units: bytes, seconds, aware UTC datetimes; ranges are half-open ``[start, stop)``. An adapter is thread-safe; a
stream or a session belongs to one thread at a time. Errors are those of ``adapters.errors`` and nothing else.
Adapters never retry. Time limits are for connecting and for making no progress, never for a whole transfer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self, runtime_checkable

from adapters.errors import AdapterError

if TYPE_CHECKING:
    from adapters.tokens import WriteToken

#: The size in bytes of the pieces in which callers are advised to read and write.
CHUNK_BYTES = 1024 * 1024


class WriteMode(StrEnum):
    """CREATE refuses an existing object (AlreadyExists); REPLACE swaps it atomically."""

    CREATE = "create"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Checksum:
    """A digest the storage vouches for: ``algorithm`` as RFC 9530 spells it (``sha-256``), ``hex`` in lower case."""

    algorithm: str
    hex: str


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """What a storage says of one object.

    ``version`` is opaque and changes when the content does. Where ``version_is_strong`` is false, a change of
    content that keeps size and modification second may go unnoticed.
    """

    key: str
    size: int
    modified: datetime | None
    version: str
    version_is_strong: bool
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    """A folder seen by a scan that does not descend; ``key`` ends in ``/``."""

    key: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """What a scan meets and nobody can read by any key, and ``why``; ``key`` shows it to people and names nothing."""

    key: str
    why: str


#: Why, of a name that is not UTF-8, holds a control character or is too long.
NO_KEY = "no key can have this name"
#: Why, of a link to a file elsewhere.
LEADS_OUT = "it is a symbolic link that leads out of the storage's root"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An unfinished write as a listing finds it; ``modified`` is when the storage was last told of it."""

    token: str
    key: str
    size: int
    modified: datetime | None


@dataclass(frozen=True, slots=True)
class Traits:
    """What this storage guarantees beyond the contract's minimum."""

    atomic_create: bool
    atomic_replace: bool
    resumes: bool
    strong_versions: bool
    checksums: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of ``Adapter.check``; ``detail`` says what was found and, on failure, what to do about it."""

    step: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Field:
    """One setting of a kind of storage: it validates what the API is sent and draws the admin's form.

    ``secret`` fields belong to the credential, are encrypted at rest and never shown again. Where there are
    ``choices``, the value is one of them.
    """

    name: str
    type: Literal["string", "text", "integer", "boolean"]
    help: str
    required: bool = False
    default: str | int | bool | None = None
    secret: bool = False
    choices: tuple[str, ...] = ()


#: What a scan gives.
Listed = ObjectStat | Prefix | Unreachable


class ReadStream(ABC):
    """An open read of exactly ``stop - start`` bytes of one version.

    ``stat`` describes the version being read. ``read`` returns at most ``max_bytes`` and at least one byte, or
    ``b""`` once all ``stop - start`` bytes were returned; a source that ends earlier raises Truncated, one that
    changed VersionChanged. Closing is idempotent and leaves no connection behind.
    """

    stat: ObjectStat
    start: int
    stop: int

    @abstractmethod
    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _leave(self.close, error)


class WriteSession(ABC):
    """An unfinished write: nothing is visible at the key before ``publish`` returns.

    ``offset`` counts the bytes taken. ``write`` takes all of ``data`` or raises. ``publish`` checks that the size
    declared (if any) was reached and that the storage holds that many bytes, makes the object visible in one atomic
    step and returns its stat; on AlreadyExists, SizeMismatch or any other error nothing has become visible.
    ``suspend`` leaves the bytes and returns a small token for ``Adapter.resume_write``, also in another process.
    Leaving the ``with`` block without ``publish`` or ``suspend`` aborts, and an abort leaves nothing behind.
    ``token`` is known from the start so that a janitor can find the write after a crash.
    """

    key: str
    token: str
    offset: int

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None: ...

    @abstractmethod
    def publish(self) -> ObjectStat: ...

    @abstractmethod
    def suspend(self) -> str:
        """Leave the bytes for later. Raises WriteLost where the storage cannot resume (``traits.resumes`` false)."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written. Idempotent; does nothing after publish or suspend."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _leave(self.abort, error)


def _leave(clean_up: Callable[[], None], error: BaseException | None) -> None:
    """Clean up at the end of a block; where an error ended it, that error is kept and a second one noted on it."""
    try:
        clean_up()
    except AdapterError as exc:
        if error is None:
            raise
        error.add_note(f"cleaning up failed too: {exc}")


class Adapter(ABC):
    """One configured storage: an endpoint, a root below which every key lies, and a credential."""

    scheme: ClassVar[str]
    #: What people call this kind of storage.
    title: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]]
    #: Whether every process that builds the same storage reaches the same bytes.
    shared: ClassVar[bool] = True
    #: Whether nothing can be written or deleted there; the calls that would raise Unsupported.
    read_only: ClassVar[bool] = False

    #: The storage's name; every error carries it.
    name: str
    traits: Traits

    @classmethod
    @abstractmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        """An adapter from validated settings. Opens no connection; raises ValueError naming a setting that is wrong."""

    @classmethod
    @abstractmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        """The URI of the storage's root, normalised and ending in ``/``: ``sftp://host:22/srv/data/``."""

    @abstractmethod
    def stat(self, key: str) -> ObjectStat:
        """Raises NotFound. A folder is not an object."""

    @abstractmethod
    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        """Open ``[start, stop)``; ``stop=None`` means to the end. ``start == stop`` is a legal empty read.

        Raises NotFound, RangeInvalid where ``0 <= start <= stop <= size`` does not hold, and VersionChanged where
        ``version`` is given and is not the object's.
        """

    @abstractmethod
    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        """Begin a write of ``size`` bytes (None: not declared). Missing folders are made.

        CREATE may raise AlreadyExists here already, and surely does at publish.
        """

    @abstractmethod
    def resume_write(self, token: str) -> WriteSession:
        """Go on with a suspended or interrupted write at ``session.offset``. Raises WriteLost."""

    @abstractmethod
    def unfinished_writes(self, key: str) -> list[str]:
        """The tokens of the unfinished writes of exactly this key, whoever began them."""

    @abstractmethod
    def abort_write(self, token: str) -> None:
        """Remove the unfinished write that the token names; one that is gone is success."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; a missing one is success."""

    @abstractmethod
    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        """Everything whose key starts with ``prefix`` and is greater than ``after``, ordered by the key's UTF-8 bytes.

        With ``recursive`` false, keys that hold a ``/`` behind the prefix are folded into one Prefix each. An object
        or a folder that no key can name is told as Unreachable, as is a link to a file outside the root, so that nobody
        takes what is listed for all. Unfinished writes are never listed. Constant memory in the number of folders'
        siblings at least.
        """

    @abstractmethod
    def check(self) -> list[CheckStep]:
        """Try, in order, all that Waybill needs of the storage; stops at the first failure. Never raises."""

    @abstractmethod
    def close(self) -> None:
        """Close idle connections. Streams that are open finish by themselves."""


@runtime_checkable
class CopiesWithin(Protocol):
    """A storage that copies an object by itself, atomically, without the bytes passing through Waybill.

    The caller makes the token, which says where to and how, so that it is known before anything is there: until the
    copy is published it is the unfinished write of that token, and ``abort_write`` removes it and keeps it from being
    published. Raises VersionChanged where the source has another size than the token declares, and what a write raises.
    """

    def copy_within(self, source: str, token: WriteToken) -> ObjectStat: ...


@runtime_checkable
class SignsUrls(Protocol):
    """A storage that gives out short-lived URLs for one object and one method."""

    def sign_url(self, key: str, *, method: Literal["GET", "PUT"], lifetime_s: int) -> str: ...


@runtime_checkable
class ReportsSpace(Protocol):
    """A storage that knows how many bytes are free for Waybill."""

    def free_bytes(self) -> int: ...


@runtime_checkable
class ReadsUnfinished(Protocol):
    """A storage that shows the bytes of a suspended write before they are published; raises WriteLost."""

    def read_unfinished(self, token: str) -> ReadStream: ...


@runtime_checkable
class ListsUnfinished(Protocol):
    """A storage that lists the unfinished writes of all keys in a folder (ending in ``/``) and below, in any order.

    Each token is one that ``Adapter.abort_write`` takes. Memory is bounded by what lies in one folder.
    """

    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]: ...
