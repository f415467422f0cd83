"""Conditional requests of RFC 9110 section 13. Pure functions."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum

#: What makes a request a conditional one.
HEADERS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range")
_TAG = re.compile(r'\s*(W/)?"([^"]*)"\s*(?:,|$)')


class Verdict(Enum):
    """What the conditions say: go on, 304, or 412."""

    PROCEED = 0
    NOT_MODIFIED = 304
    FAILED = 412


@dataclass(frozen=True, slots=True)
class Validators:
    """What identifies the current version; ``modified`` is aware UTC."""

    etag: str
    strong: bool
    modified: datetime | None

    def header(self) -> str:
        """The ETag header."""
        return f'"{self.etag}"' if self.strong else f'W/"{self.etag}"'

    def last_modified(self) -> str | None:
        """The Last-Modified header."""
        return format_datetime(self.modified.astimezone(UTC), usegmt=True) if self.modified else None


def evaluate(
    current: Validators,
    *,
    if_match: str | None = None,
    if_unmodified_since: str | None = None,
    if_none_match: str | None = None,
    if_modified_since: str | None = None,
) -> Verdict:
    """In the order of section 13.2.2, for GET and HEAD."""
    if if_match is not None:
        if not _listed(if_match, current, weakly=False):
            return Verdict.FAILED
    elif _is_not_after(current, if_unmodified_since) is False:
        return Verdict.FAILED
    if if_none_match is not None:
        return Verdict.NOT_MODIFIED if _listed(if_none_match, current, weakly=True) else Verdict.PROCEED
    return Verdict.NOT_MODIFIED if _is_not_after(current, if_modified_since) else Verdict.PROCEED


def range_applies(if_range: str | None, current: Validators) -> bool:
    """Whether a Range is honoured: without If-Range always, else only for exactly this version (section 13.1.5).

    A date never names one: of two versions within a second both have it, and others may set a mounted file's.
    """
    if if_range is None:
        return True
    tag = _TAG.fullmatch(if_range)
    return tag is not None and current.strong and not tag[1] and tag[2] == current.etag


def _listed(header: str, current: Validators, *, weakly: bool) -> bool:
    if header.strip() == "*":
        return True
    tags = _TAG.findall(header)
    return any(tag == current.etag and (weakly or (current.strong and not weak)) for weak, tag in tags)


def _is_not_after(current: Validators, header: str | None) -> bool | None:
    """Whether the version is no younger than the date, to HTTP's whole seconds; None where either is not known."""
    date = _date(header)
    return current.modified.replace(microsecond=0) <= date if date and current.modified else None


def _date(header: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(header) if header else None
    except (ValueError, OverflowError):
        return None
    return parsed.replace(tzinfo=UTC) if parsed and parsed.tzinfo is None else parsed
