"""How long a request is held: by its query, its Prefer header, or the default; and how threads are shared."""

from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from gateway.data import holding
from gateway.data.slots import Share, share
from staging.errors import InvalidRequest


@pytest.fixture(autouse=True)
def known_limits(settings: Any) -> None:
    settings.WAIT_S, settings.MAX_WAIT_S = 25, 60


@pytest.mark.parametrize(
    ("query", "prefer", "expected", "applied"),
    [
        ("", None, 25, None),
        ("", "wait=7", 7, "wait=7"),
        ("", "respond-async, WAIT = 7; foo=bar", 7, "wait=7"),
        ("", 'wait="7"', 7, "wait=7"),
        ("", "wait=7, wait=9", 7, "wait=7"),
        ("", "wait=0", 0, "wait=0"),
        ("", "wait=100000", 60, "wait=60"),
        ("", "wait=persisted", 25, None),
        ("", "wait=-1", 25, None),
        ("", "wait=1.5", 25, None),
        ("", "wait", 25, None),
        ("", "await=3", 25, None),
        ("wait=3", None, 3, None),
        ("wait=0", "wait=7", 0, None),
        ("wait=100000", None, 60, None),
        ("other=3", "wait=7", 7, "wait=7"),
    ],
)
def test_the_wait_is_what_was_asked_within_the_cap(
    query: str, prefer: str | None, expected: int, applied: str | None
) -> None:
    request = RequestFactory().get(f"/a/x?{query}", headers={"Prefer": prefer} if prefer else {})
    response = HttpResponse()
    assert holding.wait_s(request) == expected
    holding.note_preference(request, response)
    assert response.get("Preference-Applied") == applied


@pytest.mark.parametrize("wait", ["", "x", "-1", "1.5", "1s", "%C2%B2", "9" * 12])
def test_a_wait_in_the_query_that_is_no_number_is_refused(wait: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        holding.wait_s(RequestFactory().get(f"/a/x?wait={wait}"))
    assert list(refused.value.fields) == ["wait"]


@pytest.mark.parametrize(
    ("threads", "streams", "waiters", "expected"),
    [
        (256, 48, 192, Share(8, 192)),
        (256, 48, 500, Share(8, 192)),
        (64, 48, 192, Share(4, 8)),
        (4, 2, 192, Share(1, 0)),
        (2, 1, 192, Share(1, 0)),
        (1000, 48, 0, Share(8, 0)),
    ],
)
def test_waiting_never_takes_the_last_threads(threads: int, streams: int, waiters: int, expected: Share) -> None:
    found = share(threads, streams, waiters)
    assert found == expected
    assert streams + found.drains + found.waiters < threads or threads == 2
