"""What HTTP says of a version: tags, times, digests and ranges, as tables of cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.web_client import http_time
from adapters.web_versions import Told, checksum, sent_range, unsatisfied_size

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
OLD = NOW - timedelta(minutes=2)


@pytest.mark.parametrize(
    ("told", "version", "is_strong"),
    [
        (Told(5, '"a-b"', OLD, NOW), "e:a-b", True),
        (Told(5, 'W/"a-b"', OLD, NOW), "e:a-b", False),
        (Told(5, '"a-b"', NOW - timedelta(seconds=59), NOW), "e:a-b", False),
        (Told(5, '"a-b"', OLD, None), "e:a-b", False),
        (Told(5, '"a-b"', None, None), "e:a-b", True),
        (Told(5, '""', None, NOW), "e:", True),
        (Told(5, "a-b", OLD, NOW), "m:6a27f1a8-5", False),
        (Told(5, "", OLD, NOW), "m:6a27f1a8-5", False),
        (Told(5, "", None, NOW), "m:-5", False),
    ],
)
def test_version_is_the_tag_or_time_and_size(told: Told, version: str, is_strong: bool) -> None:
    if version.startswith("m:6"):
        version = f"m:{int(OLD.timestamp()):x}-5"
    assert (told.version, told.is_strong) == (version, is_strong)
    assert told.is_of(version)
    assert told.is_of(told.dated_version)
    assert not told.is_of("e:other")
    assert told.stat("k", asked_for="m:1-5").version == "m:1-5"
    assert not told.stat("k", asked_for="m:1-5").version_is_strong


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes 0-9/10", (0, 10, 10)),
        ("bytes 5-5/10", (5, 6, 10)),
        ("bytes 0-10/10", None),
        ("bytes 5-4/10", None),
        ("bytes 0-9/*", None),
        ("bytes */10", None),
        ("items 0-9/10", None),
        ("bytes 0-9/10 ", None),
        ("bytes 0-9/" + "1" * 40, None),
        ("", None),
    ],
)
def test_content_range_is_understood_or_nothing(header: str, found: tuple[int, int, int] | None) -> None:
    assert sent_range(header) == found


def test_size_of_what_cannot_be_satisfied() -> None:
    assert (unsatisfied_size("bytes */10"), unsatisfied_size("bytes 0-9/10"), unsatisfied_size("")) == (10, None, None)


@pytest.mark.parametrize(
    ("repr_digest", "digest", "oc", "found"),
    [
        ("sha-256=:" + "A" * 43 + "=:", "", "", ("sha-256", "00" * 32)),
        ("md5=:" + "A" * 22 + "==:, sha-256=:" + "A" * 43 + "=:", "", "", ("sha-256", "00" * 32)),
        ("", "SHA-256=" + "A" * 43 + "=", "", ("sha-256", "00" * 32)),
        ("", "md5=" + "A" * 22 + "==", "", ("md5", "00" * 16)),
        ("", "", "SHA1:" + "Ab" * 20, ("sha", "ab" * 20)),
        ("", "", "SHA1:" + "ab" * 20 + " MD5:" + "cd" * 16 + " ADLER32:12345678", ("sha", "ab" * 20)),
        ("sha-256=:short:", "sha-256=!!!!", "SHA1:xyz", None),
        ("unixsum=:AAAA:", "crc32c=AAAA", "ADLER32:12345678", None),
        ("sha-256", "=", ":", None),
        ("", "", "", None),
    ],
)
def test_best_digest_is_taken(repr_digest: str, digest: str, oc: str, found: tuple[str, str] | None) -> None:
    best = checksum(repr_digest, digest, oc)
    assert (best and (best.algorithm, best.hex)) == found


@pytest.mark.parametrize("text", ["", "yesterday", "Thu, 99 Nov 2026 09:31:37 GMT", "2026-11-26T09:31:37Z", "0" * 100])
def test_what_is_no_time_is_none(text: str) -> None:
    assert http_time(text) is None
    assert http_time("Thu, 26 Nov 2026 09:31:37 GMT") == datetime(2026, 11, 26, 9, 31, 37, tzinfo=UTC)
