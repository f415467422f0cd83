"""Digest headers: what a client promises of its body, and what Waybill says of an object (RFC 9530, 3230, 1864)."""

import base64
import hashlib
import re
from collections.abc import Mapping

from staging.errors import InvalidRequest

#: The names of RFC 9530's registry and of RFC 3230's, as hashlib spells them. Unknown ones are ignored, as both demand.
_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512", "sha": "sha1", "md5": "md5"}
_STRUCTURED = re.compile(r"\s*([a-z0-9*._-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?(?:,|$)", re.IGNORECASE)
_PLAIN = re.compile(r"\s*([A-Za-z0-9-]+)=([^,\s]+)\s*(?:,|$)")
_REFUSES = re.compile(r"(?:^|,)\s*sha-256\s*=\s*0\s*(?:,|$)", re.IGNORECASE)
_WANTS = re.compile(r"(?:^|,)\s*sha-256\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[0-9.]+)?\s*(?:,|$)", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]{64}")


def offered(headers: Mapping[str, str], *, is_part: bool = False) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The digests promised, by hashlib's names: of the file, and of the content of this request where it is a part.

    ``Content-Digest`` and ``Content-MD5`` are of a request's content (RFC 9530 section 2), the others of the file.
    Raises InvalidRequest naming the header that is wrong.
    """
    whole: dict[str, bytes] = {}
    part: dict[str, bytes] = {}
    content = part if is_part else whole
    for name, pattern, found in (
        ("Repr-Digest", _STRUCTURED, whole),
        ("Content-Digest", _STRUCTURED, content),
        ("Digest", _PLAIN, whole),
    ):
        for algorithm, value in _pairs(name, pattern, headers.get(name)):
            if algorithm.lower() in _ALGORITHMS:
                _add(found, name, algorithm, _decoded(name, value))
    if md5 := headers.get("Content-MD5"):
        _add(content, "Content-MD5", "md5", _decoded("Content-MD5", md5.strip()))
    if sha256 := headers.get("Waybill-Sha256"):
        if not _HEX.fullmatch(sha256.strip()):
            raise InvalidRequest("Waybill-Sha256 is not 64 hexadecimal digits.")
        _add(whole, "Waybill-Sha256", "sha-256", bytes.fromhex(sha256.strip()))
    return whole, part


def repr_digest(sha256: str) -> str:
    """The Repr-Digest header of an object."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def wanted(headers: Mapping[str, str], sha256: str) -> dict[str, str]:
    """The digest headers of an answer: Repr-Digest unless ``Want-Repr-Digest`` rules SHA-256 out (RFC 9530 section 4),
    and the older Digest where ``Want-Digest`` asks for it (RFC 3230).
    """
    found = {}
    if not _REFUSES.search(headers.get("Want-Repr-Digest", "")):
        found["Repr-Digest"] = repr_digest(sha256)
    if _WANTS.search(headers.get("Want-Digest", "")):
        found["Digest"] = f"SHA-256={base64.b64encode(bytes.fromhex(sha256)).decode()}"
    return found


def _pairs(name: str, pattern: re.Pattern[str], header: str | None) -> list[tuple[str, str]]:
    pairs, position = [], 0
    while header and position < len(header):
        match = pattern.match(header, position)
        if match is None:
            raise InvalidRequest(f"{name} is not well formed.")
        pairs.append((match[1], match[2]))
        position = match.end()
    return pairs


def _decoded(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as exc:
        raise InvalidRequest(f"{name} is not base64.") from exc


def _add(found: dict[str, bytes], header: str, algorithm: str, digest: bytes) -> None:
    name = _ALGORITHMS[algorithm.lower()]
    if len(digest) != hashlib.new(name, usedforsecurity=False).digest_size:
        raise InvalidRequest(f"The {algorithm} in {header} has {len(digest)} bytes.")
    if found.setdefault(name, digest) != digest:
        raise InvalidRequest(f"The digests of the body contradict each other ({algorithm}).")
