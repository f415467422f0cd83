"""The members of an archive: which objects or files lie below a prefix, found again later, and where to read them."""

from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from django.db.models import Q, QuerySet
from django.utils import timezone

from adapters.base import ObjectStat, Unreachable
from adapters.errors import Truncated, VersionChanged
from staging import archive_index, placement
from staging.archive_index import SEGMENT_MEMBERS, Member, Segment
from staging.connections import release
from staging.errors import ObjectUnavailable
from staging.listing import refuse_incomplete
from staging.models import Bucket, Object, Replica
from staging.models.fields import behind
from staging.placement import MANAGED_FOLDER
from staging.reading import Copy, Found
from staging.states import ObjectState, ReplicaState
from staging.storages import adapter_for

#: A folder into which others write is searched for a segment's files among at most so many times as many.
_CROWD = 8


@dataclass(frozen=True, slots=True)
class Located:
    """Where to read one member. ``retired``: its version is not the current one any more, so what its replicas were
    worth before is not known, and its bytes have to be compared with their digest."""

    found: Found
    retired: bool


class Members(Protocol):
    """What an archive asks of the place where its members lie. Names are relative to the prefix."""

    def all(self) -> Iterator[Member]:
        """Every member there now, ordered by its name's UTF-8 bytes. Raises ObjectUnavailable and ObjectLost."""

    def again(self, segment: Segment) -> Sequence[Member]:
        """The very members of a segment that ``all`` passed. Raises VersionChanged where they are not to be found."""

    def locate(self, members: Sequence[Member]) -> list[Located]:
        """Where to read each of these. Raises VersionChanged and Truncated."""

    @property
    def has_digests(self) -> bool:
        """Whether the identities are SHA-256 digests."""

    @property
    def is_strong(self) -> bool:
        """Whether the identities that ``all`` has passed decide the content of the members."""


class ManagedMembers:
    """The objects of a managed bucket below a prefix that are current when ``all`` is called.

    A version that is replaced or deleted later is found for as long as its row is kept, and read for as long as its
    bytes are.
    """

    has_digests = True
    is_strong = True

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._moment = timezone.now()

    def all(self) -> Iterator[Member]:
        self._moment = timezone.now()
        # One statement sees one state of the catalog, however many rows it passes.
        rows = self._rows("", behind(self._prefix)).filter(current=True)
        columns = rows.values_list("key", "size", "created_at", "sha256", "state")
        skip = len(self._prefix)
        for key, size, created_at, sha256, state in columns.iterator(chunk_size=SEGMENT_MEMBERS):
            if state != ObjectState.AVAILABLE:
                copies = Replica.objects.filter(object__bucket=self._bucket, object__key=key, object__current=True)
                placement.refuse_lost(state, copies)
                raise ObjectUnavailable(f"The object {key!r} is {state}, so there is no archive of all of them.")
            yield Member(key[skip:], size, _seconds(created_at), sha256)

    def again(self, segment: Segment) -> Sequence[Member]:
        rows = self._rows(segment.after, self._prefix + segment.last)
        # Mostly nothing has changed. Where something has, times tell which versions stood there. They may fail to, as
        # each was told by the clock of the node that wrote it, and then the digest keeps it from going unnoticed.
        then = Q(created_at__lte=self._moment) & (Q(retired_at=None) | Q(retired_at__gt=self._moment))
        for choice in (Q(current=True), then):
            columns = rows.filter(choice).values_list("key", "size", "created_at", "sha256", "pk", "content_type")
            skip = len(self._prefix)
            found = [
                Member(key[skip:], size, _seconds(created_at), sha256, pk, content_type)
                for key, size, created_at, sha256, pk, content_type in columns[: segment.count + 1]
            ]
            if archive_index.digest(found) == segment.digest:
                return found
        raise VersionChanged("objects were replaced or removed meanwhile", key=self._prefix + segment.last)

    def locate(self, members: Sequence[Member]) -> list[Located]:
        replicas: dict[object, list[Replica]] = defaultdict(list)
        wanted = Replica.objects.filter(object__in=[member.object_id for member in members])
        for replica in wanted.select_related("object", "storage__credential", "storage__node"):
            replicas[replica.object_id].append(replica)
        return [self._place(member, replicas[member.object_id]) for member in members]

    def _rows(self, after: str, last: str) -> QuerySet[Object]:
        # Exactly one lower bound: of two, SQLite may search by the lesser and pass over all the rows between them.
        begin = Q(key__gt=self._prefix + after) if after else Q(key__gte=self._prefix)
        return Object.objects.filter(begin, bucket=self._bucket, key__lte=last).order_by("key")

    def _place(self, member: Member, replicas: Sequence[Replica]) -> Located:
        key = self._prefix + member.name
        if not replicas:
            raise VersionChanged("its bytes were removed meanwhile", key=key)
        retired = not replicas[0].object.current
        copies = placement.reading_order(_still_there(replicas) if retired else replicas)
        if not copies:
            raise Truncated("no replica of it can be read", key=key)
        return Located(_found(member, [Copy(replica, None) for replica in copies]), retired)


