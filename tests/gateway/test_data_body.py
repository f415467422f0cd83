"""The body of a request: counted, never taken for whole when it is not, and drained within bounds."""

import io
import socket
import threading
import time
from typing import Any

import pytest

from gateway.data.body import LEAST_READ_BYTES, RequestBody, is_stream
from gateway.refusals import LengthRequired
from staging.errors import BodyIncomplete, InvalidRequest
from tests.servers.process import wait_until


class BrokenInput:
    """What the server's reader does when chunks are malformed."""

    def read(self, size: int) -> bytes:
        raise ValueError(size)


def environ(data: bytes = b"", length: str | None = None, **more: Any) -> dict[str, Any]:
    given = {"wsgi.input": io.BytesIO(data), **more}
    return given if length is None else {**given, "CONTENT_LENGTH": length}


def read_all(body: RequestBody, at_once: int = 1024 * 1024) -> bytes:
    return b"".join(iter(lambda: body.read(at_once), b""))


@pytest.mark.parametrize("at_once", [1, 7, LEAST_READ_BYTES, 10**7])
def test_a_body_of_known_length_is_read_to_its_end_and_not_beyond(at_once: int) -> None:
    body = RequestBody(environ(b"x" * 1000 + b"the next request", "1000"))
    assert read_all(body, at_once) == b"x" * 1000
    assert body.taken == body.size == 1000
    assert body.read(1) == b""


def test_a_body_that_ends_early_is_incomplete_and_not_short() -> None:
    body = RequestBody(environ(b"x" * 999, "1000"))
    with pytest.raises(BodyIncomplete, match="999 of 1000"):
        read_all(body)


def test_a_chunked_body_has_no_size_and_ends_at_its_end() -> None:
    chunked = environ(b"x" * 300_000, HTTP_TRANSFER_ENCODING="Chunked ")
    body = RequestBody(chunked)
    assert is_stream(chunked)
    assert body.size is None
    assert len(read_all(body)) == 300_000


def test_what_the_servers_reader_raises_is_an_incomplete_body() -> None:
    body = RequestBody({"wsgi.input": BrokenInput(), "HTTP_TRANSFER_ENCODING": "chunked"})
    with pytest.raises(BodyIncomplete, match="ValueError"):
        body.read(10)


@pytest.mark.parametrize("length", ["-1", "1e3", "²", "0x10", "1 2"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(InvalidRequest):
        RequestBody(environ(length=length))


@pytest.mark.parametrize("length", [None, ""])
def test_a_body_without_a_length_is_refused(length: str | None) -> None:
    with pytest.raises(LengthRequired):
        RequestBody(environ(length=length))


def test_a_drain_ends_by_itself_while_a_read_waits_for_a_client_that_sends_nothing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as incoming:
        theirs.send(b"x" * 10)
        body = RequestBody({"wsgi.input": incoming, "CONTENT_LENGTH": "1000000", "gunicorn.socket": ours})
        began = time.monotonic()
        body.drain(seconds=0.2)
        assert time.monotonic() - began < 5
        wait_until(
            lambda: not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()), what="it ends"
        )


def test_a_drain_takes_what_is_there_and_leaves_the_next_request() -> None:
    data = io.BytesIO(b"x" * 100 + b"next")
    RequestBody({"wsgi.input": data, "CONTENT_LENGTH": "100"}).drain(seconds=5)
    assert data.read() == b"next"
