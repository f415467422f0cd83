"""Orphans and lost copies: bytes in Waybill's own folder that no row knows, and rows whose bytes are not there.

Bytes are whole, or those of a write that nobody ended; what is said here of the former holds for the latter.

What a storage lists and what the catalog lists are passed over side by side in the order of keys, so that memory does
not grow with either. What differs is looked at once more before it is told, and again before anything is done:

- *Bytes without a row.* Every byte has a row, an upload's, a replica's or a cached block's, before it is written. The
  row goes only once the bytes are gone, or in the transaction that makes another of the same key, or its writer was
  fenced off and removes by itself what it still publishes. No key is ever used twice. So a key whose bytes were seen
  first, and that has neither an upload nor, asked after that, a replica or a block, stays without one: its bytes may go
  whenever. They must be older than any lease besides, so that a writer that was fenced off and is still at it is not
  disturbed.
- *A row without bytes.* The row was AVAILABLE before the storage was asked, so that its bytes had come already; the
  storage says that they are not there; and the row is still AVAILABLE when it is condemned. A removal by Waybill would
  have changed the row before it touched the bytes, and no way leads back.

Another storage may show the same place, so that a key is an orphan only where no storage has a row for it.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

import structlog
from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.utils import timezone

from adapters import registry
from adapters.base import Adapter, ListsUnfinished, ObjectStat, Unfinished
from adapters.errors import AccessDenied, NotFound
from staging import replication, sharing
from staging.connections import release
from staging.models import CachedBlock, Replica, Storage, Upload
from staging.models.fields import behind
from staging.placement import MANAGED_FOLDER
from staging.states import ReplicaState, StorageState
from staging.storages import adapter_for

log = structlog.get_logger(__name__)

_FOLDER = f"{MANAGED_FOLDER}/"
_PAGE = 500
#: So many keys of each kind are named in a report.
_NAMED = 20
#: Where bytes lie that Waybill put there: uploads and copies of objects by bucket, and uploads that wait parked.
_OURS = re.compile(r"\.waybill/(?:\d+/[0-9a-f]{2}/[0-9a-f]{32}(?:\.[0-9a-f.]+)?|parked/\d+/[0-9a-f]{32})")


class Kind(StrEnum):
    """What is the matter: no row; no row, but too young or of no known age; nothing of Waybill's; no bytes.

    UNFINISHED is a write that was never ended and has no row, old enough for nobody to be at it; else it is YOUNG.
    """

    ORPHAN = "orphan"
    UNFINISHED = "unfinished"
    YOUNG = "young"
    UNDATED = "undated"
    FOREIGN = "foreign"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Finding:
    """One key where storage and catalog differ; ``why`` says of a lost copy what was found instead, ``missing`` that it
    was nothing.

    ``modified`` is when rowless bytes were written, as far as the storage tells; ``token`` is an unfinished write's.
    """

    kind: Kind
    key: str
    size: int
    why: str = ""
    missing: bool = False
    replica: Replica | None = None
    modified: datetime | None = None
    token: str = ""


@dataclass
class Count:
    """How many, how large together, and the first of them by key, with the ages of these where they are known."""

    count: int = 0
    bytes: int = 0
    keys: list[str] = field(default_factory=list)
    ages_s: list[int | None] = field(default_factory=list)

    def add(self, key: str, size: int, modified: datetime | None = None) -> None:
        """One more."""
        self.count += 1
        self.bytes += size
        if len(self.keys) < _NAMED:
            self.keys.append(key)
            self.ages_s.append(round((timezone.now() - modified).total_seconds()) if modified else None)


@dataclass
class Report:
    """What a pass over a storage found: all that it lists there, all rows of it, and where they differ.

    ``untold`` says why unfinished writes were not looked for.
    """

    stored: Count = field(default_factory=Count)
    listed: Count = field(default_factory=Count)
    found: dict[Kind, Count] = field(default_factory=lambda: {kind: Count() for kind in Kind})
    untold: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether there is something to act on."""
        return any(self.found[kind].count for kind in (Kind.ORPHAN, Kind.UNFINISHED, Kind.LOST))

    @property
    def is_doubtful(self) -> bool:
        """Whether more is wrong than right: the storage may not be mounted, or the catalog an old one."""
        orphans, lost = self.found[Kind.ORPHAN].count, self.found[Kind.LOST].count
        return orphans * 2 > self.stored.count or lost * 2 > self.listed.count


def storages() -> Iterable[Storage]:
    """Those that can be looked at: in reach of every process, and with bytes that Waybill put there."""
    known = Storage.objects.exclude(state=StorageState.LOST).select_related("project", "credential")
    return [one for one in known if registry.is_shared(one.scheme) and not registry.is_read_only(one.scheme)]


def look(storage: Storage, *, undated: bool = False) -> Report:
    """Compare, and change nothing. ``undated``: bytes whose age the storage does not tell count as old.

    Raises what the storage raises.
    """
    report = Report()
    for _ in _findings(storage, report, undated=undated):
        pass
    return report


def act(storage: Storage, *, undated: bool = False) -> Report:
    """Compare, remove orphans, end unfinished writes and condemn lost copies, so that they are made anew.

    Returns what was done.

    Raises what the storage raises; then what was done until then stays done.
    """
    report, adapter = Report(), adapter_for(storage)
    for finding in _findings(storage, report, undated=undated):
        if finding.kind == Kind.ORPHAN:
            adapter.delete(finding.key)
            log.info("orphan.removed", storage=storage.name, key=finding.key, size=finding.size)
        elif finding.kind == Kind.UNFINISHED:
            adapter.abort_write(finding.token)
            log.info("unfinished.removed", storage=storage.name, key=finding.key, size=finding.size)
        elif finding.replica is not None and sharing.condemn(finding.replica, finding.why, missing=finding.missing):
            replication.settle(finding.replica.object)
        release()
    return report


