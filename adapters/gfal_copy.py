"""A copy that one GridFTP server makes by itself, as far as the partial from which it is published."""

from __future__ import annotations

from collections.abc import Callable

from adapters.base import ObjectStat
from adapters.errors import ChecksumMismatch, SizeMismatch, VersionChanged
from adapters.gfal_client import GfalProcess
from adapters.gfal_tree import object_stat
from adapters.gfal_write import server_checksum


def copy_to_partial(
    process: GfalProcess, source: str, before: ObjectStat, partial: str, *, grown: Callable[[], int]
) -> None:
    """Copy the version of ``source`` that ``before`` describes, and compare size and checksum.

    ``grown`` tells how many bytes of the copy are there: while they become more, the server is not taken to stall.
    """
    endpoint = process.endpoint
    seen = 0

    def goes_on() -> bool:
        nonlocal seen
        last, seen = seen, grown()
        return seen > last

    process.ask("copy", source=endpoint.url(source), target=endpoint.url(partial), goes_on=goes_on)
    after, copied = process.look(endpoint.url(source)), process.look(endpoint.url(partial))
    if object_stat(source, after).version != before.version:
        raise VersionChanged("it was changed as it was copied", storage=endpoint.storage, key=source)
    if copied.size != before.size:
        detail = f"{copied.size} of {before.size} bytes were copied"
        raise SizeMismatch(detail, storage=endpoint.storage, key=source)
    if endpoint.checksum:
        ours, theirs = (server_checksum(process, key, before.size) for key in (source, partial))
        if ours != theirs:
            detail = f"{endpoint.checksum}: the source has {ours}, the copy {theirs}"
            raise ChecksumMismatch(detail, storage=endpoint.storage, key=source)
