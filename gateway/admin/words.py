"""Sizes, times and states as people read them, and the form fields in which they write them."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from unfold.widgets import UnfoldAdminExpandableTextareaWidget, UnfoldAdminTextInputWidget

#: Stands where there is nothing to show.
NOTHING = "—"

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SIZE = re.compile(r"(?P<number>\d{1,19}(?:\.\d{1,9})?)\s*(?P<unit>[KMGTPE]?)(?P<binary>i?)B?", re.IGNORECASE)

_TIMES = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?P<number>\d{1,12})\s*(?P<unit>s|min|h|d|)", re.IGNORECASE)

#: As much as a column of the database holds.
_MOST = 2**63 - 1

#: The colours of all states; one word means the same everywhere.
_COLOURS = {
    "active": "success",
    "available": "success",
    "live": "success",
    "done": "success",
    "complete": "success",
    "persisted": "success",
    "replicated": "success",
    "running": "info",
    "queued": "info",
    "pending": "info",
    "copying": "info",
    "local": "info",
    "read": "info",
    "write": "primary",
    "cordoned": "warning",
    "draining": "warning",
    "drained": "warning",
    "suspect": "warning",
    "unavailable": "warning",
    "ephemeral": "warning",
    "lost": "danger",
    "bad": "danger",
    "failed": "danger",
    "failing": "danger",
    "revoked": "danger",
}


def size(count: int | None) -> str:
    """``1.5 GiB``; a dash for None."""
    if count is None:
        return NOTHING
    value, power = float(count), 0
    while value >= 1024 and power < len(_UNITS) - 1:
        value, power = value / 1024, power + 1
    return f"{value:.0f} {_UNITS[power]}" if power == 0 or value >= 100 else f"{value:.1f} {_UNITS[power]}"


def exact_size(count: int | None) -> str:
    """``1.5 GiB (1,610,612,736 bytes)``."""
    return size(count) if count is None or count < 1024 else f"{size(count)} ({count:,} bytes)"


def duration(seconds: int) -> str:
    """``5 min``, ``90 s``: exactly, in the largest unit that fits."""
    unit = next(unit for unit in reversed(_TIMES) if unit == "s" or (seconds and seconds % _TIMES[unit] == 0))
    return f"{seconds // _TIMES[unit]} {unit}"


def about(seconds: int) -> str:
    """``2 h 5 min``: to the two largest units that count."""
    parts, rest = [], seconds
    for unit, length in reversed(_TIMES.items()):
        if rest >= length or (unit == "s" and not parts):
            parts.append(f"{rest // length} {unit}")
            rest %= length
    return " ".join(parts[:2])


def ago(when: datetime | None) -> SafeString | str:
    """``3 hours ago`` or ``in 6 days``, with the exact time on pointing; ``never`` for None."""
    if when is None:
        return "never"
    now = timezone.now()
    words = f"in {timeuntil(when, now)}" if when > now else f"{timesince(when, now, depth=1)} ago"
    words = "just now" if words.startswith("0") else words
    return format_html(
        '<time datetime="{0}" title="{1}" class="wb-nowrap">{2}</time>', when.isoformat(), moment(when), words
    )


def moment(when: datetime | None) -> str:
    """``2026-11-21 03:31:05 UTC``; a dash for None."""
    return NOTHING if when is None else f"{when:%Y-%m-%d %H:%M:%S} UTC"


def badge(text: str, colour: str | None = None) -> SafeString:
    """A state as a coloured label."""
    kind = colour or _COLOURS.get(text, "default")
    return SafeString(render_to_string("unfold/helpers/label.html", {"text": text, "type": kind}).strip())


def ended(text: str) -> SafeString:
    """The label of a state that nothing leads out of; a list offers no actions in its row."""
    return format_html('<span class="wb-ended">{}</span>', badge(text))


def code(text: str) -> SafeString | str:
    """A key, digest or id, which may break anywhere rather than run out of its box."""
    return format_html('<code class="wb-code">{}</code>', text) if text else NOTHING


def table(rows: Iterable[tuple[Any, Any]]) -> SafeString | str:
    """Names and values below each other; a dash where there are none."""
    lines = format_html_join("", "<dt>{}</dt><dd>{}</dd>", rows)
    return format_html('<dl class="wb-facts">{}</dl>', lines) if lines else NOTHING


def facts(values: Mapping[str, Any]) -> SafeString | str:
    """A JSON object as a table."""
    return table((name, NOTHING if value in ("", None) else str(value)) for name, value in values.items())


class NameField(forms.CharField):
    """What a storage, bucket or credential is to be called; the domain has the last word on it."""

    def __init__(self) -> None:
        rule = "Short and lasting: lower-case letters, digits, '.', '_' and '-'."
        super().__init__(max_length=63, widget=UnfoldAdminTextInputWidget(), help_text=rule)


class SizeField(forms.CharField):
    """A number of bytes, written as ``500 MB``, ``10 GiB`` or ``1048576``; None where it is empty."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"placeholder": "10 GiB"}))
        super().__init__(required=False, **options)

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, int):
            return value
        words = size(value)
        return words if self.clean(words) == value else str(value)

    def clean(self, value: str) -> int | None:
        text = (value or "").strip()
        if not text:
            return None
        match = _SIZE.fullmatch(text)
        if match is None:
            raise forms.ValidationError("Write a size like 500 MB, 10 GiB or a number of bytes.")
        power = "BKMGTPE".index(match["unit"].upper() or "B")
        count = Decimal(match["number"]) * (1024 if match["binary"] else 1000) ** power
        if count > _MOST or (power == 0 and count % 1):
            raise forms.ValidationError("Write a whole number of bytes, and fewer than 8 EiB.")
        return int(count)


class DurationField(forms.CharField):
    """A whole number of seconds, written as ``90 s``, ``5 min``, ``8 h`` or ``7 d``; None where it is empty."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"placeholder": "7 d"}))
        super().__init__(required=False, **options)

    def prepare_value(self, value: Any) -> Any:
        return duration(value) if isinstance(value, int) else value

    def clean(self, value: str) -> int | None:
        text = (value or "").strip()
        if not text:
            return None
        match = _DURATION.fullmatch(text)
        if match is None:
            raise forms.ValidationError("Write a time like 90 s, 5 min, 8 h or 7 d.")
        return int(match["number"]) * _TIMES[match["unit"].lower() or "s"]


class LabelsField(forms.CharField):
    """Names and values, one ``name=value`` a line."""

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminExpandableTextareaWidget(attrs={"placeholder": "workflow=align-42"})
        super().__init__(required=False, widget=widget, **options)

    def clean(self, value: str) -> dict[str, str]:
        labels = {}
        for line in filter(None, map(str.strip, (value or "").splitlines())):
            name, equals, text = (part.strip() for part in line.partition("="))
            if not (name and equals):
                raise forms.ValidationError(f"'{line}' is not of the form name=value.")
            labels[name] = text
        return labels
