"""The index of an archive: where each thousand of its members begins, and what they must be. Pure functions.

A member costs no memory here, a thousand of them some hundred bytes. A range in the middle is found without looking
at the members before it, and the members of a segment are compared with its digest before any of their bytes go out.
"""

import hashlib
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from staging import tar_layout

#: Members of one segment: so many are in memory while a stream passes.
SEGMENT_MEMBERS = 1000


class Member(NamedTuple):
    """One file of an archive: its name there, its size, its time in whole seconds since 1970, and what its content is.

    ``identity`` is the SHA-256, or the storage's version of a file that Waybill did not write. The other two are known
    where the archive has a catalog behind it, and only of members that were asked for again.
    """

    name: str
    size: int
    mtime: int
    identity: str
    object_id: uuid.UUID | None = None
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive members: the offset in the archive where the first begins, their names' bounds, count and digest.

    The names are greater than ``after`` and end with ``last``.
    """

    start: int
    after: str
    last: str
    count: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Index:
    """A whole archive. ``size`` is its exact length, ``content_bytes`` the sum of its members' sizes.

    ``etag`` is decided by the names, sizes, times and identities of the members and by the layout, and decides every
    byte as far as the identities decide the content. ``newest`` is the latest of the times.
    """

    size: int
    content_bytes: int
    count: int
    newest: int
    etag: str
    segments: tuple[Segment, ...]

    def segments_between(self, start: int, stop: int) -> Iterator[Segment]:
        """The segments that hold bytes of ``[start, stop)``, in order."""
        begin = max(0, bisect_right(self.segments, start, key=lambda segment: segment.start) - 1)
        for segment in islice(self.segments, begin, None):
            if segment.start >= stop:
                return
            yield segment


def lay_out(members: Iterable[Member]) -> Index:
    """The index of these members, which come in the order of the archive; they are passed once and not kept."""
    whole = hashlib.sha256(tar_layout.LAYOUT.encode())
    segments: list[Segment] = []
    offset = content = count = newest = 0
    after = ""
    left, member_bytes = iter(members), tar_layout.member_bytes
    while batch := list(islice(left, SEGMENT_MEMBERS)):
        found = Segment(offset, after, batch[-1].name, len(batch), digest(batch))
        segments.append(found)
        whole.update(found.digest)
        after = found.last
        count += found.count
        content += sum([member.size for member in batch])
        newest = max(newest, max([member.mtime for member in batch]))
        offset += sum([member_bytes(member.name, member.size) for member in batch])
    return Index(offset + len(tar_layout.END), content, count, newest, whole.hexdigest(), tuple(segments))


def digest(members: Sequence[Member]) -> bytes:
    """The SHA-256 of all that decides these members' bytes."""
    lines = [f"{member.name}\0{member.size}\0{member.mtime}\0{member.identity}\n" for member in members]
    return hashlib.sha256("".join(lines).encode()).digest()
