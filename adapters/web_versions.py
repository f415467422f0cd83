"""What HTTP says of one version of an object: entity tags, times, digests and ranges, as plain values."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from adapters.base import Checksum, ObjectStat

#: A server that makes its tags from a file's time may give two changes within one second the same tag, and calls it
#: strong. A change this long ago has a tag that no later one can have (after RFC 9110, section 8.8.2.2).
SETTLED_AFTER = timedelta(seconds=60)

_TAG = re.compile(r'(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)"')
_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d{1,19})-(?P<last>\d{1,19})/(?P<size>\d{1,19})", re.ASCII)
_UNSATISFIED = re.compile(r"bytes \*/(?P<size>\d{1,19})", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{8,128}")

#: The names of digests in RFC 9530, RFC 3230 and ownCloud's headers, the best first, and RFC 9530's name for each.
_ALGORITHMS = {
    "sha-512": "sha-512",
    "sha-256": "sha-256",
    "sha256": "sha-256",
    "sha": "sha",
    "sha1": "sha",
    "md5": "md5",
}
_LENGTHS = {"sha-512": 64, "sha-256": 32, "sha": 20, "md5": 16}


@dataclass(frozen=True, slots=True)
class Told:
    """What a server told of an object; ``asked_at`` is the server's own time of telling."""

    size: int
    etag: str = ""
    modified: datetime | None = None
    asked_at: datetime | None = None
    checksum: Checksum | None = None

    @property
    def version(self) -> str:
        """By the entity tag, whether it is weak or strong; without one, by time and size."""
        match = _TAG.fullmatch(self.etag)
        return f"e:{match['opaque']}" if match else self.dated_version

    @property
    def dated_version(self) -> str:
        """By time and size alone, as a server has it that tells no entity tag where it lists."""
        seconds = "" if self.modified is None else f"{int(self.modified.timestamp()):x}"
        return f"m:{seconds}-{self.size:x}"

    @property
    def is_strong(self) -> bool:
        match = _TAG.fullmatch(self.etag)
        if match is None or match["weak"]:
            return False
        if self.modified is None:
            return True
        return self.asked_at is not None and self.asked_at - self.modified >= SETTLED_AFTER

    def is_of(self, version: str) -> bool:
        """Whether this is the version, whichever way it was told."""
        return version in (self.version, self.dated_version)

    def is_same(self, other: Told) -> bool:
        """Whether both are of one version, as far as both tell."""
        if self.etag and other.etag:
            return self.version == other.version
        return self.dated_version == other.dated_version

    def stat(self, key: str, *, asked_for: str | None = None) -> ObjectStat:
        """Under the version that was asked for, where it was told in another way, which is a weak one then."""
        modified = None if self.modified is None else self.modified.astimezone(UTC)
        version = asked_for or self.version
        is_strong = self.is_strong and version == self.version
        return ObjectStat(key, self.size, modified, version, is_strong, self.checksum)


def sent_range(header: str) -> tuple[int, int, int] | None:
    """``start``, ``stop`` and the whole size in a Content-Range; None where it says nothing of that sort."""
    match = _CONTENT_RANGE.fullmatch(header)
    if match is None:
        return None
    start, stop, size = int(match["first"]), int(match["last"]) + 1, int(match["size"])
    return (start, stop, size) if start < stop <= size else None


def unsatisfied_size(header: str) -> int | None:
    """The whole size in the Content-Range of a 416."""
    match = _UNSATISFIED.fullmatch(header)
    return int(match["size"]) if match else None


def checksum(repr_digest: str, digest: str, oc_checksum: str) -> Checksum | None:
    """The best digest in the headers Repr-Digest (RFC 9530), Digest (RFC 3230) and OC-Checksum; None without any."""
    found: dict[str, str] = {}
    for member in repr_digest.split(","):
        name, _, value = member.strip().partition("=")
        _note(found, name, _from_base64(value[1:-1]) if len(value) > 2 and value[0] == value[-1] == ":" else "")
    for member in digest.split(","):
        name, _, value = member.strip().partition("=")
        _note(found, name, _from_base64(value))
    for member in oc_checksum.split():
        name, _, value = member.partition(":")
        _note(found, name, value if _HEX.fullmatch(value) else "")
    best = next((name for name in _LENGTHS if name in found), None)
    return Checksum(best, found[best]) if best else None


def _note(found: dict[str, str], name: str, hexadecimal: str) -> None:
    algorithm = _ALGORITHMS.get(name.lower(), "")
    if algorithm and len(hexadecimal) == 2 * _LENGTHS[algorithm]:
        found.setdefault(algorithm, hexadecimal.lower())


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError):
        return ""
