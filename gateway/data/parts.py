"""Parts of an upload: what Content-Range and the headers of the IETF's resumable uploads announce. Pure functions.

The draft is draft-ietf-httpbis-resumable-upload: ``Upload-Complete`` and ``Upload-Length`` begin an upload, PATCH with
``Upload-Offset`` appends to it, HEAD asks how far it came.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.data import ranges
from gateway.refusals import UnsupportedBody
from staging.errors import InvalidRequest

#: The media type of a PATCH that appends.
APPEND_TYPE = "application/partial-upload"
_NUMBER = re.compile(r"\d{1,19}")
_BOOLEANS = {"?0": False, "?1": True}


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes from ``start`` on of a whole of ``total`` bytes (None: unknown). ``drafted``: in the draft's words."""

    start: int = 0
    total: int | None = None
    is_last: bool = True
    drafted: bool = False


def announced(method: str, headers: Mapping[str, str], size: int | None) -> Part | None:
    """What the body of ``size`` bytes is a part of; None for a Content-Range that cannot be gone on from.

    Raises InvalidRequest for a malformed or contradicting header, and UnsupportedBody for a PATCH that is none.
    """
    complete = _boolean(headers, "Upload-Complete")
    start, length = _number(headers, "Upload-Offset"), _number(headers, "Upload-Length")
    if method == "PATCH":
        if headers.get("Content-Type", "").partition(";")[0].strip().lower() != APPEND_TYPE:
            raise UnsupportedBody(f"A PATCH appends bytes: its Content-Type is {APPEND_TYPE}.")
        if start is None or complete is None:
            raise InvalidRequest("A PATCH needs Upload-Offset and Upload-Complete.")
    elif start and complete is None:
        raise InvalidRequest("Upload-Offset belongs to PATCH; a PUT says Content-Range.")
    if complete is not None:
        return _drafted(start or 0, length, size, is_last=complete)
    content_range = headers.get("Content-Range")
    if content_range is None:
        return Part()
    span = ranges.sent(content_range, size)
    return Part(span.start, span.stop) if span else None


def limits(most_bytes: int, kept_s: int) -> str:
    """The Upload-Limit header: the largest whole in bytes, and how long what came of one is kept."""
    return f"max-size={most_bytes}, max-age={kept_s}"


def _drafted(start: int, length: int | None, size: int | None, *, is_last: bool) -> Part:
    stop = None if size is None else start + size
    if length is not None and stop is not None and (stop > length or (is_last and stop != length)):
        raise InvalidRequest(f"Upload-Length is {length}, but this body ends at {stop}.")
    if is_last and length is None:
        length = stop
    return Part(start, length, is_last, drafted=True)


def _boolean(headers: Mapping[str, str], name: str) -> bool | None:
    value = headers.get(name)
    if value is None:
        return None
    if value.strip() not in _BOOLEANS:
        raise InvalidRequest(f"{name} is ?1 or ?0.")
    return _BOOLEANS[value.strip()]


def _number(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name)
    if value is None:
        return None
    if not _NUMBER.fullmatch(value.strip()):
        raise InvalidRequest(f"{name} is not a whole number.")
    return int(value)
