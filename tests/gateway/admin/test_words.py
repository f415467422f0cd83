"""Sizes, times and labels as people read and write them."""

from datetime import UTC, datetime, timedelta

import pytest
from django import forms
from django.utils import timezone

from gateway.admin import words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1024 KiB"),
        (200 * 1024**2, "200 MiB"),
        (5 * 1024**4, "5.0 TiB"),
        (2**63 - 1, "8.0 EiB"),
        (None, words.NOTHING),
    ],
)
def test_a_size_is_told_in_the_unit_that_fits(count: int | None, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", None),
        ("0", 0),
        ("1048576", 1048576),
        ("12 B", 12),
        ("500 MB", 500_000_000),
        ("10 GiB", 10 * 2**30),
        ("1.5gib", 3 * 2**29),
        ("2k", 2000),
    ],
)
def test_a_size_is_written_in_any_unit(text: str, count: int | None) -> None:
    assert words.SizeField().clean(text) == count


@pytest.mark.parametrize("text", ["-1", "1.5", "ten", "1 XB", "1e9", "10 GiB more", "9 EiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(forms.ValidationError):
        words.SizeField().clean(text)


@pytest.mark.parametrize("count", [0, 1, 1000, 1024, 3 * 2**29, 10 * 2**30, 12345678901])
def test_a_size_that_is_shown_in_a_form_is_the_size_that_comes_back(count: int) -> None:
    field = words.SizeField()
    assert field.clean(str(field.prepare_value(count))) == count


@pytest.mark.parametrize(
    ("text", "seconds"), [("", None), ("90", 90), ("90 s", 90), ("5min", 300), ("36 H", 129_600), ("7 d", 604_800)]
)
def test_a_time_is_written_in_any_unit_and_comes_back(text: str, seconds: int | None) -> None:
    field = words.DurationField()
    assert field.clean(text) == seconds
    assert field.clean(field.prepare_value(seconds)) == seconds


@pytest.mark.parametrize("text", ["-1", "1.5 h", "soon", "5 m", "1 d 2 h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(forms.ValidationError):
        words.DurationField().clean(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (188, "3 min 8 s"), (7503, "2 h 5 min"), (86400, "1 d")]
)
def test_how_long_it_takes_is_told_in_two_units(seconds: int, text: str) -> None:
    assert words.about(seconds) == text


def test_times_are_told_from_now_on() -> None:
    now = timezone.now()
    assert "3 hours ago" in words.ago(now - timedelta(hours=3, minutes=2)).replace("\xa0", " ")
    assert "in 6" in words.ago(now + timedelta(days=6, hours=23, minutes=59)).replace("\xa0", " ")
    assert "just now" in words.ago(now)
    assert words.ago(None) == "never"
    assert words.moment(datetime(2026, 11, 21, 3, 31, 5, tzinfo=UTC)) == "2026-11-21 03:31:05 UTC"


def test_labels_are_written_one_a_line() -> None:
    field = words.LabelsField()
    assert field.clean(" run = 7 \n\nworkflow=a=b") == {"run": "7", "workflow": "a=b"}
    with pytest.raises(forms.ValidationError, match="name=value"):
        field.clean("run")


def test_what_people_write_is_never_markup() -> None:
    assert "<script>" not in words.code("<script>")
    assert "<script>" not in words.facts({"<script>": "<script>"})
    assert "<script>" not in words.badge("<script>")
