"""The pure functions of the data path: ranges, conditions and digests, as tables."""

import base64
import hashlib
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.data import conditions, digests, ranges
from gateway.data.conditions import Validators, Verdict
from gateway.data.ranges import Span
from gateway.refusals import RangeUnsatisfiable
from staging.errors import InvalidRequest

MODIFIED = datetime(2026, 11, 21, 3, 31, 5, 999_999, tzinfo=UTC)
STRONG, WEAK = Validators("tag", True, MODIFIED), Validators("tag", False, MODIFIED)
AT, BEFORE, AFTER = (f"Sat, 21 Nov 2026 03:31:{second} GMT" for second in ("05", "04", "06"))


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        (None, 10, None),
        ("", 10, None),
        ("bytes=0-", 10, Span(0, 10)),
        ("bytes=0-0", 10, Span(0, 1)),
        ("bytes=9-", 10, Span(9, 10)),
        ("bytes=3-4", 10, Span(3, 5)),
        ("bytes= 3-4 ", 10, Span(3, 5)),
        ("BYTES=3-4", 10, Span(3, 5)),
        ("bytes=3-99", 10, Span(3, 10)),
        ("bytes=-3", 10, Span(7, 10)),
        ("bytes=-99", 10, Span(0, 10)),
        ("bytes=4-3", 10, None),
        ("bytes=1-2,4-5", 10, None),
        ("bytes=", 10, None),
        ("bytes=-", 10, None),
        ("bytes=a-", 10, None),
        ("bytes=1.5-", 10, None),
        ("bytes=+1-", 10, None),
        ("items=1-2", 10, None),
        ("bytes=" + "1" * 30 + "-", 10, None),
    ],
)
def test_a_range_header_means_one_span_or_the_whole(header: str | None, size: int, expected: Span | None) -> None:
    assert ranges.wanted(header, size) == expected


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=0-", 0), ("bytes=-0", 10), ("bytes=-5", 0)])
def test_a_range_of_nothing_is_unsatisfiable_and_carries_the_size(header: str, size: int) -> None:
    with pytest.raises(RangeUnsatisfiable) as refused:
        ranges.wanted(header, size)
    assert refused.value.size == size


@given(st.text(), st.integers(0, 2**63))
def test_no_range_header_crashes_or_leaves_the_object(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            span = ranges.wanted(text, size)
        except RangeUnsatisfiable:
            continue
        assert span is None or 0 <= span.start < span.stop <= size


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("bytes=10-", True),
        ("bytes=10-20", True),
        ("bytes=11-", False),
        ("bytes=9-", False),
        ("bytes=-0", False),
        ("", False),
    ],
)
def test_a_range_behind_the_last_byte_is_told_from_one_further_on(header: str, told: bool) -> None:
    assert ranges.begins_at_end(header, 10) is told


def test_a_span_says_where_it_lies_with_inclusive_ends() -> None:
    assert Span(3, 5).content_range(10) == "bytes 3-4/10"


@pytest.mark.parametrize(
    ("header", "size", "span"),
    [
        ("bytes 0-9/10", 10, (0, 10)),
        (" bytes 0-9/10 ", 10, (0, 10)),
        ("bytes 1-9/10", 9, (1, 10)),
        ("bytes 9-9/10", 1, (9, 10)),
        ("bytes 0-9/10", 9, None),
        ("bytes 0-9/10", None, None),
        ("bytes 0-8/10", 9, None),
        ("bytes 0-9/*", 10, None),
        ("bytes */10", 0, None),
        ("bytes=0-9/10", 10, None),
        ("bytes 9-0/10", 0, None),
        ("bytes 0-" + "9" * 30 + "/10", 10, None),
    ],
)
def test_a_content_range_counts_where_it_fits_the_body_and_reaches_the_end(
    header: str, size: int | None, span: tuple[int, int] | None
) -> None:
    assert ranges.sent(header, size) == (ranges.Span(*span) if span else None)


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        *[("", True), ("Wget/1.21", True), ("curl/7.29.0", False), ("curl/8.4.9", False), ("curl/8.5.0", True)],
        *[("curl/8.10.1", True), ("curl/10.0", True), ("libcurl curl/7.1", True), ("curl/x", True)],
    ],
)
def test_only_an_old_curl_is_not_told_the_size_on_416(agent: str, told: bool) -> None:
    assert ranges.tells_size_on_416(agent) is told