class MountedMembers:
    """The files below a prefix of a mounted bucket, each pinned to the version that the storage lists.

    Waybill knows no digests of them; the identities are as strong as the storage's versions.
    """

    has_digests = False

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, f"{bucket.prefix}{prefix}"
        self._strong, self._newest = True, 0

    @property
    def is_strong(self) -> bool:
        return self._strong

    def all(self) -> Iterator[Member]:
        self._strong, self._newest = True, 0
        for stat in self._files(""):
            member = self._member(stat)
            self._strong = self._strong and stat.version_is_strong
            self._newest = max(self._newest, member.mtime)
            yield member

    def again(self, segment: Segment) -> Sequence[Member]:
        seen: list[Member] = []
        with closing(self._files(segment.after)) as files:
            for stat in files:
                member = self._member(stat)
                if member.name > segment.last or len(seen) > _CROWD * segment.count:
                    break
                seen.append(member)
                if member.name == segment.last:
                    break
        # Others may have put new files between them.
        for found in (seen, [member for member in seen if member.mtime <= self._newest]):
            if archive_index.digest(found) == segment.digest:
                return found
        raise VersionChanged("files have changed", storage=self._bucket.storage.name, key=self._prefix + segment.last)

    def locate(self, members: Sequence[Member]) -> list[Located]:
        return [
            Located(_found(member, [Copy(self._replica(member), member.identity)], sha256=""), retired=False)
            for member in members
        ]

    def _replica(self, member: Member) -> Replica:
        return Replica(storage=self._bucket.storage, key=self._prefix + member.name)

    def _member(self, stat: ObjectStat) -> Member:
        return Member(stat.key[len(self._prefix) :], stat.size, _seconds(stat.modified), stat.version)

    def _files(self, after: str) -> Generator[ObjectStat, None, None]:
        """A scan that leaves out the folders in which Waybill keeps the bytes of managed buckets.

        Raises FolderIncomplete where it meets what no archive could hold, which is told rather than left out.
        """
        adapter = adapter_for(self._bucket.storage)
        release()
        position = f"{self._prefix}{after}" if after else ""
        while True:
            for stat in adapter.scan(self._prefix, after=position):
                folder, own, _ = f"/{stat.key}".partition(f"/{MANAGED_FOLDER}/")
                if own:
                    position = f"{folder}{own}\U0010ffff"[1:]
                    break
                if isinstance(stat, Unreachable):
                    refuse_incomplete(self._bucket, stat.key.removeprefix(self._bucket.prefix), stat.why)
                if isinstance(stat, ObjectStat):
                    yield stat
            else:
                return


def _found(member: Member, copies: Sequence[Copy], *, sha256: str | None = None) -> Found:
    return Found(
        size=member.size,
        sha256=member.identity if sha256 is None else sha256,
        etag=member.identity,
        etag_is_strong=True,
        modified=None,
        content_type="",
        copies=tuple(copies),
        object_id=member.object_id,
    )


def _still_there(replicas: Sequence[Replica]) -> list[Replica]:
    """The replicas of a retired version as if they were not about to be deleted: their bytes may well be there yet."""
    for replica in replicas:
        if replica.state == ReplicaState.DELETING and replica.verified_at is not None:
            replica.state = ReplicaState.AVAILABLE  # of this instance only, which nobody saves
    return list(replicas)


def _seconds(moment: datetime | None) -> int:
    return max(0, int(moment.timestamp())) if moment else 0
