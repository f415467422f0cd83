"""Refused downloads: a client that takes a refusal's body for the file meets a broken connection instead."""

import pytest
import requests

from adapters.errors import Unavailable
from tests.servers.faulty import Faults
from tests.wire.desk import Desk
from tests.wire.line import LineCut

AGENT = {"User-Agent": "python-requests/2.32.5"}


@pytest.mark.parametrize("path", ["/a/" + "A" * 32 + "/x", "deleted"])
def test_a_client_that_looks_at_no_status_gets_no_whole_body(desk: Desk, path: str) -> None:
    path = desk.write() if path == "deleted" else path
    with desk.line() as line, pytest.raises(LineCut) as cut:
        line.ask("GET", path, AGENT)
    assert cut.value.head.startswith(("HTTP/1.1 404", "HTTP/1.1 405"))
    assert b'"code"' in cut.value.body
    with desk.line() as line:
        assert line.ask("GET", path).status in (404, 405)
        assert line.ask("HEAD", path, AGENT).status in (200, 404), "the connection of others is kept"


def test_requests_that_look_at_no_status_raise(faulty_desk: Desk, faults: Faults) -> None:
    url = faulty_desk.url(faulty_desk.stored(b"data"))
    faults.fail("open_read", Unavailable)
    with pytest.raises(requests.RequestException):
        requests.get(url, timeout=20)
    with requests.get(url, timeout=20, stream=True) as answer:
        assert answer.status_code == 502
        with pytest.raises(requests.HTTPError):
            answer.raise_for_status()
    faults.heal()
    assert requests.get(url, timeout=20).content == b"data"
