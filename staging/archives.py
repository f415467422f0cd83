"""Archives: everything below a prefix as one tar, of which any range can be read. Its bytes are never stored.

An archive is what stood below the prefix at one moment. Its length and entity tag are known before its first byte, and
an archive that cannot be told to the end as it was begun breaks off with an error before its last byte.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.base import CHUNK_BYTES, ObjectStat, ReadStream
from adapters.errors import InvalidKey, Truncated
from adapters.keys import check_prefix
from staging import alias_uses, archive_cache, archive_index, failures, reading, tar_layout
from staging.archive_index import Index, Member
from staging.archive_members import Located, ManagedMembers, Members, MountedMembers
from staging.checked_reading import open_checked
from staging.connections import release
from staging.errors import DataPending, InvalidRequest, SourceMissing
from staging.models import Bucket

CONTENT_TYPE = "application/x-tar"
#: Replicas are looked up for so many members at a time, and again after about so many bytes.
_LOOK_UP_MEMBERS, _LOOK_UP_BYTES = 100, 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of one moment. ``size`` is its exact length in bytes, ``count`` its number of members.

    ``newest`` is the time of its youngest member. It validates nothing: removing a member does not change it.
    """

    prefix: str
    index: Index
    members: Members

    @property
    def size(self) -> int:
        return self.index.size

    @property
    def count(self) -> int:
        return self.index.count

    @property
    def etag(self) -> str:
        return self.index.etag

    @property
    def etag_is_strong(self) -> bool:
        """Whether equal tags mean equal bytes; not where a mounted storage's versions may miss a change."""
        return self.members.is_strong

    @property
    def newest(self) -> datetime:
        return datetime.fromtimestamp(self.index.newest, UTC)

    def open(self, start: int, stop: int) -> ReadStream:
        """The bytes ``[start, stop)`` of the archive; only members that lie there are opened.

        No database connection is held while bytes move. ``read`` raises VersionChanged where a member is not to be
        had any more, Truncated where no replica of it can be read, and what its storage raises.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"[{start}, {stop}) of {self.size} bytes")
        release()
        return _ArchiveStream(self, start, stop)


def of(bucket: Bucket, prefix: str) -> Archive:
    """The archive of all that is current below a prefix now; "" is the whole bucket.

    Raises DataPending where there is nothing yet, SourceMissing and ProducerFailed where nothing is to come,
    ObjectUnavailable where a member is lost or out of reach, InvalidRequest for a prefix that is no folder, and what a
    mounted bucket's storage raises.
    """
    members = members_of(bucket, prefix)

    def make() -> Archive:
        index = archive_index.lay_out(members.all())
        if not index.count:
            if alias_uses.is_awaited_below(bucket, prefix):
                raise DataPending("There is nothing below this prefix yet.")
            failures.check(bucket, prefix)
            raise SourceMissing("There is nothing below this prefix.")
        return Archive(prefix, index, members)

    made = make() if bucket.mounted else archive_cache.get(bucket, prefix, make)
    release()
    return made


def members_of(bucket: Bucket, prefix: str) -> Members:
    """Where the members below a prefix are found. Raises InvalidRequest for a prefix that is no folder."""
    try:
        check_prefix(prefix)
        check_prefix(f"{bucket.prefix}{prefix}")
    except InvalidKey as exc:
        raise InvalidRequest("The prefix is not valid.", fields={"prefix": exc.detail}) from exc
    if prefix and not prefix.endswith("/"):
        raise InvalidRequest("The prefix is not valid.", fields={"prefix": "an archive is of a folder, ending in '/'"})
    return MountedMembers(bucket, prefix) if bucket.mounted else ManagedMembers(bucket, prefix)


class _ArchiveStream(ReadStream):
    """Puts the pieces of a range together, so that small members do not make small chunks."""

    def __init__(self, archive: Archive, start: int, stop: int) -> None:
        self.start, self.stop, self._left = start, stop, stop - start
        self.stat = ObjectStat(
            key=archive.prefix,
            size=archive.size,
            modified=archive.newest,
            version=archive.etag,
            version_is_strong=archive.etag_is_strong,
        )
        self._pieces = _pieces(archive, start, stop)
        self._rest = memoryview(b"")

    def read(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        wanted = min(max_bytes, self._left)
        parts: list[bytes | memoryview] = []
        while wanted:
            piece = self._rest or memoryview(next(self._pieces, b""))
            if not piece:
                raise Truncated("the archive ended too early", key=self.stat.key)
            parts.append(piece[:wanted])
            self._rest = piece[wanted:]
            wanted -= len(parts[-1])
            self._left -= len(parts[-1])
        return b"".join(parts)

    def close(self) -> None:
        self._pieces.close()


def _pieces(archive: Archive, start: int, stop: int) -> Generator[bytes, None, None]:
    """The bytes ``[start, stop)`` in pieces of any length but none."""
    for segment in archive.index.segments_between(start, stop):
        members = archive.members.again(segment)
        release()
        yield from _segment_pieces(archive.members, members, start - segment.start, stop - segment.start)
    end = archive.size - len(tar_layout.END)
    if stop > end:
        yield tar_layout.END[max(0, start - end) : stop - end]


def _segment_pieces(place: Members, members: Sequence[Member], start: int, stop: int) -> Generator[bytes, None, None]:
    """The part of some consecutive members that lies in ``[start, stop)``, counted from the first one's header."""
    batch: list[tuple[int, Member]] = []
    offset = content = 0
    for member in members:
        following = offset + tar_layout.member_bytes(member.name, member.size)
        if following > start and offset < stop:
            batch.append((offset, member))
            content += member.size
        if len(batch) == _LOOK_UP_MEMBERS or content >= _LOOK_UP_BYTES:
            yield from _batch_pieces(place, batch, start, stop)
            batch, content = [], 0
        offset = following
    yield from _batch_pieces(place, batch, start, stop)


def _batch_pieces(
    place: Members, batch: Sequence[tuple[int, Member]], start: int, stop: int
) -> Generator[bytes, None, None]:
    located = place.locate([member for _, member in batch])
    release()
    for (offset, member), where in zip(batch, located, strict=True):
        yield from _member_pieces(member, where, start - offset, stop - offset)


def _member_pieces(member: Member, where: Located, start: int, stop: int) -> Generator[bytes, None, None]:
    """The part of one member that lies in ``[start, stop)``, counted from its header."""
    header = tar_layout.header(member.name, member.size, member.mtime)
    yield from _cut(header, start, stop)
    first, last = max(0, start - len(header)), min(member.size, stop - len(header))
    if first < last:
        opened = open_checked if where.retired else reading.open_stream
        with opened(where.found, first, last) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    content_end = len(header) + member.size
    yield from _cut(tar_layout.padding(member.size), start - content_end, stop - content_end)


def _cut(data: bytes, start: int, stop: int) -> Sequence[bytes]:
    part = data[max(0, start) : max(0, stop)]
    return (part,) if part else ()
