"""Ranges of RFC 9110 section 14, the only place that knows HTTP's inclusive ends. Pure functions."""

import re
from dataclasses import dataclass

from gateway.refusals import RangeUnsatisfiable

# No object needs more than 19 digits, and Python refuses to read numbers of some thousands.
_RANGE = re.compile(r"bytes=\s*(?:(?P<first>\d{1,19})-(?P<last>\d{0,19})|-(?P<suffix>\d{1,19}))\s*", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d{1,19})-(?P<last>\d{1,19})/(?P<total>\d{1,19}|\*)")
_CURL = re.compile(r"curl/(\d{1,4})\.(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open part ``[start, stop)`` of an object."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """The header of a 206."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def wanted(header: str | None, size: int) -> Span | None:
    """The single range that a Range header asks for; None means the whole object.

    Headers that are malformed, of another unit, or with several ranges are ignored, as the RFC allows. Raises
    RangeUnsatisfiable for a range past the end.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None:
        return None
    if match["suffix"] is not None:
        length = int(match["suffix"])
        if length == 0 or size == 0:
            raise RangeUnsatisfiable(size)
        return Span(max(0, size - length), size)
    first = int(match["first"])
    if match["last"] and int(match["last"]) < first:
        return None
    if first >= size:
        raise RangeUnsatisfiable(size)
    return Span(first, min(int(match["last"]) + 1, size) if match["last"] else size)


def begins_inside(header: str | None) -> bool:
    """Whether a Range header asks for a part that does not begin with the first byte."""
    match = _RANGE.fullmatch(header or "")
    return match is not None and (match["suffix"] is not None or int(match["first"]) > 0)


def begins_at_end(header: str | None, size: int) -> bool:
    """Whether a Range header asks for what follows the last byte, as ``curl -C -`` does of a file that is complete."""
    match = _RANGE.fullmatch(header or "")
    return match is not None and match["suffix"] is None and int(match["first"]) == size


def sent(content_range: str, size: int | None) -> Span | None:
    """The part of a file that the Content-Range of a PUT of ``size`` bytes announces, up to the file's end.

    None where it is malformed, does not fit the body, or stops before the end: curl's ``-C`` always sends the rest.
    """
    match = _CONTENT_RANGE.fullmatch(content_range.strip())
    if match is None or match["total"] == "*":
        return None
    span = Span(int(match["first"]), int(match["last"]) + 1)
    return span if span.stop == int(match["total"]) and span.stop - span.start == size else None


def tells_size_on_416(user_agent: str) -> bool:
    """Whether a 416 may carry Content-Range: curl before 8.5 fails on it when ``-C -`` meets a complete file."""
    match = _CURL.match(user_agent)
    return match is None or (int(match[1]), int(match[2])) >= (8, 5)