def side_by_side(
    stats: Iterator[ObjectStat], rows: Iterator[Replica]
) -> Iterator[tuple[ObjectStat | None, Replica | None]]:
    """Both lists in the order of their keys, what has one key together."""
    stat, row = next(stats, None), next(rows, None)
    while stat is not None or row is not None:
        if row is None or (stat is not None and stat.key < row.key):
            yield stat, None
            stat = next(stats, None)
        elif stat is None or row.key < stat.key:
            yield None, row
            row = next(rows, None)
        else:
            yield stat, row
            stat, row = next(stats, None), next(rows, None)


def safe_age() -> timedelta:
    """How old bytes without a row must be: no writer that may still hold them is as old, whatever clock it has."""
    return timedelta(days=1, seconds=max(settings.UPLOAD_LEASE_S, settings.TRANSFER_LEASE_S))


def _findings(storage: Storage, report: Report, *, undated: bool) -> Iterator[Finding]:
    """What differs, counted in the report as it is told."""
    adapter = adapter_for(storage)
    release()
    old = timezone.now() - safe_age()
    rowless: list[ObjectStat] = []
    for stat, row in side_by_side(_stored(adapter, report), _listed(storage, report)):
        if row is None and stat is not None:
            rowless.append(stat)
            if len(rowless) == _PAGE:
                yield from _tell(report, _unknown(rowless, old, undated=undated))
                rowless = []
        elif row is not None and row.state == ReplicaState.AVAILABLE and (stat is None or stat.size != row.size):
            yield from _tell(report, _lost(adapter, row))
    yield from _tell(report, _unknown(rowless, old, undated=undated))
    if not isinstance(adapter, ListsUnfinished):
        report.untold = "storages of this kind do not list unfinished writes"
        return
    try:
        unended = adapter.scan_unfinished(_FOLDER)
        while page := list(islice(unended, _PAGE)):
            yield from _tell(report, _unended(page, old, undated=undated))
    except AccessDenied as exc:  # S3 has a permission of its own for it.
        report.untold = str(exc)


def _tell(report: Report, findings: Iterable[Finding]) -> Iterator[Finding]:
    for finding in findings:
        report.found[finding.kind].add(finding.key, finding.size, finding.modified)
        yield finding


def _stored(adapter: Adapter, report: Report) -> Iterator[ObjectStat]:
    for stat in adapter.scan(_FOLDER):
        if isinstance(stat, ObjectStat):
            report.stored.add(stat.key, stat.size)
            yield stat


def _listed(storage: Storage, report: Report) -> Iterator[Replica]:
    """The rows of the managed copies by key, a page at a time: one of each place, AVAILABLE where any of it is."""
    rows = Replica.objects.filter(storage=storage, key__lt=behind(_FOLDER))
    good = ExpressionWrapper(Q(state=ReplicaState.AVAILABLE), output_field=BooleanField())
    rows = rows.order_by("key", good.desc(), "pk")
    after = _FOLDER
    while page := list(rows.filter(key__gt=after).select_related("storage", "object__bucket__storage")[:_PAGE]):
        release()
        for row in page:
            if row.key != after:
                after = row.key
                report.listed.add(row.key, row.size)
                yield row


def _unknown(stats: list[ObjectStat], old: datetime, *, undated: bool) -> list[Finding]:
    """Of bytes that were just seen those that nobody has a row for."""
    known = _known([stat.key for stat in stats])
    return [
        Finding(_kind(stat.key, stat.modified, old, undated), stat.key, stat.size, modified=stat.modified)
        for stat in stats
        if stat.key not in known
    ]


def _unended(writes: list[Unfinished], old: datetime, *, undated: bool) -> list[Finding]:
    """Of unfinished writes those of keys that nobody has a row for: who writes has one, from before it begins."""
    known, found = _known([write.key for write in writes]), []
    for write in writes:
        if write.key not in known:
            kind = _kind(write.key, write.modified, old, undated)
            kind = Kind.UNFINISHED if kind == Kind.ORPHAN else kind
            found.append(Finding(kind, write.key, write.size, modified=write.modified, token=write.token))
    return found


def _known(keys: list[str]) -> set[str]:
    """Those that somebody has a row for, on whichever storage."""
    # In this order: an upload that becomes a replica in between is found as the one or the other.
    known = set(Upload.objects.filter(key__in=keys).values_list("key", flat=True))
    places = Storage.objects.values("pk")
    known |= set(Replica.objects.filter(storage__in=places, key__in=keys).values_list("key", flat=True))
    known |= set(CachedBlock.objects.filter(storage__in=places, key__in=keys).values_list("key", flat=True))
    release()
    return known


def _kind(key: str, modified: datetime | None, old: datetime, undated: bool) -> Kind:
    if not _OURS.fullmatch(key):
        return Kind.FOREIGN
    if modified is None:
        return Kind.ORPHAN if undated else Kind.UNDATED
    return Kind.ORPHAN if modified < old else Kind.YOUNG


def _lost(adapter: Adapter, row: Replica) -> list[Finding]:
    """The copy, if the storage says once more that it is not there as it should be, and it is still wanted."""
    why, missing = "it is not there", True
    with suppress(NotFound):
        size = adapter.stat(row.key).size
        if size == row.size:
            return []
        why, missing = f"it has {size} bytes instead of {row.size}", False
    wanted = Replica.objects.filter(pk=row.pk, state=ReplicaState.AVAILABLE).exists()
    release()
    return [Finding(Kind.LOST, row.key, row.size, why, missing, row)] if wanted else []