@pytest.mark.parametrize(
    ("headers", "strong", "weak"),
    [
        ({}, Verdict.PROCEED, Verdict.PROCEED),
        ({"if_match": '"tag"'}, Verdict.PROCEED, Verdict.FAILED),
        ({"if_match": 'W/"tag"'}, Verdict.FAILED, Verdict.FAILED),
        ({"if_match": '"a", "tag"'}, Verdict.PROCEED, Verdict.FAILED),
        ({"if_match": "*"}, Verdict.PROCEED, Verdict.PROCEED),
        ({"if_match": "tag"}, Verdict.FAILED, Verdict.FAILED),
        ({"if_match": ""}, Verdict.FAILED, Verdict.FAILED),
        ({"if_none_match": '"tag"'}, Verdict.NOT_MODIFIED, Verdict.NOT_MODIFIED),
        ({"if_none_match": 'W/"tag"'}, Verdict.NOT_MODIFIED, Verdict.NOT_MODIFIED),
        ({"if_none_match": "*"}, Verdict.NOT_MODIFIED, Verdict.NOT_MODIFIED),
        ({"if_none_match": '"x"'}, Verdict.PROCEED, Verdict.PROCEED),
        ({"if_none_match": '"x"', "if_modified_since": AFTER}, Verdict.PROCEED, Verdict.PROCEED),
        ({"if_modified_since": AT}, Verdict.NOT_MODIFIED, Verdict.NOT_MODIFIED),
        ({"if_modified_since": AFTER}, Verdict.NOT_MODIFIED, Verdict.NOT_MODIFIED),
        ({"if_modified_since": BEFORE}, Verdict.PROCEED, Verdict.PROCEED),
        ({"if_modified_since": "yesterday"}, Verdict.PROCEED, Verdict.PROCEED),
        ({"if_unmodified_since": AT}, Verdict.PROCEED, Verdict.PROCEED),
        ({"if_unmodified_since": BEFORE}, Verdict.FAILED, Verdict.FAILED),
        ({"if_unmodified_since": "yesterday"}, Verdict.PROCEED, Verdict.PROCEED),
        ({"if_match": "*", "if_unmodified_since": BEFORE}, Verdict.PROCEED, Verdict.PROCEED),
        ({"if_match": '"x"', "if_none_match": '"tag"'}, Verdict.FAILED, Verdict.FAILED),
        ({"if_match": "*", "if_none_match": '"tag"'}, Verdict.NOT_MODIFIED, Verdict.NOT_MODIFIED),
    ],
)
def test_conditions_are_judged_in_the_order_of_the_rfc(headers: dict[str, str], strong: Verdict, weak: Verdict) -> None:
    assert conditions.evaluate(STRONG, **headers) is strong
    assert conditions.evaluate(WEAK, **headers) is weak


@pytest.mark.parametrize(
    ("if_range", "strong", "weak"),
    [
        (None, True, True),
        ('"tag"', True, False),
        ('W/"tag"', False, False),
        ('"x"', False, False),
        (AT, False, False),
        ("*", False, False),
        ("nonsense", False, False),
    ],
)
def test_a_part_is_given_only_of_surely_the_same_version(if_range: str | None, strong: bool, weak: bool) -> None:
    assert conditions.range_applies(if_range, STRONG) is strong
    assert conditions.range_applies(if_range, WEAK) is weak


@given(st.text())
def test_no_condition_crashes(header: str) -> None:
    conditions.evaluate(STRONG, if_match=header, if_none_match=header)
    conditions.evaluate(STRONG, if_modified_since=header, if_unmodified_since=header)
    conditions.range_applies(header, STRONG)


def test_validators_are_written_as_the_rfc_wants_them() -> None:
    assert (STRONG.header(), WEAK.header()) == ('"tag"', 'W/"tag"')
    assert STRONG.last_modified() == AT
    assert Validators("tag", True, None).last_modified() is None


def b64(algorithm: str, data: bytes = b"data") -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


SHA256, MD5 = hashlib.sha256(b"data"), hashlib.md5(b"data")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, {}),
        ({"Repr-Digest": f"sha-256=:{b64('sha256')}:"}, {"sha256": SHA256.digest()}),
        ({"Content-Digest": f" SHA-256 = :{b64('sha256')}:;p=1 , x=:AA==:"}, {"sha256": SHA256.digest()}),
        ({"Digest": f"sha-256={b64('sha256')}, md5={b64('md5')}"}, {"sha256": SHA256.digest(), "md5": MD5.digest()}),
        ({"Content-MD5": b64("md5")}, {"md5": MD5.digest()}),
        ({"Waybill-Sha256": SHA256.hexdigest().upper()}, {"sha256": SHA256.digest()}),
        ({"Digest": "unixsum=30637"}, {}),
    ],
)
def test_digests_offered_in_any_form_are_the_same(headers: dict[str, str], expected: dict[str, bytes]) -> None:
    assert digests.offered(headers) == (expected, {})


@pytest.mark.parametrize("name", ["Repr-Digest", "Content-Digest", "Digest", "Content-MD5", "Waybill-Sha256"])
@given(value=st.text(min_size=1))
def test_a_digest_header_is_understood_ignored_or_refused_and_never_crashes(name: str, value: str) -> None:
    with suppress(InvalidRequest):
        found, _ = digests.offered({name: value})
        assert all(len(digest) == hashlib.new(algorithm).digest_size for algorithm, digest in found.items())


def test_what_waybill_says_is_what_it_understands() -> None:
    assert digests.offered({"Repr-Digest": digests.repr_digest(SHA256.hexdigest())})[0] == {"sha256": SHA256.digest()}
