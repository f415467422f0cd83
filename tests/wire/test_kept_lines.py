"""A connection that is kept: where one request's body ends the next request begins, however the bytes arrive."""

import pytest

from tests.wire.desk import Desk, sha256

#: Less than the server reads together with a request's head, and much more than it ever buffers.
SIZES = (1, 100, 20_000, 3_000_001)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in two"])
def test_a_request_sent_right_behind_a_body_is_answered(desk: Desk, size: int, at_once: bool) -> None:
    body = (b"waybill\n" * (size // 8 + 1))[:size]
    up, down = desk.write(), desk.read()
    first = f"PUT {up} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()
    second = f"GET {down} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with desk.line() as line:
        if at_once:
            line.send(first + body + second)
        else:
            line.send(first + body[: size // 2])
            desk.wait_until_uploads_run()
            line.send(body[size // 2 :] + second)
        stored, found = line.answer(), line.answer()
    assert (stored.status, stored["Waybill-Sha256"]) == (201, sha256(body))
    assert (found.status, found.body) == (200, body)


def test_a_line_serves_many_uploads(desk: Desk) -> None:
    with desk.line() as line:
        for number in range(5):
            body = bytes([number]) * (number * 100_000)
            assert line.ask("PUT", desk.write(f"k{number}"), body=body).status == 201
            assert line.ask("GET", desk.read(f"k{number}")).body == body


@pytest.mark.parametrize("size", SIZES)
def test_a_refused_body_is_not_taken_for_the_next_request(desk: Desk, size: int) -> None:
    with desk.line() as line:
        refused = line.ask("PUT", desk.write(max_bytes=size - 1), body=b"x" * size)
        assert (refused.status, refused.code) == (413, "too_large")
        assert line.ask("GET", desk.stored(b"y")).body == b"y"
