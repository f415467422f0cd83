"""Judges a history of uploads and downloads at once against the order of versions in the catalog. Pure functions.

A key is a register: a version is written whole or not at all, and whoever begins later never sees older. Each upload
has a body of its own, so that a digest tells which one it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Upload:
    """One body on its way to a key; ``ended`` is when a 2xx was received, None where none ever was.

    A wrapper may repeat an upload whose answer was lost, so that it becomes a version again, after another one.
    """

    key: str
    digest: str
    began: float
    ended: float | None = None

    @property
    def acknowledged(self) -> float:
        return inf if self.ended is None else self.ended


@dataclass(frozen=True)
class Download:
    """What one reader got between two moments; None where it was told that nothing is there yet."""

    key: str
    digest: str | None
    began: float
    ended: float


def violations(
    uploads: Sequence[Upload], downloads: Sequence[Download], versions: Mapping[str, Sequence[str]]
) -> list[str]:
    """What cannot have happened, in words; ``versions`` are the digests of each key's versions, the oldest first."""
    found = []
    for key in sorted({*versions, *(op.key for op in uploads), *(op.key for op in downloads)}):
        written = {upload.digest: upload for upload in uploads if upload.key == key}
        read = sorted((read for read in downloads if read.key == key), key=lambda read: read.ended)
        found += [f"{key}: {why}" for why in _of_key(written, read, list(versions.get(key, ())))]
    return found


def _of_key(written: Mapping[str, Upload], read: Sequence[Download], order: list[str]) -> Iterator[str]:
    yield from (f"version {digest} is no body that was uploaded" for digest in order if digest not in written)
    committed = [upload for upload in written.values() if upload.digest in order]
    for upload in written.values():
        if upload.ended is not None and upload.digest not in order:
            yield f"the acknowledged upload {upload.digest} is lost"
    for first in committed:
        for second in committed:
            # An upload that was repeated is there twice; its first time may be early, its last one late.
            if first.acknowledged < second.began and order.index(first.digest) > _last(order, second.digest):
                yield f"{second.digest} began after {first.digest} was acknowledged and is older"
    for download in read:
        yield from _of_read(download, written, read, order)


def _of_read(
    download: Download, written: Mapping[str, Upload], read: Sequence[Download], order: list[str]
) -> Iterator[str]:
    known = [order.index(u.digest) for u in written.values() if u.acknowledged < download.began and u.digest in order]
    seen = [
        order.index(before.digest)
        for before in read
        if before.ended < download.began and before.digest is not None and before.digest in order
    ]
    newest = max([*known, *seen], default=-1)
    if download.digest is None:
        if newest >= 0:
            yield f"nothing was read at {download.began:.3f} although {order[newest]} was there"
    elif download.digest not in written:
        yield f"what was read at {download.began:.3f} is no body that was uploaded: {download.digest}"
    elif download.digest not in order:
        yield f"{download.digest} was read and is no version"
    elif written[download.digest].began > download.ended:
        yield f"{download.digest} was read before its upload began"
    elif _last(order, download.digest) < newest:
        yield f"{download.digest} was read at {download.began:.3f} although {order[newest]} had taken its place"


def _last(order: list[str], digest: str) -> int:
    return len(order) - 1 - order[::-1].index(digest)
