"""Manifests: what an archive holds, as JSON, without its bytes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from staging.archives import Archive
from staging.connections import release


def members(archive: Archive) -> Iterator[dict[str, str | int | None]]:
    """One entry a member, in the archive's order: ``path``, ``size``, ``sha256``, ``modified``, ``content_type``.

    ``path`` is relative to the prefix; ``sha256`` is None where Waybill does not know it. A thousand members are in
    memory. Raises VersionChanged where they are not what the archive was made of any more.
    """
    for segment in archive.index.segments:
        found = archive.members.again(segment)
        release()
        for member in found:
            yield {
                "path": member.name,
                "size": member.size,
                "sha256": member.identity if archive.members.has_digests else None,
                "modified": f"{datetime.fromtimestamp(member.mtime, UTC):%Y-%m-%dT%H:%M:%SZ}",
                "content_type": member.content_type,
            }


def document(archive: Archive, *, bucket: str) -> Iterator[bytes]:
    """The whole manifest as one JSON document in pieces; ``size`` is the sum of the members' sizes.

    Where it breaks off with VersionChanged, what came before is no valid JSON.
    """
    head = {
        "bucket": bucket,
        "prefix": archive.prefix,
        "count": archive.count,
        "size": archive.index.content_bytes,
        "archive_size": archive.size,
        "etag": archive.etag,
    }
    separator = json.dumps(head)[:-1] + ', "members": [\n'
    lines: list[str] = []
    for member in members(archive):
        lines.append(separator + json.dumps(member, ensure_ascii=False))
        separator = ",\n"
        if len(lines) == 1000:
            yield "".join(lines).encode()
            lines.clear()
    yield ("".join(lines) + "\n]}\n").encode()
